"""Settings of a lab: whose defaults, which names, and when what the kernel gives back is what was wanted."""

from __future__ import annotations

from typing import Any

import pytest

from ftpstorm.lab.sysctls import asked, defaults, same
from ftpstorm.scenario.lab import Lab
from ftpstorm.vocabulary import Side


def lab(**keys: Any) -> Lab:
    return Lab.model_validate(keys)


@pytest.mark.parametrize("side", list(Side))
def test_every_host_protects_its_time_wait_from_resets(side: Side) -> None:
    assert defaults(lab(topology="routed"), side)["net.ipv4.tcp_rfc1337"] == "1"


def test_only_the_router_forwards() -> None:
    routed = lab(topology="routed", ipv6=True)
    forwarding = {"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"}
    assert forwarding.items() <= defaults(routed, Side.ROUTER).items()
    assert not forwarding.keys() & defaults(routed, Side.CLIENT).keys()


def test_what_the_scenario_says_of_a_default_wins() -> None:
    chosen = lab(sysctls={"client": {"tcp_rfc1337": 0}})
    assert (defaults(chosen, Side.CLIENT) | asked(chosen, Side.CLIENT))["net.ipv4.tcp_rfc1337"] == "0"


def test_conntrack_settings_are_the_routers() -> None:
    routed = lab(topology="routed", conntrack={"tcp_timeout_time_wait": 10}, sysctls={"router": {"ip_forward": 0}})
    assert asked(routed, Side.ROUTER) == {
        "net.ipv4.ip_forward": "0",
        "net.netfilter.nf_conntrack_tcp_timeout_time_wait": "10",
    }
    assert asked(routed, Side.CLIENT) == {}


@pytest.mark.parametrize("given", ["client", "server"])
def test_on_loopback_the_one_host_gets_what_either_side_is_given(given: str) -> None:
    alone = lab(topology="loopback", sysctls={given: {"somaxconn": 10}})
    assert asked(alone, Side.CLIENT) == asked(alone, Side.SERVER) == {"net.core.somaxconn": "10"}


@pytest.mark.parametrize(
    ("name", "wanted", "seen", "holds"),
    [
        ("net.ipv4.ip_local_port_range", "40000-40199", "40000\t40199", True),
        ("net.ipv4.ip_local_port_range", "40000  40199", "40000 40199", True),
        ("net.ipv4.ip_local_port_range", "40000-40199", "40000 40198", False),
        ("net.ipv4.ip_local_reserved_ports", "7,5,6", "5-7", True),
        ("net.ipv4.ip_local_reserved_ports", "5-7", "5,7", False),
        ("net.ipv4.tcp_rmem", "4096 131072 6291456", "4096\t131072\t6291456", True),
        ("net.ipv4.tcp_tw_reuse", "1", "2", False),
        ("net.ipv4.tcp_congestion_control", "cubic", "cubic", True),
    ],
)
def test_a_value_holds_when_the_kernel_means_the_same(name: str, wanted: str, seen: str, holds: bool) -> None:
    assert same(name, wanted, seen) is holds
