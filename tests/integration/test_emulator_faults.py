"""The faults that the emulator shows on demand, and that it shows them exactly."""

# ruff: noqa: S321 - FTP is what this is about

from __future__ import annotations

import asyncio
import contextlib
import ftplib
import io
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ftpstorm.emulator.listeners import accept_queue
from ftpstorm.emulator.serve import new_loop
from ftpstorm.vocabulary import PoolState

FILES = {"small.bin": 1024, "big.bin": 100 * 2**20}
HELD = 2_000_000_000
RESET = struct.pack("ii", 1, 0)


class HandClock:
    """A clock that stands still until the test moves it."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000_000_000

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


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


def states(emulator: Any) -> dict[str, int]:
    counts = emulator.ask(lambda server: server.pool.counts(server.clock()))
    return {state.word: count for state, count in counts.items() if count}


# --- the passive pool -------------------------------------------------------------------------------------------------


def test_an_exhausted_pool_answers_425_and_control_lives(start_emulator: Callable[..., Any], clock: HandClock) -> None:
    emulator = start_emulator({"passive_ports": 3, "hold": {"for": "2s"}}, FILES, clock=clock)
    with login(emulator) as ftp:
        for _ in range(3):
            retrieve(ftp)
        for command in ("PASV", "EPSV"):
            with pytest.raises(ftplib.error_temp) as refused:
                ftp.sendcmd(command)
            assert str(refused.value) == "425 Try later, data connection in use."
        assert ftp.voidcmd("NOOP").startswith("200")
        clock.now_ns += HELD
        retrieve(ftp)
    counts = emulator.ask(lambda server: server.counts)
    assert (counts.passive_replies, counts.passive_refused, counts.transfers_completed) == (4, 2, 4)


def test_twenty_ports_held_four_seconds_give_twenty_transfers_at_0_4_and_8_seconds(
    start_emulator: Callable[..., Any], clock: HandClock
) -> None:
    emulator = start_emulator({"passive_ports": 20, "hold": {"for": "4s"}}, FILES, clock=clock)
    succeeded: dict[int, int] = {}
    start_ns = clock.now_ns
    with login(emulator) as ftp:
        for second in range(10):
            clock.now_ns = start_ns + second * 1_000_000_000
            for _ in range(25):
                with contextlib.suppress(ftplib.error_temp):
                    retrieve(ftp)
                    succeeded[second] = succeeded.get(second, 0) + 1
    assert succeeded == {0: 20, 4: 20, 8: 20}


def test_the_reply_of_an_exhausted_pool_can_be_chosen_and_even_421_keeps_control(
    start_emulator: Callable[..., Any], clock: HandClock
) -> None:
    section = {"passive_ports": 1, "hold": {"for": "2s"}, "reply": "421 No free ports"}
    emulator = start_emulator(section, FILES, clock=clock)
    with login(emulator) as ftp:
        retrieve(ftp)
        with pytest.raises(ftplib.error_temp, match=r"^421 No free ports$"):
            ftp.sendcmd("PASV")
        assert ftp.voidcmd("NOOP").startswith("200")


@pytest.mark.parametrize("moment", ["before", "at"])
def test_a_port_is_held_to_the_nanosecond(start_emulator: Callable[..., Any], clock: HandClock, moment: str) -> None:
    emulator = start_emulator({"passive_ports": 1, "hold": {"for": "2s"}}, FILES, clock=clock)
    with login(emulator) as ftp:
        retrieve(ftp)
        clock.now_ns += HELD - (moment == "before")
        if moment == "before":
            with pytest.raises(ftplib.error_temp, match="425"):
                ftp.sendcmd("EPSV")
        else:
            retrieve(ftp)


@pytest.mark.parametrize(
    ("after", "transfer", "state"),
    [
        ("server-close", retrieve, "held"),
        ("server-close", store, "free"),
        ("any-close", retrieve, "held"),
        ("any-close", store, "held"),
        ("none", retrieve, "free"),
        ("none", store, "free"),
    ],
)
def test_the_hold_rule_asks_who_closed_first(
    start_emulator: Callable[..., Any],
    clock: HandClock,
    after: str,
    transfer: Callable[[ftplib.FTP], None],
    state: str,
) -> None:
    emulator = start_emulator({"passive_ports": 1, "hold": {"for": "2s", "after": after}}, FILES, clock=clock)
    with login(emulator) as ftp:
        transfer(ftp)
        assert states(emulator) == {state: 1}


@pytest.mark.parametrize("goodbye", ["fin", "rst"])
def test_a_download_that_the_client_breaks_off_counts_as_closed_by_the_client(
    start_emulator: Callable[..., Any], clock: HandClock, goodbye: str
) -> None:
    section = {"passive_ports": 1, "hold": {"for": "2s", "after": "server-close"}}
    emulator = start_emulator(section, FILES, clock=clock)
    with login(emulator) as ftp:
        with ftp.transfercmd("RETR big.bin") as data:
            data.recv(1000)
            assert states(emulator) == {"in-use": 1}
            if goodbye == "rst":
                data.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        with pytest.raises(ftplib.error_temp, match="426"):
            ftp.voidresp()
        assert states(emulator) == {"free": 1}
        assert ftp.voidcmd("NOOP").startswith("200")
    counts = emulator.ask(lambda server: server.counts)
    assert (counts.transfers_completed, counts.transfers_failed) == (0, 1)
    assert 1000 <= counts.bytes_sent < FILES["big.bin"]


def test_an_upload_that_the_client_resets_fails(start_emulator: Callable[..., Any]) -> None:
    emulator = start_emulator({"passive_ports": 1}, FILES)
    with login(emulator) as ftp:
        with ftp.transfercmd("STOR up.bin") as data:
            data.sendall(b"x" * 1000)
            emulator.wait_until(lambda server: server.counts.bytes_received == 1000)
            data.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        with pytest.raises(ftplib.error_temp, match="426"):
            ftp.voidresp()
    assert emulator.ask(lambda server: server.counts.transfers_failed) == 1


def test_a_port_that_nobody_connects_to_returns_without_a_hold(
    start_emulator: Callable[..., Any], clock: HandClock
) -> None:
    section = {"passive_ports": 1, "hold": {"for": "2s"}}
    emulator = start_emulator(section, FILES, clock=clock, data_wait_ns=5_000_000_000)
    with login(emulator) as ftp:
        for _ in range(3):
            assert ftp.sendcmd("PASV").startswith("227")  # asking again returns the old one first
            assert states(emulator) == {"listening": 1}
        clock.now_ns += 5_000_000_000 - 1
        assert states(emulator) == {"listening": 1}
        clock.now_ns += 1
        emulator.wait_until(lambda server: server.pool.counts(server.clock())[PoolState.FREE] == 1)
        assert ftp.sendcmd("EPSV").startswith("229")
        ftp.quit()
    emulator.wait_until(lambda server: server.pool.counts(server.clock())[PoolState.FREE] == 1)
    assert emulator.ask(lambda server: server.counts.data_accepted) == 0


def test_a_transfer_without_its_data_connection_ends_with_425(
    start_emulator: Callable[..., Any], clock: HandClock
) -> None:
    emulator = start_emulator({"passive_ports": 1}, FILES, clock=clock, data_wait_ns=5_000_000_000)
    with login(emulator) as ftp:
        ftp.sendcmd("PASV")
        assert ftp.sendcmd("RETR small.bin").startswith("150")
        clock.now_ns += 5_000_000_000
        with pytest.raises(ftplib.error_temp, match="425 Can't open data connection"):
            ftp.voidresp()
        retrieve(ftp)
    assert emulator.ask(lambda server: server.counts.transfers_failed) == 1


@pytest.mark.parametrize("connected", [False, True])
def test_a_lost_control_connection_returns_its_passive_port(
    start_emulator: Callable[..., Any], clock: HandClock, connected: bool
) -> None:
    section = {"passive_ports": 1, "hold": {"for": "2s"}}
    emulator = start_emulator(section, FILES, clock=clock)
    with contextlib.ExitStack() as data, login(emulator) as ftp:
        if connected:
            data.enter_context(ftp.transfercmd("RETR big.bin"))
        else:
            ftp.sendcmd("PASV")
        assert ftp.sock is not None
        ftp.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        ftp.close()
        emulator.wait_until(lambda server: server.sessions == 0)
        wanted = PoolState.HELD if connected else PoolState.FREE
        emulator.wait_until(lambda server: server.pool.counts(server.clock())[wanted] == 1)
    assert emulator.ask(lambda server: server.counts.transfers_failed) == connected


def test_a_pool_port_that_somebody_else_listens_on_is_passed_over(start_emulator: Callable[..., Any]) -> None:
    emulator = start_emulator({"passive_ports": 2}, FILES)
    squatted = emulator.passive_ports[0]
    with socket.create_server((emulator.host, squatted)), login(emulator) as ftp:
        retrieve(ftp)
        retrieve(ftp)
        squat = socket.create_server((emulator.host, emulator.passive_ports[1]))
        with squat, pytest.raises(ftplib.error_temp, match="425 Can't open passive connection: Address already in use"):
            ftp.sendcmd("PASV")
        retrieve(ftp)


# --- the connection cap -----------------------------------------------------------------------------------------------


def greeting(emulator: Any) -> bytes:
    with socket.create_connection((emulator.host, emulator.port), timeout=30) as sock:
        return sock.recv(1000)


@pytest.mark.parametrize("answer", ["421", "eof", "reset"])
def test_a_connection_beyond_the_cap_is_turned_away(start_emulator: Callable[..., Any], answer: str) -> None:
    emulator = start_emulator({"max_connections": {"count": 2, "answer": answer, "text": "Come back later"}}, FILES)
    with login(emulator), login(emulator) as second:
        for _ in range(3):
            if answer == "reset":
                with pytest.raises(ConnectionResetError):
                    greeting(emulator)
            else:
                assert greeting(emulator) == (b"421 Come back later\r\n" if answer == "421" else b"")
        second.quit()
        assert greeting(emulator).startswith(b"220")
    counts = emulator.ask(lambda server: server.counts)
    assert (counts.accepted, counts.refused_connections) == (6, 3)


def test_who_has_read_221_finds_a_place_under_the_cap(start_emulator: Callable[..., Any]) -> None:
    emulator = start_emulator({"max_connections": {"count": 1}}, FILES)
    for _ in range(100):
        with login(emulator) as ftp:
            ftp.quit()
    assert emulator.ask(lambda server: server.counts.refused_connections) == 0


# --- accepting --------------------------------------------------------------------------------------------------------


def test_a_slow_accept_leaves_connections_in_the_kernels_queue_up_to_backlog_plus_one(
    start_emulator: Callable[..., Any], require: Callable[..., None]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        require("tcp-info", accept_queue(probe) is not None, "this kernel does not tell the accept queue")
    emulator = start_emulator({"backlog": 3, "accept_rate": "1/h"}, FILES)
    with contextlib.ExitStack() as clients:
        for _ in range(20):
            sock = clients.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex((emulator.host, emulator.port))
        emulator.wait_until(lambda server: server.accept_queue == 4)
        assert emulator.ask(lambda server: server.counts.accepted) == 1
        assert emulator.ask(lambda server: server.accept_queue) == 4


def test_the_accept_rate_is_never_exceeded_and_nobody_is_lost(start_emulator: Callable[..., Any]) -> None:
    emulator = start_emulator({"accept_rate": "50/s"}, FILES)
    start = time.perf_counter()
    socks = [socket.create_connection((emulator.host, emulator.port), timeout=30) for _ in range(20)]
    for sock in socks:
        with sock:
            assert sock.recv(1000).startswith(b"220")
    assert time.perf_counter() - start >= 19 / 50 - 0.005


# --- nothing is left --------------------------------------------------------------------------------------------------


def opened() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count, no paths


def test_no_descriptor_is_left_when_sessions_end_in_any_way(start_emulator: Callable[..., Any]) -> None:
    emulator = start_emulator({"passive_ports": 10, "max_connections": {"count": 50}}, FILES)
    with login(emulator) as ftp:
        retrieve(ftp)
    emulator.wait_until(lambda server: server.sessions == 0)
    before = opened()
    for round_ in range(20):
        with contextlib.ExitStack() as data, login(emulator) as ftp:
            store(ftp)
            if round_ % 4 == 0:
                ftp.sendcmd("PASV")
            if round_ % 4 == 1:
                data.enter_context(ftp.transfercmd("RETR big.bin"))
                ftp.close()  # control is gone while the transfer goes on
            if round_ % 4 == 2:
                ftp.quit()
    emulator.wait_until(lambda server: server.sessions == 0 and server.transfers == 0)
    emulator.wait_until(lambda server: opened() == before)
    emulator.wait_until(lambda server: server.pool.counts(server.clock())[PoolState.FREE] == 10)


def test_stopping_ends_sessions_and_transfers_and_frees_every_port(start_emulator: Callable[..., Any]) -> None:
    emulator = start_emulator({"passive_ports": 10}, FILES)
    with contextlib.ExitStack() as clients:
        for _ in range(3):
            ftp = clients.enter_context(login(emulator))
            clients.enter_context(ftp.transfercmd("RETR big.bin"))
            clients.enter_context(login(emulator)).sendcmd("PASV")
        assert states(emulator) == {"free": 4, "listening": 3, "in-use": 3}
        emulator.stop()  # fails if a task is left on the loop
        for port in (emulator.port, *emulator.passive_ports):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((emulator.host, port), timeout=5)


@pytest.mark.parametrize("loop_factory", [new_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def test_stopping_amid_a_burst_of_connections_leaves_nothing(
    start_emulator: Callable[..., Any], loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    before = opened()
    for wanted in (1, 30, 100):
        emulator = start_emulator({"passive_ports": 10}, FILES, loop_factory=loop_factory)
        with contextlib.ExitStack() as clients:
            for _ in range(100):
                clients.enter_context(socket.create_connection((emulator.host, emulator.port), timeout=30))
            emulator.wait_until(lambda server, wanted=wanted: server.counts.accepted >= wanted)
            emulator.stop()
    assert opened() == before


def test_client_resets_reach_neither_stderr_nor_the_test(
    start_emulator: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    emulator = start_emulator({"passive_ports": 10}, FILES)
    for _ in range(10):
        with login(emulator) as ftp:
            with ftp.transfercmd("RETR big.bin") as data:
                data.recv(10)
                data.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            assert ftp.sock is not None
            ftp.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            ftp.close()
    emulator.wait_until(lambda server: server.sessions == 0)
    assert emulator.ask(lambda server: server.counts.transfers_failed) == 10
    assert capfd.readouterr() == ("", "")


def test_a_delay_is_that_of_the_greeting_and_of_each_answer(start_emulator: Callable[..., Any]) -> None:
    emulator = start_emulator({"delay": "150ms"}, FILES)
    began = time.monotonic()
    with socket.create_connection((emulator.host, emulator.port), timeout=30) as sock, sock.makefile("rb") as replies:
        assert replies.readline().startswith(b"220")
        greeted = time.monotonic()
        sock.sendall(b"NOOP\r\nNOOP\r\n")
        assert replies.readline().startswith(b"200")
        assert replies.readline().startswith(b"200")
        answered = time.monotonic()
    assert greeted - began >= 0.15
    assert answered - greeted >= 0.3  # each waits for its own, one after the other
