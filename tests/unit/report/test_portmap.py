from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ftpstorm.records.reader import open_run
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.portmap import COLUMNS, ROWS_MAX, USED, PortMap, port_map
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
