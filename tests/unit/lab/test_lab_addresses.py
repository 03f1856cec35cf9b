"""Who has which address in a lab: the scheme that scenarios and captures show."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from ftpstorm.lab.addresses import (
    client_addresses,
    client_network,
    clients_network,
    router_addresses,
    server_addresses,
    server_network,
    single,
)
from ftpstorm.scenario.lab import Lab


def lab(**keys: Any) -> Lab:
    return Lab.model_validate(keys)


def test_client_host_h_has_10_77_h_and_the_server_10_78() -> None:
    pair = lab(clients=3, client_addresses=3, server_addresses=2)
    assert client_addresses(pair, 2) == ("10.77.2.1", "10.77.2.2", "10.77.2.3")
    assert server_addresses(pair) == ("10.78.0.1", "10.78.0.2")


def test_ipv6_addresses_are_spelled_as_the_kernel_spells_them() -> None:
    pair = lab(clients=2, client_addresses=11, server_addresses=1, ipv6=True)
    assert client_addresses(pair, 0)[:2] == ("fd77::1", "fd77::2")
    assert client_addresses(pair, 1)[-1] == "fd77::1:b"
    assert server_addresses(pair) == ("fd78::1",)
    assert single(pair, "fd78::1") == "fd78::1/128 nodad"


@pytest.mark.parametrize(
    ("keys", "address"),
    [
        ({}, "127.0.0.1"),
        ({"ipv6": True}, "::1"),
        ({"own_address": True}, "10.78.0.1"),
        ({"own_address": True, "ipv6": True}, "fd78::1"),
    ],
)
def test_on_loopback_both_ends_have_the_same_address(keys: dict[str, Any], address: str) -> None:
    alone = lab(topology="loopback", **keys)
    assert client_addresses(alone, 0) == server_addresses(alone) == (address,)


@pytest.mark.parametrize("ipv6", [False, True])
def test_every_address_is_its_own_and_lies_in_its_network(ipv6: bool) -> None:
    largest = lab(topology="routed", clients=16, client_addresses=250, server_addresses=250, ipv6=ipv6)
    seen = {ip_address(address) for address in (*server_addresses(largest), *router_addresses(largest))}
    assert all(ip_address(address) in ip_network(server_network(largest)) for address in server_addresses(largest))
    for number in range(16):
        addresses = {ip_address(address) for address in client_addresses(largest, number)}
        assert all(address in ip_network(client_network(largest, number)) for address in addresses)
        assert all(address in ip_network(clients_network(largest)) for address in addresses)
        assert not addresses & seen
        seen |= addresses
    assert len(seen) == 17 * 250 + 2
    assert not any(
        ip_address(address) in ip_network(clients_network(largest))
        for address in (*server_addresses(largest), *router_addresses(largest))
    )
