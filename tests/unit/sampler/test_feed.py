"""From readings to samples, over a namespace that the test scripts; real ones are in tests/integration."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from ftpstorm.records.reader import Series, read_samples
from ftpstorm.sampler.census import Census, CensusTaker, Listener, Row, Watch
from ftpstorm.sampler.feed import Feed
from ftpstorm.sampler.series import SeriesWriter
from ftpstorm.vocabulary import Side, TcpState

CONTROL, DATA = 2121, 10_000
LOOPBACK = bytes([127, 0, 0, 1]) + bytes(12)
WATCH = Watch(frozenset({CONTROL}), frozenset({DATA, DATA + 1}), (32_768, 60_999))


class Scripted:
    """A namespace whose sockets the test chooses."""

    host = "host"
    side: Side | None = None
    port_range: tuple[int, int] | None = (40_000, 40_001)
    has_sockets = True
    has_queues = True

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.listeners: dict[int, Listener] = {}
        self.counters: dict[str, int] = {}

    def read_counters(self) -> dict[str, int]:
        return self.counters

    def read_sockstat(self) -> dict[str, int]:
        return {"tw": 8}

    def read_listeners(self, _taker: CensusTaker) -> dict[int, Listener]:
        return self.listeners

    def take_census(self, taker: CensusTaker) -> Census:
        return taker.count(self.rows)


class Bench:
    """A feed over a scripted namespace, and what it wrote."""

    def __init__(self, folder: Path, watch: Watch, side: Side | None = None) -> None:
        self.source = Scripted()
        self.source.side = side
        self._folder = folder
        (folder / "spool").mkdir()
        self._series = SeriesWriter(folder / "spool", "sampler", {"writer": "sampler", "origin_ns": 0, "pid": 1})
        self.feed = Feed(self.source, watch, self._series)  # type: ignore[arg-type]

    def written(self) -> dict[tuple[str, str, str], list[tuple[int, float]]]:
        self._series.close()
        samples, warnings = read_samples(self._folder)
        assert warnings == []
        found: dict[tuple[str, str, str], list[tuple[int, float]]] = {}
        for number, series in enumerate(samples.series):
            assert isinstance(series, Series)
            readings = samples.readings(number)
            key = (series.host, series.metric, series.key)
            found[key] = list(zip(readings.t_ns.tolist(), readings.value.tolist(), strict=True))
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, WATCH)


def row(state: TcpState, sport: int, dport: int) -> Row:
    return 2, int(state), sport, dport, LOOPBACK, bytes(8)


def test_shared_readings_bear_the_namespaces_name(bench: Bench) -> None:
    bench.source.counters = {"Tcp.ActiveOpens": 17}
    bench.feed.tick(-5)
    written = bench.written()
    assert written["host", "tcp.counter", "Tcp.ActiveOpens"] == [(-5, 17)]
    assert written["host", "tcp.sockstat", "tw"] == [(-5, 8)]
    assert bench.feed.counters == {"Tcp.ActiveOpens": 17}


def test_every_state_of_both_sides_is_written_at_each_dump_also_at_zero(bench: Bench) -> None:
    bench.source.rows = [row(TcpState.TIME_WAIT, DATA, 40_000)]
    bench.feed.dump(1)
    bench.source.rows = []
    bench.feed.dump(2)
    written = bench.written()
    assert written["server", "tcp.state", "time-wait"] == [(1, 1), (2, 0)]
    assert written["client", "tcp.state", "established"] == [(1, 0), (2, 0)]
    assert len([key for key in written if key[1] == "tcp.state"]) == 2 * 10


def test_a_passive_port_is_written_when_it_changes_and_goes_quiet_with_one_zero(bench: Bench) -> None:
    sockets = [row(TcpState.TIME_WAIT, DATA, 40_000), row(TcpState.TIME_WAIT, DATA, 40_001)]
    for t_ns, rows in enumerate([[], sockets, sockets, sockets[:1], [], [], sockets[:1]]):
        bench.source.rows = rows
        bench.feed.dump(t_ns)
    written = bench.written()
    assert written["server", "ports.passive", "10000/time-wait"] == [(1, 2), (3, 1), (4, 0), (6, 1)]
    assert [key for key in written if key[1] == "ports.passive"] == [("server", "ports.passive", "10000/time-wait")]


def test_ephemeral_ports_are_written_in_all_towards_control_and_towards_all_passive_ports(bench: Bench) -> None:
    bench.source.rows = [
        row(TcpState.ESTABLISHED, 40_000, CONTROL),
        row(TcpState.TIME_WAIT, 40_001, DATA),
        row(TcpState.TIME_WAIT, 40_002, DATA + 1),
    ]
    bench.feed.dump(1)
    bench.source.rows = []
    bench.feed.dump(2)
    written = bench.written()
    assert written["client", "ports.ephemeral", "*"] == [(1, 3), (2, 0)]
    assert written["client", "ports.ephemeral", "127.0.0.1:2121"] == [(1, 1), (2, 0)]
    assert written["client", "ports.ephemeral", "passive"] == [(1, 2), (2, 0)]


def test_without_a_range_in_the_watch_the_namespaces_own_holds(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Watch())
    bench.source.rows = [row(TcpState.ESTABLISHED, port, 21) for port in (39_999, 40_000, 40_001)]
    bench.feed.dump(1)
    written = bench.written()
    assert written["client", "ports.ephemeral", "*"] == [(1, 2)]
    assert not [key for key in written if key[0] == "server"]


def test_an_unknown_range_writes_no_port_series(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Watch())
    bench.source.port_range = None
    bench.feed = Feed(bench.source, Watch(), bench._series)  # type: ignore[arg-type]
    bench.source.rows = [row(TcpState.ESTABLISHED, 40_000, 21)]
    bench.feed.dump(1)
    assert not [key for key in bench.written() if key[1] == "ports.ephemeral"]


def test_a_server_namespace_writes_no_client_series(tmp_path: Path) -> None:
    bench = Bench(tmp_path, WATCH, Side.SERVER)
    bench.source.rows = [row(TcpState.ESTABLISHED, DATA, 40_000)]
    bench.feed.dump(1)
    written = bench.written()
    assert not [key for key in written if key[0] == "client"]
    assert written["server", "ports.passive", "10000/established"] == [(1, 1)]
    assert bench.feed.last_count(Side.CLIENT, TcpState.ESTABLISHED) is None
    assert bench.feed.last_count(Side.SERVER, TcpState.ESTABLISHED) == 1
    assert bench.feed.last_count(Side.SERVER, TcpState.TIME_WAIT) == 0


def test_accept_queues_are_written_each_tick_and_a_listener_that_is_gone_gets_one_zero(bench: Bench) -> None:
    for t_ns, listeners in enumerate([{CONTROL: Listener(3, 511)}, {CONTROL: Listener(0, 511)}, {}, {}]):
        bench.source.listeners = listeners
        bench.feed.tick(t_ns)
    written = bench.written()
    assert written["server", "tcp.listen_queue", "2121"] == [(0, 3), (1, 0), (2, 0)]
    assert written["server", "tcp.listen_backlog", "2121"] == [(0, 511), (1, 511), (2, 0)]


def test_accept_queues_that_cannot_be_read_once_are_a_gap_and_no_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path, WATCH, Side.SERVER)
    bench.source.listeners = {CONTROL: Listener(1, 50)}
    read = bench.source.read_listeners
    bench.feed.tick(1)

    def refused(_taker: CensusTaker) -> dict[int, Listener]:
        raise OSError(errno.ENOBUFS, "No buffer space available")

    bench.source.read_listeners = refused  # type: ignore[method-assign]
    bench.feed.tick(2)
    bench.source.read_listeners = read  # type: ignore[method-assign]
    bench.feed.tick(3)
    queues = next(values for (_, metric, _), values in bench.written().items() if metric == "tcp.listen_queue")
    assert [t_ns for t_ns, _ in queues] == [1, 3]
