"""What the emulator does behind its ports: it asks a back end before each transfer, it forgets to close."""

# ruff: noqa: S321 - FTP is what this is about

from __future__ import annotations

import contextlib
import errno
import ftplib
import io
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ftpstorm.vocabulary import PoolState

Start = Callable[..., Any]
CLOSE_WAIT = "08"  # include/net/tcp_states.h


@contextlib.contextmanager
def login(emulator: Any) -> Iterator[ftplib.FTP]:
    with ftplib.FTP(timeout=30) as ftp:
        ftp.connect(emulator.host, emulator.port)
        ftp.login()
        yield ftp


def retrieve(ftp: ftplib.FTP) -> None:
    ftp.retrbinary("RETR small.bin", lambda _: None)


def store(ftp: ftplib.FTP) -> None:
    ftp.storbinary("STOR up.bin", io.BytesIO(b"x" * 1000))


def counts(emulator: Any) -> Any:
    return emulator.ask(lambda server: server.counts)


def in_close_wait(ports: tuple[int, ...]) -> int:
    rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    return sum(row[3] == CLOSE_WAIT and int(row[1].rpartition(":")[2], 16) in ports for row in rows)


# --- the back end -----------------------------------------------------------------------------------------------------


def test_each_transfer_makes_a_connection_to_the_back_end(start_emulator: Start) -> None:
    emulator = start_emulator({"backend": {"per": "request"}})
    with login(emulator) as ftp:
        for _ in range(3):
            retrieve(ftp)
        store(ftp)
        ftp.nlst()
        ftp.voidcmd("NOOP")
    told = counts(emulator)
    assert (told.backend_requests, told.backend_connects, told.backend_refused) == (5, 5, 0)


def test_a_pool_makes_one_connection_for_requests_that_follow_each_other(start_emulator: Start) -> None:
    emulator = start_emulator({"backend": {"per": "pool", "size": 4}})
    with login(emulator) as ftp:
        for _ in range(5):
            retrieve(ftp)
    told = counts(emulator)
    assert (told.backend_requests, told.backend_connects) == (5, 1)


def test_a_pool_never_has_more_connections_than_its_size(start_emulator: Start) -> None:
    emulator = start_emulator({"backend": {"per": "pool", "size": 2, "takes": "50ms"}})

    def fetch() -> None:
        with login(emulator) as ftp:
            retrieve(ftp)

    clients = [threading.Thread(target=fetch) for _ in range(6)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    told = counts(emulator)
    assert (told.backend_requests, told.backend_connects, told.transfers_completed) == (6, 2, 6)


class NoPort:
    """Stands for a kernel without a free local port: so many connects fail, the next ones do not."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.tried = 0

    def __call__(self, family: int = -1, kind: int = -1, *rest: Any, **more: Any) -> socket.socket:
        self.tried += 1
        if self.left:
            self.left -= 1
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        return socket.socket(family, kind, *rest, **more)


@pytest.fixture
def no_port(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], NoPort]:
    """Give ``no_port(times)``: the next so many sockets towards the back end get no local port."""
    from ftpstorm.emulator import backend

    def arrange(times: int) -> NoPort:
        kernel = NoPort(times)
        stand_in = type("module", (), {**vars(socket), "socket": kernel})
        monkeypatch.setattr(backend, "socket", stand_in)
        return kernel

    return arrange


def test_without_a_local_port_the_transfer_is_refused_with_451_and_control_lives(
    start_emulator: Start, no_port: Callable[[int], NoPort]
) -> None:
    emulator = start_emulator({"passive_ports": 2, "backend": {"per": "request"}})
    with login(emulator) as ftp:
        retrieve(ftp)
        no_port(2)
        for _ in range(2):
            with pytest.raises(ftplib.error_temp, match=r"^451 Local error, .*Cannot assign requested address"):
                retrieve(ftp)
        retrieve(ftp)  # the refused ones gave their passive ports back
    told = counts(emulator)
    assert (told.backend_refused, told.transfers_completed) == (2, 2)


def test_a_server_that_waits_serves_late_instead_of_failing(
    start_emulator: Start, no_port: Callable[[int], NoPort]
) -> None:
    emulator = start_emulator({"backend": {"per": "request", "no_port": "wait"}})
    with login(emulator) as ftp:
        kernel = no_port(3)
        retrieve(ftp)
    assert kernel.tried == 4
    assert (counts(emulator).backend_refused, counts(emulator).transfers_completed) == (0, 1)


# --- forgetting to close ----------------------------------------------------------------------------------------------


def test_an_upload_that_is_leaked_stays_in_close_wait_and_keeps_its_port(start_emulator: Start) -> None:
    emulator = start_emulator({"passive_ports": 2, "leak": "close-wait"})
    ports = emulator.ask(lambda server: server.pool.ports)
    with login(emulator) as ftp:
        store(ftp)
        store(ftp)
        with pytest.raises(ftplib.error_temp, match="425"):
            store(ftp)
    taken = emulator.ask(lambda server: server.pool.counts(server.clock()))
    assert taken[PoolState.IN_USE] == 2
    assert in_close_wait(ports) == 2
    assert counts(emulator).leaked == 2


def test_what_the_server_closes_first_is_not_leaked(start_emulator: Start) -> None:
    emulator = start_emulator({"passive_ports": 1, "leak": "close-wait"})
    with login(emulator) as ftp:
        for _ in range(5):
            retrieve(ftp)
    assert counts(emulator).leaked == 0


def test_each_third_upload_is_leaked_where_the_scenario_says_so(start_emulator: Start) -> None:
    emulator = start_emulator({"passive_ports": 50, "leak": {"every": 3}})
    with login(emulator) as ftp:
        for _ in range(10):
            store(ftp)
    assert counts(emulator).leaked == 3
