"""What a sampler would have seen of a simulated run: occupancies of the model as sample series."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from ftpstorm.records.reader import Samples, Series, group_samples, spool_dtype
from ftpstorm.records.schema import SAMPLES
from ftpstorm.simulate.events import Simulation
from ftpstorm.simulate.occupancy import Occupancy
from ftpstorm.simulate.world import client_ports_of
from ftpstorm.vocabulary import Metric, PoolState, Side, TcpState

TICKS_MAX: Final = 20_000
"""Samples of a series; a longer timeline is sampled more seldom."""

Levels = npt.NDArray[np.float64]
Ticks = npt.NDArray[np.int64]


def timeline(simulation: Simulation, every_ns: int, ended_ns: int) -> Samples:
    """Return the series of a finished simulation, a value each `every_ns` from its start until all is free again."""
    seen = simulation.world.occupancies
    last = max(
        (ended_ns, *(end for name in type(seen).__slots__ if (end := getattr(seen, name).last_end_ns()) is not None))
    )
    step = max(every_ns, -(-last // TICKS_MAX))
    t_ns = np.arange(0, last + 2 * step, step, dtype=np.int64)
    names: list[Series] = []
    parts = []
    for series, values in _series(simulation, t_ns):
        part = np.zeros(len(t_ns), spool_dtype(SAMPLES))
        part["t_ns"], part["value"], part["series"] = t_ns, values, len(names)
        names.append(series)
        parts.append(part)
    return group_samples(np.concatenate(parts), tuple(names))


def levels(occupancy: Occupancy, t_ns: Ticks) -> Levels:
    """Return the places taken at each instant, as a sample series has them."""
    return occupancy.levels(t_ns).astype(np.float64)


def _series(simulation: Simulation, t_ns: Ticks) -> Iterator[tuple[Series, Levels]]:
    seen, setting = simulation.world.occupancies, simulation.setting
    client, server = Side.CLIENT.value, Side.SERVER.value
    waiting, established = TcpState.TIME_WAIT.word, TcpState.ESTABLISHED.word
    ports = client_ports_of(simulation.plan, setting)
    connections = levels(seen.connections, t_ns)
    control, data = levels(seen.server_control_time_wait, t_ns), levels(seen.server_data_time_wait, t_ns)
    if not ports.port_space:  # an incoming SYN replaces a TIME_WAIT: one for each 4-tuple
        control = np.minimum(control, ports.control_budget)
        data = data if ports.data_budget is None else np.minimum(data, ports.data_budget)
    yield Series(client, Metric.TCP_STATE, waiting), levels(seen.client_time_wait, t_ns)
    yield Series(client, Metric.TCP_STATE, established), connections
    yield Series(server, Metric.TCP_STATE, waiting), control + data
    yield Series(server, Metric.TCP_STATE, established), connections
    yield Series(server, Metric.TCP_STATE, TcpState.CLOSE_WAIT.word), levels(seen.server_close_wait, t_ns)
    in_use = levels(seen.client_ports, t_ns)  # connections to different destinations may share one
    yield Series(client, Metric.EPHEMERAL_PORTS, "*"), np.minimum(in_use, ports.ports * ports.sources)
    yield Series(server, Metric.SERVER_SESSIONS, "control"), levels(seen.sessions, t_ns)
    if setting.serving.ports is None:
        return
    taken, used = levels(seen.passive_pool, t_ns), levels(seen.passive_in_use, t_ns)
    counts = {
        PoolState.FREE: np.maximum(0, len(setting.serving.ports) - taken),
        PoolState.LISTENING: np.zeros(len(t_ns)),
        PoolState.IN_USE: used,
        PoolState.HELD: np.maximum(0, taken - used),
    }
    for state, values in counts.items():
        yield Series(server, Metric.POOL, state.word), values
