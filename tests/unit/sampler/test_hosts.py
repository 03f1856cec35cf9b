"""Which namespaces a sampler's hello names, and what it makes of several of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ftpstorm.sampler.hosts import opened, read_hosts
from ftpstorm.sampler.netns import call_inside
from ftpstorm.vocabulary import Side


def test_without_hosts_there_is_one_that_is_the_samplers_own() -> None:
    (host,) = read_hosts({"server_ports": [21], "port_range": [40_000, 40_019]})
    assert (host.name, host.side, host.netns) == ("host", None, None)
    assert host.watch.port_range == (40_000, 40_019)
    (client,) = read_hosts({"host": "client"})
    assert (client.name, client.side) == ("client", None)


def test_each_host_has_its_side_its_namespace_and_its_ports() -> None:
    hosts = read_hosts(
        {
            "hosts": [
                {"name": "client-1", "side": "client", "netns": 5, "server_ports": [21], "port_range": [1024, 2047]},
                {"name": "router", "side": "router", "netns": 6},
                {"name": "host", "side": "host", "netns": 7},
            ]
        }
    )
    assert [(host.name, host.side, host.netns) for host in hosts] == [
        ("client-1", Side.CLIENT, 5),
        ("router", Side.ROUTER, 6),
        ("host", None, 7),
    ]
    assert hosts[0].watch.server_ports == {21}
    assert hosts[1].watch.port_range is None


@pytest.mark.parametrize(
    "hello",
    [{"host": "elsewhere"}, {"hosts": []}, {"hosts": [{"name": "x", "side": "middle", "netns": 5}]}],
)
def test_a_host_that_is_none_is_refused(hello: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="hello"):
        read_hosts(hello)


def test_a_descriptor_that_is_no_namespace_is_an_error_in_the_caller() -> None:
    descriptor = os.open("/dev/null", os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="setns"):
            call_inside(descriptor, lambda: None)
    finally:
        os.close(descriptor)


def test_the_samplers_own_namespace_is_opened_without_entering_anything() -> None:
    with opened(read_hosts({"host": "host"})) as (source,):
        assert source.host == "host"
        assert (source.port_range is not None) == Path("/proc/sys/net/ipv4/ip_local_port_range").exists()
