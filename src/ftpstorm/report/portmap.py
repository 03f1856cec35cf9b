"""Which passive port was listening, in use or waiting when: the cells of the heat map.

Each state comes from whoever knew it: the emulator of its own pool, the server's kernel where its sockets were dumped,
and the operations, from the reply that named the port to the end of the data, however short that was. Where neither
emulator nor kernel tells, a port that was asked for and never used is taken to listen until its session asks for
another one or ends, and what became of ports after use is not known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ftpstorm.records.aggregate import at
from ftpstorm.records.reader import Readings
from ftpstorm.records.schema import ABSENT
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.graph import PortMap
from ftpstorm.report.wording import count_of
from ftpstorm.units import NS_PER_S, format_duration
from ftpstorm.vocabulary import Metric, Operation, PoolState, Side, Status

COLUMNS: Final = 480
ROWS_MAX: Final = 96
PORTS_MAX: Final = 4096
"""Of a wider spread of ports (an ephemeral range that the kernel draws from) no map is drawn."""
USED: Final = 4
"""Added to a cell's state where a data connection used the port."""

_HELD_STATES: Final = ("free", "listening", "in use", "held after use")
_KERNEL_STATES: Final = ("no socket", "listening", "in use", "TIME_WAIT")
_RECORD_STATES: Final = ("not known", "listening", "in use", "TIME_WAIT (not sampled)")
_OF_KERNEL: Final = {"listen": PoolState.LISTENING, "time-wait": PoolState.HELD}
"""What a socket's state makes of its port; any other is a data connection on its way up, open, or on its way down."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Grid:
    edges_ns: npt.NDArray[np.int64]
    group: dict[int, int]
    """Row of each port."""
    rows: int

    @property
    def columns(self) -> int:
        return len(self.edges_ns) - 1


def port_map(evidence: Evidence) -> PortMap | None:
    """Return the map of a run's passive ports, all of the declared range among them.

    None where none was asked for or seen, or where they are spread too wide to show.
    """
    offers = evidence.passive_offers
    held = {int(series.key): readings for series, readings in evidence.run.samples.select(Metric.POOL_PORT).items()}
    kernel = {} if held else _kernel_states(evidence)
    if not len(offers) and not kernel:
        return None
    seen = {*np.unique(offers["passive_port"]).tolist(), *held, *kernel} - {0}
    ports = sorted(seen | _declared(evidence))
    if len(ports) > PORTS_MAX:
        ports = sorted(seen)
    if not ports or len(ports) > PORTS_MAX:
        return None
    each = -(-len(ports) // ROWS_MAX)
    grouped = [ports[start : start + each] for start in range(0, len(ports), each)]
    edges = np.linspace(0, max(evidence.shown_ns, COLUMNS), COLUMNS + 1).astype(np.int64)
    grid = _Grid(edges, {port: row for row, group in enumerate(grouped) for port in group}, len(grouped))
    shares = np.zeros((4, grid.rows, COLUMNS))
    told = np.zeros_like(shares)
    for port, readings in (held or kernel).items():
        for state in (PoolState.LISTENING, PoolState.IN_USE, PoolState.HELD):
            told[state, grid.group[port]] += _time_at(readings, state, edges)
    sampled = bool(held or kernel) or _dumped(evidence)
    watched = set(ports) if held else _declared(evidence) if sampled else set()
    touched = _operations(grid, evidence.passive_transfers, shares)
    if not held:
        _unused(grid, evidence, shares, watched)
    np.maximum(shares, told, out=shares)
    shares[PoolState.FREE] = each * np.diff(edges) - shares[1:].sum(axis=0)
    cells = np.argmax(shares, axis=0) + USED * touched
    labels = [str(group[0]) if len(group) == 1 else f"{group[0]} to {group[-1]}" for group in grouped]
    return PortMap(
        labels=labels,
        states=_HELD_STATES if held else _KERNEL_STATES if sampled else _RECORD_STATES,
        cells=["".join(map(str, row)) for row in cells.tolist()],
        from_s=0.0,
        to_s=float(edges[-1]) / NS_PER_S,
        ports_each=each,
        ports=len(ports),
        source=_source(evidence, bool(held), sampled, seen - watched),
    )


def _source(evidence: Evidence, held: bool, sampled: bool, unwatched: set[int]) -> str:
    if held:
        return "States are the emulator's own, its hold included, not kernel state."
    if sampled:
        every = format_duration(evidence.plan.scenario.sampling.ports_every)
        outside = (
            f" {count_of(len(unwatched), 'port')} outside the declared range: the client's word." if unwatched else ""
        )
        return (
            f"States are those of the server's sockets, dumped every {every}; what came and went between two dumps is "
            "known from the client's records alone. A port in several states shows the busiest." + outside
        )
    return (
        "Nobody sampled the server's ports: states are what the client's records say, and whether a port was free or "
        "in TIME_WAIT otherwise is not known."
    )


def _declared(evidence: Evidence) -> set[int]:
    declared = evidence.declared_range
    if declared is None or evidence.emulator is not None:
        return set(evidence.manifest.target.get("passive_ports") or ())
    return set(range(declared[0], declared[1] + 1))


def _dumped(evidence: Evidence) -> bool:
    """Tell whether a dump of the server's sockets would have met any on its passive ports."""
    sampled = evidence.run.samples.select(Metric.TCP_STATE, host=Side.SERVER)
    return bool(sampled) and evidence.declared_range is not None and evidence.status is not Status.SIMULATED


