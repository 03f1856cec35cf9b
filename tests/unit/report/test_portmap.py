from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ftpstorm.records.reader import Series, group_samples, open_run
from ftpstorm.report.build import summarise
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.graphs import ports_in_time
from ftpstorm.report.portmap import COLUMNS, ROWS_MAX, USED, PortMap, port_map
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import Metric
from support.results_folder import PORTS_FROM, Story

Folder = Callable[[Story], Path]


def mapped(folder: Path) -> PortMap:
    made = port_map(Evidence(open_run(folder)))
    assert made is not None
    return made


def uses(row: str) -> list[int]:
    return [column for column, cell in enumerate(row) if int(cell) >= USED]


def test_each_port_is_held_for_the_hold_after_its_use_and_free_before(folder: Folder) -> None:
    made = mapped(folder(Story(ports=4, rate=1, hold_s=2.0, duration_s=8, expect=None)))
    assert list(made.labels) == [str(PORTS_FROM + number) for number in range(4)]
    assert {len(row) for row in made.cells} == {COLUMNS}
    column_s = made.to_s / COLUMNS
    first = made.cells[0]
    # Session 0 uses port 0 within its first milliseconds, session 4 uses it next, 4 s later: held 2 s, free 2 s.
    assert abs(first.index("0", 1) * column_s - 2) < 2 * column_s
    assert [round(column * column_s) for column in uses(first)] == [0, 4]
    second = made.cells[1]
    assert [round(column * column_s) for column in uses(second)] == [1, 5]
    assert set(second[: uses(second)[0]]) == {"0"}


def test_every_use_leaves_its_mark(folder: Folder) -> None:
    made = mapped(folder(Story(ports=20, rate=97, hold_s=2.0, duration_s=8)))
    assert sum(len(uses(row)) for row in made.cells) == 20 * 4  # four rounds of the pool in 8 s, each port once a round


def test_many_ports_share_rows(folder: Folder) -> None:
    made = mapped(folder(Story(ports=300, rate=97, hold_s=2.0, duration_s=8, expect=None)))
    assert len(made.cells) <= ROWS_MAX
    assert made.ports_each > 1
    assert made.labels[0] == f"{PORTS_FROM} to {PORTS_FROM + made.ports_each - 1}"


def test_a_run_without_a_passive_port_has_no_map(folder: Folder) -> None:
    path = folder(Story(duration_s=2, until_s=0.0, status=None))
    for spool in (path / "spool").iterdir():
        spool.unlink()
    assert port_map(Evidence(open_run(path))) is None


# --- another server than the emulator ---------------------------------------------------------------------------------

REMOTE: dict[str, Any] = {"host": "127.0.0.1", "port": 2121, "passive_ports": f"{PORTS_FROM}-{PORTS_FROM + 9}"}
QUIET = Story(ports=4, rate=1, hold_s=0.0, duration_s=8, expect=None, target=REMOTE)


def dumped(folder: Path, states: dict[str, list[tuple[int, float]]]) -> Evidence:
    """Give the run a kernel's word on passive ports: ``port/state`` and its readings (second, sockets)."""
    run = open_run(folder)
    names = (*run.samples.series, *(Series("server", Metric.PASSIVE_PORTS, key) for key in states))
    more = np.zeros(sum(map(len, states.values())), run.samples.data.dtype)
    readings = [(at_s, len(run.samples.series) + place, value)
                for place, found in enumerate(states.values()) for at_s, value in found]  # fmt: skip
    for row, (at_s, series, value) in zip(more, readings, strict=True):
        row["t_ns"], row["series"], row["value"] = at_s * NS_PER_S, series, value
    return Evidence(dataclasses.replace(run, samples=group_samples(np.concatenate((run.samples.data, more)), names)))


def states_at(made: PortMap, port: int, at_s: float) -> str:
    row = made.cells[list(made.labels).index(str(port))]
    return made.states[int(row[int(at_s / made.to_s * COLUMNS)]) % USED]


def test_a_port_that_the_kernel_showed_listening_is_not_free(folder: Folder) -> None:
    told = dumped(folder(QUIET), {
        f"{PORTS_FROM + 7}/listen": [(1, 1.0), (6, 0.0)],
        f"{PORTS_FROM + 8}/established": [(2, 1.0), (3, 0.0)],
        f"{PORTS_FROM + 8}/time-wait": [(3, 1.0)],
    })  # fmt: skip
    made = port_map(told)
    assert made is not None
    assert [states_at(made, PORTS_FROM + 7, at_s) for at_s in (0.5, 1.5, 5.5, 6.5)] == [
        "no socket", "listening", "listening", "no socket"
    ]  # fmt: skip
    assert [states_at(made, PORTS_FROM + 8, at_s) for at_s in (1.5, 2.5, 3.5)] == ["no socket", "in use", "TIME_WAIT"]
    assert made.source.startswith("States are those of the server's sockets, dumped every 1s")


def test_a_listening_port_counts_as_one_though_it_is_in_time_wait_as_well(folder: Folder) -> None:
    key = f"{PORTS_FROM + 7}/"
    made = port_map(dumped(folder(QUIET), {f"{key}time-wait": [(1, 2.0)], f"{key}listen": [(2, 1.0), (5, 0.0)]}))
    assert made is not None
    assert [states_at(made, PORTS_FROM + 7, at_s) for at_s in (1.5, 3, 5.5)] == ["TIME_WAIT", "listening", "TIME_WAIT"]


def test_every_port_of_the_declared_range_has_its_row(folder: Folder) -> None:
    told = Evidence(open_run(folder(QUIET)))
    made = port_map(told)
    assert made is not None
    assert list(made.labels) == [str(PORTS_FROM + number) for number in range(10)]
    assert made.ports == 10
    graph = ports_in_time(told, summarise(told))
    assert graph is not None
    assert graph.title.startswith("10 passive ports over time")


def test_what_nobody_sampled_is_not_called_free(folder: Folder) -> None:
    told = Evidence(open_run(folder(QUIET)))
    series = tuple(dataclasses.replace(each, host="client") for each in told.run.samples.series)
    run = dataclasses.replace(told.run, samples=dataclasses.replace(told.run.samples, series=series))
    made = port_map(Evidence(run))
    assert made is not None
    assert made.states[0] == "not known"
    assert "Nobody sampled the server's ports" in made.source


def test_a_range_too_wide_to_draw_leaves_the_ports_that_were_seen(folder: Folder) -> None:
    made = mapped(folder(dataclasses.replace(QUIET, target={**REMOTE, "passive_ports": "10000-60000"})))
    assert made.ports == 4
