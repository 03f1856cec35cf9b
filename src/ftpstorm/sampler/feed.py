"""Turn the readings of one namespace into samples: which series, under which host, and when a value goes back to 0."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ftpstorm.sampler.census import PASSIVE_KEY, Census, CensusTaker, Watch
from ftpstorm.sampler.series import SeriesWriter
from ftpstorm.sampler.sources import Source
from ftpstorm.vocabulary import Metric, Side, TcpState

REPORTED_STATES: Final = tuple(state for state in TcpState if state not in (TcpState.CLOSE, TcpState.NEW_SYN_RECV))
"""States written at each dump, a 0 included. The kernel reports NEW_SYN_RECV as SYN_RECV, and CLOSE holds no port."""


class Feed:
    """One source, its series and what was last seen there."""

    def __init__(self, source: Source, watch: Watch, series: SeriesWriter) -> None:
        """`watch` without a port range takes the namespace's own."""
        if watch.port_range is None:
            watch = replace(watch, port_range=source.port_range)
        self.host, self.side = source.host, source.side
        self._source = source
        self._watch = watch
        routes = source.side is Side.ROUTER
        self._taker = CensusTaker(watch, None if routes else source.side)
        self._counters = series.group(source.host, Metric.COUNTER)
        self._sockstat = series.group(source.host, Metric.SOCKSTAT)
        named = {side: _series_host(source, side) for side in Side}
        self._states = {side: series.group(named[side], Metric.TCP_STATE) for side in self._taker.sides}
        self._ephemeral = series.group(named[Side.CLIENT], Metric.EPHEMERAL_PORTS)
        self._passive = series.group(named[Side.SERVER], Metric.PASSIVE_PORTS)
        self._queues = series.group(named[Side.SERVER], Metric.LISTEN_QUEUE)
        self._backlogs = series.group(named[Side.SERVER], Metric.LISTEN_BACKLOG)
        self._watches_queues = source.has_queues and bool(watch.server_ports) and Side.SERVER in self._taker.sides
        self._destinations: set[str] = {PASSIVE_KEY} if watch.passive_ports else set()
        self._passive_before: dict[tuple[int, TcpState], int] = {}
        self._listening: frozenset[int] = frozenset()
        self.counters: dict[str, int] = {}
        """Kernel counters as last read."""
        self.census: Census | None = None
        """The last census, None before the first."""

    def tick(self, t_ns: int) -> None:
        """Read and write what is cheap: counters, sockstat, accept queues. `t_ns` is relative to start_at."""
        self._sockstat.write_all(t_ns, self._source.read_sockstat())
        self.counters = self._source.read_counters()
        self._counters.write_all(t_ns, self.counters)
        if self._watches_queues:
            try:
                listeners = self._source.read_listeners(self._taker)
            except OSError:  # netlink had no room (ENOBUFS), or a dump broke off: the next tick looks again
                return
            for port, listener in listeners.items():
                self._queues.write(t_ns, str(port), listener.queue)
                self._backlogs.write(t_ns, str(port), listener.backlog)
            for port in self._listening - listeners.keys():  # it listens no more: one 0, then silence
                self._queues.write(t_ns, str(port), 0)
                self._backlogs.write(t_ns, str(port), 0)
            self._listening = frozenset(listeners)

    def dump(self, t_ns: int) -> None:
        """Take a census and write it. Raises OSError where the system refuses one."""
        if not self._source.has_sockets:
            return
        census = self.census = self._source.take_census(self._taker)
        for side, states in census.states.items():
            for state in REPORTED_STATES:
                self._states[side].write(t_ns, state.word, states.get(state, 0))
        if Side.CLIENT in census.states and census.ephemeral is not None:
            self._write_ephemeral(t_ns, census.ephemeral, census.ephemeral_by_destination)
        if Side.SERVER in census.states:
            self._write_passive(t_ns, census.passive)

    def _write_ephemeral(self, t_ns: int, in_use: int, by_destination: dict[str, int]) -> None:
        self._ephemeral.write(t_ns, "*", in_use)
        self._destinations.update(by_destination)
        for key in self._destinations:
            self._ephemeral.write(t_ns, key, by_destination.get(key, 0))

    def _write_passive(self, t_ns: int, now: dict[tuple[int, TcpState], int]) -> None:
        before = self._passive_before
        for (port, state), count in now.items():
            if before.get((port, state)) != count:
                self._passive.write(t_ns, f"{port}/{state.word}", count)
        for port, state in before.keys() - now.keys():
            self._passive.write(t_ns, f"{port}/{state.word}", 0)
        self._passive_before = now

    def last_count(self, side: Side, state: TcpState) -> int | None:
        """Return how many sockets of `side` the last census found in `state`; None where nobody looked."""
        if self.census is None or side not in self.census.states:
            return None
        return self.census.states[side].get(state, 0)


def _series_host(source: Source, side: Side) -> str:
    """Return the host of a side's own series: of several clients, such as ``client-1``, each has its own."""
    return source.host if source.side is side and source.host.startswith(f"{side}-") else str(side)
