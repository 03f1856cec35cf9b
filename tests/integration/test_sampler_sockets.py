"""Known sockets on loopback: a dump counts exactly them, and psutil sees the same."""

from __future__ import annotations

import errno
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psutil
import pytest

from ftpstorm.sampler import portable
from ftpstorm.sampler.census import Census, CensusTaker, Listener, Watch
from ftpstorm.sampler.hostfacts import read_port_range
from ftpstorm.sampler.sockdiag import ALL_STATES, LISTENING, SockDiag, build_port_filter
from ftpstorm.sampler.sources import Source
from ftpstorm.vocabulary import Side, TcpState

Require = Callable[[str, bool, str], None]

ESTABLISHED_PAIRS = 7
HALF_CLOSED = 5
SERVER_CLOSED_FIRST = 4
CLIENT_CLOSED_FIRST = 3
BACKLOG = 17
WAITING = 2


def netlink_refusal() -> str:
    try:
        SockDiag().close()
    except OSError as error:
        return str(error)
    return ""


@pytest.fixture
def diag(require: Require) -> Iterator[SockDiag]:
    refusal = netlink_refusal()
    require("sock_diag", not refusal, refusal)
    with SockDiag() as opened:
        yield opened


class Workload:
    """A listener, and connections to it in states that the test chose."""

    def __init__(self, stack: ExitStack, family: int = socket.AF_INET) -> None:
        self._stack = stack
        # No SO_REUSEADDR: the port must not bring along what is left in TIME_WAIT of an earlier listener
        self.listener = stack.enter_context(socket.socket(family))
        if family == socket.AF_INET6:
            self.listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.listener.bind(("127.0.0.1" if family == socket.AF_INET else "::", 0))
        self.listener.listen(BACKLOG)
        self.port: int = self.listener.getsockname()[1]
        self.watch = Watch(frozenset({self.port}), frozenset(), read_port_range())
        self.filter = build_port_filter([self.port])

    def connect(self, host: str = "127.0.0.1") -> tuple[socket.socket, socket.socket]:
        client = self._stack.enter_context(socket.create_connection((host, self.port), 10))
        server, _ = self.listener.accept()
        return client, self._stack.enter_context(server)

    def fill(self) -> None:
        for _ in range(ESTABLISHED_PAIRS):
            self.connect()
        for _ in range(HALF_CLOSED):
            self.connect()[0].shutdown(socket.SHUT_WR)
        for _ in range(SERVER_CLOSED_FIRST):
            client, server = self.connect()
            server.close()
            assert client.recv(1) == b""
            client.close()
        for _ in range(CLIENT_CLOSED_FIRST):
            client, server = self.connect()
            client.close()
            assert server.recv(1) == b""
            server.close()
        for _ in range(WAITING):
            self._stack.enter_context(socket.create_connection(("127.0.0.1", self.port), 10))

    EXPECTED = {  # noqa: RUF012 - a constant of the tests
        Side.CLIENT: {
            TcpState.ESTABLISHED: ESTABLISHED_PAIRS + WAITING,
            TcpState.FIN_WAIT2: HALF_CLOSED,
            TcpState.TIME_WAIT: CLIENT_CLOSED_FIRST,
        },
        Side.SERVER: {
            TcpState.ESTABLISHED: ESTABLISHED_PAIRS + WAITING,
            TcpState.CLOSE_WAIT: HALF_CLOSED,
            TcpState.TIME_WAIT: SERVER_CLOSED_FIRST,
            TcpState.LISTEN: 1,
        },
    }


@pytest.fixture
def workload() -> Iterator[Workload]:
    with ExitStack() as stack:
        yield Workload(stack)


def settled(take: Callable[[], Census], expected: dict[Side, dict[TcpState, int]]) -> Census:
    """Take censuses until one shows `expected` states: the last ACKs travel on their own. Gives up after 10 s."""
    deadline = time.monotonic() + 10
    while (census := take()).states != expected and time.monotonic() < deadline:
        time.sleep(0.01)
    assert census.states == expected
    return census


def test_a_dump_counts_exactly_the_sockets_that_are_there(diag: SockDiag, workload: Workload) -> None:
    workload.fill()
    taker = CensusTaker(workload.watch)
    census = settled(lambda: taker.count(diag.rows(ALL_STATES, port_filter=workload.filter)), Workload.EXPECTED)
    clients = ESTABLISHED_PAIRS + WAITING + HALF_CLOSED + CLIENT_CLOSED_FIRST
    assert census.ephemeral == clients
    assert census.ephemeral_by_destination == {f"127.0.0.1:{workload.port}": clients}
    assert census.listeners == {workload.port: Listener(queue=WAITING, backlog=BACKLOG)}
    assert not diag.disturbed


def test_without_a_filter_our_sockets_are_among_all_the_others(diag: SockDiag, workload: Workload) -> None:
    workload.fill()
    settled(
        lambda: CensusTaker(workload.watch).count(row for row in diag.rows() if workload.port in (row[2], row[3])),
        Workload.EXPECTED,
    )


