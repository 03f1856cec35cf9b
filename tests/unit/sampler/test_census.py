"""Which side a socket belongs to, and what is counted of it."""

from __future__ import annotations

import socket
from collections import Counter
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.sampler.census import QUEUES, CensusTaker, Listener, Row, Watch, format_address
from ftpstorm.vocabulary import Side, TcpState

CONTROL, DATA = 2121, 10_000
WATCH = Watch(frozenset({CONTROL}), frozenset(range(DATA, DATA + 20)), (32_768, 60_999))


def row(state: TcpState, sport: int, dport: int, remote: str = "127.0.0.1", queues: bytes = bytes(8)) -> Row:
    address = ip_address(remote)
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    return int(family), int(state), sport, dport, address.packed.ljust(16, b"\0"), queues


def test_the_local_port_decides_the_side() -> None:
    census = CensusTaker(WATCH).count(
        [
            row(TcpState.ESTABLISHED, 40_000, CONTROL),
            row(TcpState.ESTABLISHED, CONTROL, 40_000),
            row(TcpState.TIME_WAIT, DATA, 40_001),
            row(TcpState.CLOSE_WAIT, 22, 50_000),
        ]
    )
    assert census.sockets == 4
    assert census.states == {
        Side.CLIENT: {TcpState.ESTABLISHED: 1, TcpState.CLOSE_WAIT: 1},
        Side.SERVER: {TcpState.ESTABLISHED: 1, TcpState.TIME_WAIT: 1},
    }
    assert census.passive == {(DATA, TcpState.TIME_WAIT): 1}


def test_with_the_server_elsewhere_all_is_client() -> None:
    census = CensusTaker(Watch(port_range=(32_768, 60_999))).count([row(TcpState.ESTABLISHED, 21, 40_000)])
    assert census.states == {Side.CLIENT: {TcpState.ESTABLISHED: 1}}


def test_a_namespace_of_one_side_does_not_ask_for_ports() -> None:
    rows = [row(TcpState.ESTABLISHED, DATA, 21), row(TcpState.ESTABLISHED, 40_000, CONTROL, "10.0.0.2")]
    client = CensusTaker(WATCH, Side.CLIENT).count(rows)
    server = CensusTaker(WATCH, Side.SERVER).count(rows)
    assert client.states == {Side.CLIENT: {TcpState.ESTABLISHED: 2}}
    assert client.ephemeral_by_destination == {"10.0.0.2:2121": 1}
    assert server.states == {Side.SERVER: {TcpState.ESTABLISHED: 2}}
    assert server.ephemeral == 0
    assert server.passive == {(DATA, TcpState.ESTABLISHED): 1}


def test_an_ephemeral_port_counts_once_however_many_sockets_share_it() -> None:
    census = CensusTaker(WATCH).count(
        [
            row(TcpState.ESTABLISHED, 40_000, CONTROL),
            row(TcpState.TIME_WAIT, 40_000, DATA),
            row(TcpState.TIME_WAIT, 40_000, DATA + 1),
            row(TcpState.TIME_WAIT, 40_001, DATA + 1),
            row(TcpState.SYN_SENT, 40_002, 9999),
            row(TcpState.ESTABLISHED, 2000, CONTROL),
        ]
    )
    assert census.ephemeral == 3
    assert census.ephemeral_by_destination == {"127.0.0.1:2121": 1, "passive": 2}


def test_both_ends_of_the_range_are_in_it() -> None:
    ports = [32_767, 32_768, 60_999, 61_000]
    assert CensusTaker(WATCH).count(row(TcpState.TIME_WAIT, port, 80) for port in ports).ephemeral == 2


def test_without_a_range_nothing_ephemeral_is_known() -> None:
    census = CensusTaker(Watch(frozenset({CONTROL}))).count([row(TcpState.ESTABLISHED, 40_000, CONTROL)])
    assert census.ephemeral is None
    assert census.ephemeral_by_destination == {}


