"""Which passive port was listening, in use or waiting when: the cells of the heat map.

In use and listening come from the operations: from the reply that named the port to the end of the data. Waiting is
the emulator's own hold where it publishes that, else the kernel's TIME_WAIT on the server's port.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ftpstorm.records.reader import Readings
from ftpstorm.records.schema import ABSENT
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.graph import PortMap
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import Metric, PoolState

COLUMNS: Final = 480
ROWS_MAX: Final = 96
PORTS_MAX: Final = 4096
"""Of a wider spread of ports (an ephemeral range that the kernel draws from) no map is drawn."""
USED: Final = 4
"""Added to a cell's state where a data connection used the port."""

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
    """Return the map of a run's passive ports; None where none was used or they are spread too wide to show."""
    used = evidence.passive_transfers
    held = {int(series.key): readings for series, readings in evidence.run.samples.select(Metric.POOL_PORT).items()}
    waiting = _kernel_waits(evidence)
    ports = sorted({*np.unique(used["passive_port"]).tolist(), *held, *waiting} - {0})
    if not ports or len(ports) > PORTS_MAX or not len(used):
        return None
    each = -(-len(ports) // ROWS_MAX)
    grouped = [ports[start : start + each] for start in range(0, len(ports), each)]
    edges = np.linspace(0, max(evidence.shown_ns, COLUMNS), COLUMNS + 1).astype(np.int64)
    grid = _Grid(edges, {port: row for row, group in enumerate(grouped) for port in group}, len(grouped))
    shares = np.zeros((4, grid.rows, COLUMNS))
    touched = _operations(grid, used, shares)
    for port, readings in held.items():
        shares[PoolState.HELD, grid.group[port]] += _time_at(readings, PoolState.HELD, edges)
    if not held:
        for port, readings in waiting.items():
            shares[PoolState.HELD, grid.group[port]] += _time_at(readings, None, edges)
    shares[PoolState.FREE] = each * np.diff(edges) - shares[1:].sum(axis=0)
    cells = np.argmax(shares, axis=0) + USED * touched
    labels = [str(group[0]) if len(group) == 1 else f"{group[0]} to {group[-1]}" for group in grouped]
    return PortMap(
        labels=labels,
        states=("free", "listening", "in use", "held after use" if held else "TIME_WAIT"),
        cells=["".join(map(str, row)) for row in cells.tolist()],
        from_s=0.0,
        to_s=float(edges[-1]) / NS_PER_S,
        ports_each=each,
    )


def _kernel_waits(evidence: Evidence) -> dict[int, Readings]:
    found = {}
    for series, readings in evidence.run.samples.select(Metric.PASSIVE_PORTS).items():
        port, _, state = series.key.partition("/")
        if state == "time-wait" and port.isdigit():
            found[int(port)] = readings
    return found


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


def _time_at(readings: Readings, state: PoolState | None, edges_ns: npt.NDArray[np.int64]) -> Floats:
    """Return how long a stepwise series was in `state` (None: above 0) between each two edges, in ns."""
    there = (readings.value > 0) if state is None else (readings.value == state)
    ends = np.append(readings.t_ns[1:], max(int(edges_ns[-1]), int(readings.t_ns[-1]) if len(readings) else 0))
    return _overlap(readings.t_ns[there], ends[there], edges_ns)
