"""Parsers of /proc/net and of port sysctls: whole, cut short at any byte, with columns that no kernel has yet."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.sampler.procnet import (
    NetFiles,
    count_within,
    net_folder,
    parse_counters,
    parse_port_list,
    parse_port_range,
    parse_sockstat,
)
from ftpstorm.vocabulary import COUNTERS

SNMP = b"""\
Ip: Forwarding DefaultTTL InReceives
Ip: 1 64 123456
Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs \
RetransSegs InErrs OutRsts InCsumErrors
Tcp: 1 200 120000 -1 1940 1961 3 4 5 60000 61000 7 0 21 0
Udp: InDatagrams
Udp: 9
"""
NETSTAT = b"""\
TcpExt: SyncookiesSent EmbryonicRsts TW TWRecycled ListenOverflows ListenDrops TCPTimeWaitOverflow
TcpExt: 11 934 20000 17 18 19 20
IpExt: InNoRoutes
IpExt: 0
"""
SOCKSTAT = b"""\
sockets: used 317
TCP: inuse 12 orphan 1 tw 28232 alloc 15 mem 167
UDP: inuse 3 mem 2
"""


def test_counters_are_named_by_group_and_only_the_wanted_ones_are_taken() -> None:
    assert parse_counters(SNMP) == {
        "Tcp.ActiveOpens": 1940,
        "Tcp.PassiveOpens": 1961,
        "Tcp.AttemptFails": 3,
        "Tcp.EstabResets": 4,
        "Tcp.CurrEstab": 5,
        "Tcp.RetransSegs": 7,
        "Tcp.InErrs": 0,
        "Tcp.OutRsts": 21,
    }
    assert parse_counters(NETSTAT)["TcpExt.EmbryonicRsts"] == 934
    assert parse_counters(SNMP, frozenset({"Tcp.MaxConn"})) == {"Tcp.MaxConn": -1}


def test_a_counter_that_this_kernel_lacks_is_absent_not_zero() -> None:
    assert "TcpExt.PAWSTimewait" in COUNTERS
    assert "TcpExt.PAWSTimewait" not in parse_counters(NETSTAT)


def test_columns_of_a_later_kernel_shift_nothing() -> None:
    later = NETSTAT.replace(b"TcpExt: Sync", b"TcpExt: NewOne Sync").replace(b"TcpExt: 11", b"TcpExt: 77 11")
    assert parse_counters(later) == parse_counters(NETSTAT)


def test_more_values_than_names_or_fewer_lose_only_the_odd_ones() -> None:
    assert parse_counters(b"TcpExt: TW TWRecycled\nTcpExt: 1\n") == {"TcpExt.TW": 1}
    assert parse_counters(b"TcpExt: TW\nTcpExt: 1 2 3\n") == {"TcpExt.TW": 1}


@pytest.mark.parametrize(
    "text",
    [b"", b"\n\n", b"TcpExt: TW\n", b"TcpExt: TW\nIpExt: 5\n", b"TcpExt: TW\nTcpExt: many\n", b"\xff\xfe\n\xff 1\n"],
)
def test_text_that_is_no_counter_table_gives_nothing(text: bytes) -> None:
    assert parse_counters(text) == {}


@given(st.integers(0, len(SNMP) + len(NETSTAT)))
def test_a_text_cut_at_any_byte_gives_true_values_or_none(cut: int) -> None:
    whole = parse_counters(SNMP + NETSTAT)
    found = parse_counters((SNMP + NETSTAT)[:cut])
    assert found.items() <= whole.items()


def test_sockstat_is_read_by_protocol_and_name() -> None:
    parsed = parse_sockstat(SOCKSTAT)
    assert parsed["TCP"] == {"inuse": 12, "orphan": 1, "tw": 28232, "alloc": 15, "mem": 167}
    assert parsed["sockets"] == {"used": 317}
    assert parse_sockstat(b"TCP: inuse x tw 4 later 5\n")["TCP"] == {"tw": 4, "later": 5}


@given(st.integers(0, len(SOCKSTAT)))
def test_a_sockstat_cut_at_any_byte_gives_true_values_or_none(cut: int) -> None:
    whole = parse_sockstat(SOCKSTAT)
    for protocol, values in parse_sockstat(SOCKSTAT[:cut]).items():
        assert values.items() <= whole[protocol].items()


@given(st.binary(max_size=200))
def test_no_bytes_make_a_parser_raise(text: bytes) -> None:
    parse_counters(text)
    parse_sockstat(text)
    parse_port_range(text)
    parse_port_list(text)


def test_the_port_range_is_two_numbers_in_order() -> None:
    assert parse_port_range(b"32768\t60999\n") == (32768, 60999)
    for bad in (b"", b"1", b"5 4", b"0 10", b"1 70000", b"a b", b"1 2 3"):
        assert parse_port_range(bad) is None


def test_reserved_ports_are_counted_once_and_only_within_the_range() -> None:
    ranges = parse_port_list(b"8080,40000-40009,40005-40014\n")
    assert ranges == ((8080, 8080), (40000, 40009), (40005, 40014))
    assert count_within(ranges, (32768, 60999)) == 15
    assert count_within(ranges, (40010, 40012)) == 3
    assert parse_port_list(b"\n") == ()
    assert parse_port_list(b"80-") is None
    assert parse_port_list(b"http") is None


def test_files_that_are_not_there_read_as_nothing(tmp_path: Path) -> None:
    (tmp_path / "sockstat6").write_text("TCP6: inuse 4\n")
    with NetFiles(tmp_path) as files:
        assert files.names == ("sockstat6",)
        assert files.read_counters() == {}
        assert files.read_sockstat() == {"inuse6": 4}
    files.close()


def test_an_open_file_shows_what_is_true_now(tmp_path: Path) -> None:
    snmp = tmp_path / "snmp"
    snmp.write_bytes(SNMP)
    (tmp_path / "netstat").write_bytes(NETSTAT)
    with NetFiles(tmp_path) as files:
        assert files.read_counters()["Tcp.ActiveOpens"] == 1940
        with snmp.open("r+b") as file:
            file.write(SNMP.replace(b"-1 1940", b"-1 1941"))
        counters = files.read_counters()
    assert counters["Tcp.ActiveOpens"] == 1941
    assert counters["TcpExt.TW"] == 20000


@pytest.mark.skipif(net_folder() is None, reason="this system has no /proc/net")
def test_the_kernel_here_is_read() -> None:
    with NetFiles() as files:
        assert "Tcp.ActiveOpens" in files.read_counters()
        assert {"inuse", "tw"} <= files.read_sockstat().keys()