def test_an_ipv4_mapped_destination_is_the_ipv4_one() -> None:
    census = CensusTaker(WATCH).count(
        [
            row(TcpState.ESTABLISHED, 40_000, CONTROL),
            row(TcpState.ESTABLISHED, 40_001, CONTROL, "::ffff:127.0.0.1"),
            row(TcpState.TIME_WAIT, 40_000, CONTROL, "::ffff:127.0.0.1"),
            row(TcpState.ESTABLISHED, 40_002, CONTROL, "::1"),
        ]
    )
    assert census.ephemeral_by_destination == {"127.0.0.1:2121": 2, "[::1]:2121": 1}


def test_an_ipv6_address_that_begins_like_an_ipv4_one_stays_ipv6() -> None:
    raw = bytes([127, 0, 0, 1]) + bytes(12)
    assert format_address(socket.AF_INET, raw, 21) == "127.0.0.1:21"
    assert format_address(socket.AF_INET6, raw, 21) == "[7f00:1::]:21"


def test_queues_of_control_listeners_are_added_up_over_the_sockets_that_share_a_port() -> None:
    census = CensusTaker(WATCH).count(
        [
            row(TcpState.LISTEN, CONTROL, 0, "0.0.0.0", QUEUES.pack(3, 100)),
            row(TcpState.LISTEN, CONTROL, 0, "::", QUEUES.pack(4, 100)),
            row(TcpState.LISTEN, DATA, 0, "0.0.0.0", QUEUES.pack(1, 1)),
            row(TcpState.LISTEN, 22, 0, "0.0.0.0", QUEUES.pack(9, 9)),
        ]
    )
    assert census.listeners == {CONTROL: Listener(7, 200)}
    assert census.passive == {(DATA, TcpState.LISTEN): 1}


def test_a_source_that_knows_no_queue_lengths_gives_no_listeners() -> None:
    census = CensusTaker(WATCH).count([row(TcpState.LISTEN, CONTROL, 0, "0.0.0.0", b"")])
    assert census.listeners == {}
    assert census.states[Side.SERVER] == {TcpState.LISTEN: 1}


def test_a_state_of_a_later_kernel_is_a_socket_and_no_state() -> None:
    census = CensusTaker(WATCH).count([(2, 13, DATA, 0, bytes(16), bytes(8)), (2, 200, 40_000, 0, bytes(16), bytes(8))])
    assert census.sockets == 2
    assert census.states == {Side.CLIENT: {}, Side.SERVER: {}}
    assert census.passive == {}
    assert census.ephemeral == 1


ports = st.one_of(st.just(CONTROL), st.integers(DATA, DATA + 3), st.integers(40_000, 40_005), st.integers(1, 65_535))


@given(st.lists(st.builds(row, st.sampled_from(TcpState), ports, ports), max_size=60))
def test_every_socket_is_counted_on_exactly_one_side_in_one_state(rows: list[Row]) -> None:
    census = CensusTaker(WATCH).count(rows)
    server_ports = WATCH.server_ports | WATCH.passive_ports
    expected = Counter((Side.SERVER if each[2] in server_ports else Side.CLIENT, TcpState(each[1])) for each in rows)
    assert {(side, state): n for side, states in census.states.items() for state, n in states.items()} == expected
    assert census.ephemeral == len({each[2] for each in rows if 32_768 <= each[2] <= 60_999})
    assert sum(census.passive.values()) == sum(each[2] in WATCH.passive_ports for each in rows)


def test_a_taker_remembers_nothing_of_an_earlier_census() -> None:
    taker = CensusTaker(WATCH)
    taker.count([row(TcpState.ESTABLISHED, 40_000, CONTROL), row(TcpState.TIME_WAIT, DATA, 1)])
    empty = taker.count([])
    assert (empty.sockets, empty.ephemeral, empty.passive, empty.ephemeral_by_destination) == (0, 0, {}, {})
