"""`lab:`: what each topology has, settings that a lab may make, and errors that say what to write instead."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from ftpstorm.errors import ScenarioError
from ftpstorm.scenario.lab import Lab, sysctl_full_name, whole_rate
from ftpstorm.scenario.loader import load_text
from ftpstorm.units import NS_PER_S, parse_rate

SCENARIO = """\
version: 1
name: in-a-lab
target: {emulator: {}}
flows: {download: {steps: [login, {retr: small.bin}, quit]}}
files: {small.bin: 1KiB}
load: {steady: {executor: constant-arrival-rate, rate: 97/s, duration: 20s, flow: download}}
lab: LAB
"""


def lab(**keys: Any) -> Lab:
    return Lab.model_validate(keys)


def refusal(**keys: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        lab(**keys)
    return str(caught.value)


def told(section: str) -> str:
    """Return what a user reads about a file with this `lab` section."""
    with pytest.raises(ScenarioError) as caught:
        load_text(SCENARIO.replace("LAB", section), "f.yaml")
    return str(caught.value)


def test_a_lab_is_a_pair_with_one_client_address_unless_more_is_said() -> None:
    plain = lab()
    assert (plain.topology, plain.clients, plain.client_addresses, plain.server_addresses) == ("pair", 1, 1, 1)
    assert (plain.nat, plain.firewall, plain.link, plain.time_wait.client) == (None, None, None, None)


@pytest.mark.parametrize(
    "keys",
    [
        {"topology": "routed", "clients": 3, "nat": {"ports": "40000-40499"}, "conntrack": {"tcp_timeout_syn_sent": 5}},
        {"topology": "routed", "firewall": {"allow": [22, "10000-10019"], "helper": True, "rate_limit": "90/min"}},
        {"sysctls": {"client": {"tcp_tw_reuse": 0, "ip_local_port_range": "40000-40199", "tcp_timestamps": False}}},
        {"topology": "loopback", "own_address": True, "server_addresses": 5, "time_wait": "5s"},
        {"link": {"delay": "10ms", "loss": 0.01, "rate": "1.5mbit"}, "ipv6": True},
    ],
)
def test_a_lab_reads_back_from_what_is_written_of_it(keys: dict[str, Any]) -> None:
    first = lab(**keys)
    assert Lab.model_validate(first.model_dump(mode="json", by_alias=True)) == first


def test_one_time_wait_is_that_of_both_ends() -> None:
    both = lab(time_wait="5s").time_wait
    assert both.client == both.server == 5 * NS_PER_S
    apart = lab(time_wait={"server": "2s"}).time_wait
    assert (apart.client, apart.server) == (None, 2 * NS_PER_S)


@pytest.mark.parametrize("length", ["61s", "99ms", "0s"])
def test_a_time_wait_that_no_lab_can_make_is_refused(length: str) -> None:
    assert "must be from 100ms to 60s" in refusal(time_wait=length)


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("tcp_tw_reuse", "net.ipv4.tcp_tw_reuse"),
        ("ip_local_port_range", "net.ipv4.ip_local_port_range"),
        ("somaxconn", "net.core.somaxconn"),
        ("net.core.netdev_max_backlog", "net.core.netdev_max_backlog"),
        ("net.ipv4.conf.all.rp_filter", "net.ipv4.conf.all.rp_filter"),
    ],
)
def test_a_sysctl_without_a_dot_is_one_of_ipv4(name: str, full: str) -> None:
    assert sysctl_full_name(name) == full
    assert lab(sysctls={"server": {name: 1}}).sysctls.server == {name: "1"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("kernel.pid_max", "the whole machine's"),
        ("fs.file-max", "the whole machine's"),
        ("../../kernel/pid_max", "is no sysctl"),
        ("net.ipv4..x", "is no sysctl"),
        ("Tcp_Tw_Reuse", "is no sysctl"),
    ],
)
def test_a_setting_that_is_not_the_networks_own_is_refused(name: str, said: str) -> None:
    assert said in refusal(sysctls={"client": {name: 1}})


def test_one_setting_under_two_names_is_refused() -> None:
    twice = {"tcp_tw_reuse": 1, "net.ipv4.tcp_tw_reuse": 0}
    assert "`tcp_tw_reuse` and `net.ipv4.tcp_tw_reuse` are the same setting" in refusal(sysctls={"client": twice})


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"nat": {}}, "`nat` needs `topology: routed`"),
        ({"firewall": {}}, "`firewall` needs `topology: routed`"),
        ({"conntrack": {"max": 10}}, "`conntrack` needs `topology: routed`"),
        ({"sysctls": {"router": {"ip_forward": 1}}}, "`sysctls.router` needs `topology: routed`"),
        ({"topology": "routed", "nat": {}, "ipv6": True}, "`nat` translates IPv4"),
        ({"topology": "loopback", "clients": 2}, "need `topology: pair` or `routed`"),
        ({"topology": "loopback", "client_addresses": 2}, "need `topology: pair` or `routed`"),
        ({"topology": "loopback", "server_addresses": 2}, "needs `own_address: true`"),
        ({"topology": "loopback", "link": {"rate": "1mbit"}}, "need `topology: pair` or `routed`"),
        ({"own_address": True}, "`own_address` belongs to `topology: loopback`"),
        (
            {"topology": "loopback", "sysctls": {"client": {"tcp_tw_reuse": 0}, "server": {"tcp_tw_reuse": 1}}},
            "client and server are one host",
        ),
        ({"topology": "loopback", "time_wait": {"client": "1s"}}, "share TIME_WAIT"),
    ],
)
def test_what_a_topology_lacks_is_refused(keys: dict[str, Any], said: str) -> None:
    assert said in refusal(**keys)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"topology": "routed", "firewall": {"allow": ["20-10"]}}, "first <= last"),
        ({"topology": "routed", "firewall": {"allow": [0]}}, "must be a port"),
        ({"topology": "routed", "firewall": {"allow": ["70000"]}}, "must be a port"),
        ({"topology": "routed", "firewall": {"rate_limit": "0.3/d"}}, "must be a whole number"),
        ({"topology": "routed", "conntrack": {"nf_conntrack_max": 10}}, "write 'max'"),
        ({"topology": "routed", "conntrack": {"../max": 10}}, "is no setting of connection tracking"),
        ({"topology": "routed", "conntrack": {"tcp_timeout_close": True}}, "true or false"),
        ({"link": {}}, "give at least one of"),
        ({"link": {"rate": "0mbit"}}, "must be above 0"),
        ({"link": {"loss": 1.0}}, "less than 1"),
        ({"clients": 17}, "less than or equal to 16"),
        ({"client_addresses": 251}, "less than or equal to 250"),
    ],
)
def test_a_value_out_of_bounds_is_refused(keys: dict[str, Any], said: str) -> None:
    assert said in refusal(**keys)


@pytest.mark.parametrize(
    ("text", "whole"),
    [("97/s", (97, "second")), ("90/min", (90, "minute")), ("0.5/s", (30, "minute")), ("1/d", (1, "day"))],
)
def test_a_filters_rate_is_a_whole_number_of_the_shortest_unit_that_makes_it_one(
    text: str, whole: tuple[int, str]
) -> None:
    assert whole_rate(parse_rate(text)) == whole


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("{topologie: pair}", "f.yaml:7:7: lab.topologie: unknown key 'topologie'; did you mean 'topology'?"),
        ("{topology: routed, firewall: {allow: [ftp]}}", "lab.firewall.allow.0: must be a port such as 22"),
        ("{link: {rate: 5}}", "lab.link.rate: must be text"),
        ("{link: {rate: fast}}", "lab.link.rate: must be bits a second such as"),
        ("{sysctls: {client: {kernel.pid_max: 5}}}", "the whole machine's"),
    ],
)
def test_a_wrong_lab_is_told_with_its_place_and_the_remedy(section: str, expected: str) -> None:
    assert expected in told(section)