def _kernel_states(evidence: Evidence) -> dict[int, Readings]:
    """Return the state of each passive port that a dump of the server's sockets met, as PoolState over time."""
    parts: dict[int, list[tuple[PoolState, Readings]]] = {}
    for series, readings in evidence.run.samples.select(Metric.PASSIVE_PORTS, host=Side.SERVER).items():
        port, _, word = series.key.partition("/")
        if port.isdigit() and len(readings):
            state = _OF_KERNEL.get(word, PoolState.IN_USE)
            parts.setdefault(int(port), []).append((state, readings))
    return {port: _busiest(found) for port, found in parts.items()}


def _busiest(found: list[tuple[PoolState, Readings]]) -> Readings:
    """Return one port's state over time: in use before listening before TIME_WAIT, where it has sockets of several."""
    t_ns = np.unique(np.concatenate([readings.t_ns for _, readings in found]))
    there = {state: np.zeros(len(t_ns), bool) for state in (PoolState.HELD, PoolState.LISTENING, PoolState.IN_USE)}
    for state, readings in found:
        there[state] |= at(readings, t_ns) > 0
    states = np.full(len(t_ns), float(PoolState.FREE))
    for state, present in there.items():
        states[present] = state
    return Readings(t_ns, states)


def _unused(grid: _Grid, evidence: Evidence, shares: npt.NDArray[np.float64], watched: set[int]) -> None:
    """Add the time that ports listened which were asked for and never used.

    That is until the session asks for another port, or until its end; of a port that is `watched` until the next dump,
    which says more.
    """
    rows = evidence.passive_offers
    rows = rows[np.lexsort((rows["passive_ns"], rows["session"], rows["load"]))]
    again = (rows["load"][1:] == rows["load"][:-1]) & (rows["session"][1:] == rows["session"][:-1])
    until = np.append(np.where(again, rows["passive_ns"][1:], ABSENT), ABSENT)
    idle = rows["operation"] == Operation.PASV_ONLY
    rows, until = rows[idle], until[idle]
    if not len(rows):
        return
    sessions = evidence.sessions
    ended = dict(zip(zip(sessions["load"].tolist(), sessions["session"].tolist(), strict=True),
                     sessions["end_ns"].tolist(), strict=True))  # fmt: skip
    keys = zip(rows["load"].tolist(), rows["session"].tolist(), rows["end_ns"].tolist(), strict=True)
    last = np.array([ended.get((load, session), end_ns) for load, session, end_ns in keys])
    until = np.where(until == ABSENT, last, until)
    dumped = rows["passive_ns"] + evidence.plan.scenario.sampling.ports_every
    until = np.where(np.isin(rows["passive_port"], sorted(watched)), np.minimum(until, dumped), until)
    row = np.array([grid.group[port] for port in rows["passive_port"].tolist()])
    for number in np.unique(row).tolist():
        part = row == number
        shares[PoolState.LISTENING, number] += _overlap(rows["passive_ns"][part], until[part], grid.edges_ns)


def _operations(grid: _Grid, used: npt.NDArray[Any], shares: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Add the time listening and in use; return 1 for each cell in which a port was used, else 0."""
    given = used[used["passive_ns"] != ABSENT]
    rows = np.array([grid.group[port] for port in np.unique(given["passive_port"]).tolist()], np.int64)
    row = rows[np.searchsorted(np.unique(given["passive_port"]), given["passive_port"])] if len(given) else rows
    connected, done = given["data_connected_ns"], given["data_end_ns"]
    until = np.where(done != ABSENT, done, given["end_ns"])
    offered_until = np.where(connected != ABSENT, connected, given["end_ns"])
    begun = np.where(connected != ABSENT, connected, until)
    order = np.argsort(row, kind="stable")
    bounds = np.searchsorted(row[order], np.arange(grid.rows + 1))
    for number in range(grid.rows):
        part = order[bounds[number] : bounds[number + 1]]
        if len(part):
            shares[PoolState.LISTENING, number] = _overlap(
                given["passive_ns"][part], offered_until[part], grid.edges_ns
            )
            shares[PoolState.IN_USE, number] = _overlap(begun[part], until[part], grid.edges_ns)
    column = np.searchsorted(grid.edges_ns, given["passive_ns"], side="right") - 1
    inside = (column >= 0) & (column < grid.columns)
    cell = row[inside] * grid.columns + column[inside]
    counts = np.bincount(cell, minlength=grid.rows * grid.columns)
    return (counts > 0).astype(np.int64).reshape(grid.rows, grid.columns)


def _overlap(start_ns: npt.NDArray[Any], end_ns: npt.NDArray[Any], edges_ns: npt.NDArray[np.int64]) -> Floats:
    """Return how many ns of the intervals [start, end) fall between each two edges, summed over intervals."""
    spent: Floats = _elapsed_since(np.sort(start_ns), edges_ns) - _elapsed_since(np.sort(end_ns), edges_ns)
    between: Floats = spent[1:] - spent[:-1]
    return between


def _elapsed_since(instants: npt.NDArray[Any], edges_ns: npt.NDArray[np.int64]) -> Floats:
    """Return for each edge the sum of (edge - instant) over the sorted instants before it."""
    before = np.searchsorted(instants, edges_ns)
    sums = np.concatenate(([0.0], np.cumsum(instants, dtype=np.float64)))
    elapsed: Floats = before.astype(np.float64) * edges_ns.astype(np.float64) - sums[before]
    return elapsed


def _time_at(readings: Readings, state: PoolState, edges_ns: npt.NDArray[np.int64]) -> Floats:
    """Return how long a stepwise series was in `state` between each two edges, in ns."""
    there = readings.value == state
    ends = np.append(readings.t_ns[1:], max(int(edges_ns[-1]), int(readings.t_ns[-1]) if len(readings) else 0))
    return _overlap(readings.t_ns[there], ends[there], edges_ns)
