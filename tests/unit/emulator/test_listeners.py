"""Rules for choosing ports."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ftpstorm.emulator.listeners import (
    CONTROL_PORT,
    PASSIVE_PORT,
    accept_queue,
    listen_control,
    passive_ports,
    read_ephemeral_range,
)
from ftpstorm.errors import EnvironmentUnavailableError

HOST = "127.0.0.1"


def bound(*, listening: bool) -> socket.socket:
    sock = socket.socket()
    sock.bind((HOST, 0))
    if listening:
        sock.listen(1)
    return sock


def test_a_count_takes_ports_from_ten_thousand_upward_outside_the_ephemeral_range() -> None:
    skipped = range(PASSIVE_PORT + 3, PASSIVE_PORT + 300)
    with passive_ports(50, HOST, ephemeral=(skipped[0], skipped[-1])) as ports:
        assert len(set(ports)) == 50
        assert min(ports) >= PASSIVE_PORT
        assert not set(ports) & set(skipped)


def test_ports_already_taken_are_not_chosen() -> None:
    with passive_ports(3, HOST) as before:
        pass
    with passive_ports(3, HOST, taken=before) as ports:
        assert not set(ports) & set(before)


def test_two_emulators_of_one_host_share_no_port() -> None:
    with passive_ports(100, HOST) as one, passive_ports(100, HOST) as other:
        assert not set(one) & set(other)


def test_an_exact_range_is_taken_as_it_is() -> None:
    with passive_ports(200, HOST) as free:
        first = next(port for port in free if {port, port + 1, port + 2} <= set(free))
        with passive_ports(f"{first}-{first + 2}", HOST) as ports:
            assert ports == (first, first + 1, first + 2)


def test_an_exact_range_with_a_port_in_use_names_it() -> None:
    with bound(listening=True) as sock:
        port = sock.getsockname()[1]
        with pytest.raises(EnvironmentUnavailableError, match=f"1 of 1 cannot be bound on {HOST} \\({port}\\)"):
            passive_ports(f"{port}-{port}", HOST).__enter__()


def test_too_few_ports_outside_the_ephemeral_range_is_an_error_that_says_how_many() -> None:
    with pytest.raises(EnvironmentUnavailableError, match="only 0 of 5 passive ports"):
        passive_ports(5, HOST, ephemeral=(1, 65_535)).__enter__()


def test_the_control_port_is_the_first_free_one_that_the_pool_leaves() -> None:
    with listen_control(HOST, None, 5) as first, listen_control(HOST, None, 5) as second:
        one, two = first.getsockname()[1], second.getsockname()[1]
        assert CONTROL_PORT <= one < two
    with listen_control(HOST, None, 5, taken=range(CONTROL_PORT, CONTROL_PORT + 500)) as third:
        assert third.getsockname()[1] >= CONTROL_PORT + 500


def test_a_control_port_in_use_is_an_error_that_names_it() -> None:
    with bound(listening=True) as sock:
        port = sock.getsockname()[1]
        with pytest.raises(EnvironmentUnavailableError, match=f"port {port}: Address already in use"):
            listen_control(HOST, port, 5)


def test_a_host_that_is_no_name_is_an_error() -> None:
    with pytest.raises(EnvironmentUnavailableError, match="cannot listen on"):
        listen_control("no such host", None, 5)


def test_the_accept_queue_counts_connections_not_accepted() -> None:
    with listen_control(HOST, None, 5) as listener:
        if accept_queue(listener) is None:
            pytest.skip("this kernel does not tell the accept queue")
        assert accept_queue(listener) == 0
        clients = [socket.create_connection(listener.getsockname()) for _ in range(3)]
        assert accept_queue(listener) == 3
        listener.accept()[0].close()
        assert accept_queue(listener) == 2
        for client in clients:
            client.close()
    assert accept_queue(listener) is None


def test_an_ephemeral_range_that_nobody_tells_is_unknown(tmp_path: Path) -> None:
    assert read_ephemeral_range(tmp_path / "absent") is None
    (tmp_path / "odd").write_text("what")
    assert read_ephemeral_range(tmp_path / "odd") is None
    (tmp_path / "range").write_text("32768\t60999\n")
    assert read_ephemeral_range(tmp_path / "range") == (32768, 60999)
