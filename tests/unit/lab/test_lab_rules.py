"""The router's ruleset and the wires' queueing disciplines as text: each key of the scenario has its line."""

from __future__ import annotations

from typing import Any

import pytest

from ftpstorm.lab.firewall import ruleset
from ftpstorm.lab.links import BURST_MIN_BYTES, missing, parse_bits, qdiscs
from ftpstorm.scenario.lab import Lab, Link


def rules(**keys: Any) -> str:
    return ruleset(Lab.model_validate({"topology": "routed", **keys}), 2121)


def test_a_router_that_only_routes_has_no_rules() -> None:
    assert rules() == ""


def test_nat_without_ports_leaves_the_choice_to_the_kernel() -> None:
    assert "ip saddr 10.77.0.0/16 ip daddr 10.78.0.0/24 meta l4proto tcp masquerade\n" in rules(nat={})
    assert "masquerade to :40000-40499\n" in rules(nat={"ports": "40000-40499"})


def test_the_control_port_is_allowed_unasked_and_each_port_once() -> None:
    assert "tcp dport { 2121 } ct state new counter accept" in rules(firewall={})
    assert "tcp dport { 2121, 10000-10019 } ct" in rules(firewall={"allow": [2121, "10000-10019"]})


@pytest.mark.parametrize(
    ("refuse", "last"),
    [
        ("drop", "counter drop"),
        ("reject", "meta l4proto tcp counter reject with tcp reset"),
        ("admin-prohibited", "counter reject with icmpx type admin-prohibited"),
    ],
)
def test_what_is_not_allowed_is_refused_last_and_in_the_chosen_way(refuse: str, last: str) -> None:
    lines = rules(firewall={"refuse": refuse, "rate_limit": "90/min"}).splitlines()
    assert lines[-3:] == [last, "}", "}"]
    assert f"ct state new limit rate over 90/minute burst 5 packets {last}" in lines


def test_the_helper_reads_the_control_port_only_where_it_is_wanted() -> None:
    assert "helper" not in rules(firewall={})
    assert 'ip daddr 10.78.0.0/24 tcp dport 2121 ct helper set "ftp-control"' in rules(firewall={"helper": True})


def test_limits_stand_before_what_lets_connections_through() -> None:
    text = rules(firewall={"connection_limit": 10, "rate_limit": "97/s"})
    limited, rate, through = (
        text.index(part) for part in ("ct count over 10", "limit rate over 97/second", "ct state new counter accept")
    )
    assert limited < rate < through


def test_with_ipv6_nothing_is_said_about_ipv4() -> None:
    text = rules(ipv6=True, firewall={"connection_limit": 10, "helper": True})
    assert "ip6 saddr fd77::/96 ip6 daddr fd78::/112" in text
    assert "type ipv6_addr" in text
    assert "ip saddr" not in text
    assert "ipv4" not in text


def link(**keys: Any) -> Link:
    return Link.model_validate(keys)


def test_a_delay_holds_more_packets_than_a_burst_has() -> None:
    assert qdiscs(link(delay="10ms"), "eth0") == "qdisc add dev eth0 root handle 1: netem limit 100000 delay 10000us\n"


def test_loss_is_told_in_percent() -> None:
    assert "netem limit 100000 loss 0.500000%\n" in qdiscs(link(loss=0.005), "eth0")


def test_a_rate_alone_is_the_root_and_beside_a_delay_its_child() -> None:
    alone = qdiscs(link(rate="100mbit"), "eth0")
    assert alone == f"qdisc add dev eth0 root handle 10: tbf rate 100mbit burst {BURST_MIN_BYTES}b latency 50ms\n"
    both = qdiscs(link(rate="100mbit", delay="1ms"), "eth0").splitlines()
    assert len(both) == 2
    assert both[1].startswith("qdisc add dev eth0 parent 1:1 handle 10: tbf")


@pytest.mark.parametrize(("rate", "bits"), [("5bit", 5), ("512kbit", 512e3), ("1.5mbit", 1.5e6), ("10gbit", 1e10)])
def test_rates_are_decimal(rate: str, bits: float) -> None:
    assert parse_bits(rate) == bits


def test_a_high_rate_gets_a_bucket_of_more_than_one_clock_tick() -> None:
    burst = int(qdiscs(link(rate="10gbit"), "eth0").partition("burst ")[2].partition("b ")[0])
    assert burst >= 10e9 / 8 / 250  # HZ=250: what passes in one tick


def test_what_a_kernel_lacks_is_told_by_key_and_module() -> None:
    told = missing(link(delay="1ms", rate="1mbit"), "tc said no")
    assert "`lab.link` with delay and rate" in told
    assert "sch_netem and sch_tbf" in told
    assert told.endswith("tc said no")