def test_a_state_mask_leaves_the_other_states_out(diag: SockDiag, workload: Workload) -> None:
    workload.fill()
    states = Counter(row[1] for row in diag.rows(LISTENING, port_filter=workload.filter))
    assert states == {TcpState.LISTEN: 1}


def test_a_dump_agrees_with_psutil_on_the_same_sockets(diag: SockDiag, workload: Workload) -> None:
    workload.fill()
    taker = CensusTaker(workload.watch)
    settled(lambda: taker.count(diag.rows(port_filter=workload.filter)), Workload.EXPECTED)
    ours = Counter(row[:4] for row in diag.rows(port_filter=workload.filter))
    theirs = Counter(row[:4] for row in portable.read_rows() if workload.port in (row[2], row[3]))
    assert ours == theirs
    assert sum(ours.values()) == sum(sum(states.values()) for states in Workload.EXPECTED.values())


def test_the_fallback_gives_the_same_census_but_for_queues(workload: Workload) -> None:
    def refuse() -> socket.socket:
        raise OSError(errno.EPERM, "no netlink here")

    workload.fill()
    with Source("host", opener=refuse) as source:
        assert "no netlink here" in source.missing["sock_diag"]
        assert not source.has_queues
        taker = CensusTaker(workload.watch)
        ports = (workload.port,)
        settled(
            lambda: taker.count(row for row in portable.read_rows() if row[2] in ports or row[3] in ports),
            Workload.EXPECTED,
        )
        census = source.take_census(taker)
        assert census.states[Side.SERVER] == Workload.EXPECTED[Side.SERVER]
        assert census.listeners == {}
        assert source.read_listeners(taker) == {}


def test_accept_queues_are_read_without_a_whole_dump(require: Require, workload: Workload) -> None:
    refusal = netlink_refusal()
    require("sock_diag", not refusal, refusal)
    workload.fill()
    with Source("host") as source:
        assert source.read_listeners(CensusTaker(workload.watch)) == {workload.port: Listener(WAITING, BACKLOG)}


def test_an_ipv4_client_of_an_ipv6_listener_has_one_destination(diag: SockDiag, require: Require) -> None:
    present = socket.has_dualstack_ipv6() and socket.AF_INET6 in diag.families
    require("ipv6", present, "this host has no dual-stack IPv6")
    with ExitStack() as stack:
        workload = Workload(stack, socket.AF_INET6)
        workload.connect("127.0.0.1")
        workload.connect("::ffff:127.0.0.1")
        taker = CensusTaker(workload.watch)
        census = settled(
            lambda: taker.count(diag.rows(port_filter=workload.filter)),
            {
                Side.CLIENT: {TcpState.ESTABLISHED: 2},
                Side.SERVER: {TcpState.ESTABLISHED: 2, TcpState.LISTEN: 1},
            },
        )
        assert census.ephemeral_by_destination == {f"127.0.0.1:{workload.port}": 2}


def test_a_kernel_refuses_bytecode_that_is_none(diag: SockDiag) -> None:
    with pytest.raises(OSError, match="refused") as caught:
        list(diag.rows(port_filter=b"\x02\x00\x00\x00"))
    assert caught.value.errno == errno.EINVAL
    assert list(diag.rows(LISTENING)) is not None  # and the next dump works


def test_a_filter_of_many_ranges_is_one_the_kernel_takes(diag: SockDiag, workload: Workload) -> None:
    workload.connect()
    scattered = build_port_filter([workload.port, *range(1, 1000, 7)])
    rows = [row for row in diag.rows(port_filter=scattered) if workload.port in (row[2], row[3])]
    assert Counter(row[1] for row in rows) == {TcpState.ESTABLISHED: 2, TcpState.LISTEN: 1}


def test_thousands_of_sockets_are_all_counted(diag: SockDiag, workload: Workload) -> None:
    """More than one answer message holds: runs of one length and mixed ones."""
    soft = psutil.Process().rlimit(psutil.RLIMIT_NOFILE)[0] if hasattr(psutil, "RLIMIT_NOFILE") else 256
    pairs = min(1500, (soft - 200) // 4)
    for number in range(2 * pairs):
        client, server = workload.connect()
        if number % 2:
            server.close()
            assert client.recv(1) == b""  # its FIN is here: no simultaneous close, which would leave both in TIME_WAIT
            client.close()
    taker = CensusTaker(workload.watch)
    census = settled(
        lambda: taker.count(diag.rows(port_filter=workload.filter)),
        {
            Side.CLIENT: {TcpState.ESTABLISHED: pairs},
            Side.SERVER: {TcpState.ESTABLISHED: pairs, TcpState.TIME_WAIT: pairs, TcpState.LISTEN: 1},
        },
    )
    assert census.sockets == 3 * pairs + 1
    assert census.ephemeral == pairs
