"""What happened before the engine looked: one event tells of a connection that came, spoke and was reset."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ftpstorm.engine.session
import ftpstorm.engine.transfers
from ftpstorm.engine import sockets
from support.engine_run import FAST, make_scenario, run_engine
from support.scripted_server import Peer, scripted_server

PATIENT_S = 30
Connect = Callable[..., int]


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@contextlib.contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Accept one connection on a thread of its own, so that it is answered while the engine stands still."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENT_S)

        def serve() -> None:
            connection, _ = listener.accept()
            answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(PATIENT_S)


def stand_still_until_reset(monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
    """Have `module` return from a connect only when the connection has been reset."""

    def connect_from(sock: Any, source: sockets.Source, endpoint: tuple[str, int]) -> int:
        number = sockets.connect_from(sock, source, endpoint)
        watch = select.poll()
        watch.register(sock.fileno(), select.POLLIN)
        while not any(events & select.POLLHUP for _, events in watch.poll(PATIENT_S * 1000)):
            pass
        return number

    monkeypatch.setattr(module, "connect_from", connect_from)


@pytest.mark.parametrize("fin_first", [False, True])
@pytest.mark.parametrize(
    ("said", "word", "code"),
    [(b"421 Too many connections\r\n", "busy-at-greeting", 421), (b"", "greeting-reset", 0)],
    ids=["421", "nothing"],
)
async def test_what_a_server_said_before_its_reset_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes, word: str, code: int, fin_first: bool
) -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(said)
        if fin_first:
            connection.shutdown(socket.SHUT_WR)
        reset(connection)

    stand_still_until_reset(monkeypatch, ftpstorm.engine.session)
    with answering(answer) as port:
        run = await run_engine(make_scenario(port, ["login"]), tmp_path)
    (session,) = run.sessions
    assert (session["class"], session["code"]) == (word, code)
    assert session["connected_ns"] >= session["start_ns"], "the handshake was complete"
    assert bool(session["errno"]) == (not said)


async def test_bytes_that_came_before_a_data_connection_was_reset_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(b"x" * 1000)
        reset(connection)

    with answering(answer) as data_port:

        async def script(peer: Peer) -> None:
            await peer.login()
            await peer.expect("EPSV")
            await peer.send(f"229 ok (|||{data_port}|)")
            await peer.expect("RETR")
            await peer.send("150 here it comes", "426 gone")
            await peer.quit()

        stand_still_until_reset(monkeypatch, ftpstorm.engine.transfers)
        async with scripted_server(script) as port:
            run = await run_engine(make_scenario(port, ["login", {"retr": "f"}, "quit"]), tmp_path)
    assert run.classes() == ["none", "transfer-aborted", "none"]
    retr = run.operations[1]
    assert (retr["bytes"], retr["errno"]) == (1000, 104)
    assert retr["data_connected_ns"] >= retr["passive_ns"]


async def test_a_timer_of_an_abort_that_was_refused_cuts_no_pause(tmp_path: Path) -> None:
    tries: list[float] = []

    async def script(peer: Peer) -> None:
        await peer.login()
        for _ in range(2):
            await peer.passive()
            await peer.expect("RETR")
            tries.append(asyncio.get_running_loop().time())
            data = await peer.accept()
            await peer.send("450 busy")
            data.close()
        await peer.quit()

    steps = ["login", {"abort": {"retr": "f", "after": "100ms"}}, "quit"]
    retry = {"retry": {"times": 1, "on": [450], "wait": "600ms"}}
    async with scripted_server(script) as port:
        run = await run_engine(make_scenario(port, steps, on_failure=retry), tmp_path)
    assert run.classes() == ["none", "file-error", "file-error", "none"]
    assert tries[1] - tries[0] >= 0.6


async def test_data_that_trickles_on_does_not_stretch_the_deadline_of_abor(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.passive()
        await peer.expect("RETR")
        data = await peer.accept()
        await peer.send("150 go")
        with data, contextlib.suppress(OSError):
            while True:
                await asyncio.get_running_loop().sock_sendall(data, b"x" * 1000)
                await asyncio.sleep(0.05)

    timeouts = FAST | {"reply": "300ms", "data": "60s"}
    steps = ["login", {"abort": {"retr": "f", "after": "1000B"}}]
    async with scripted_server(script) as port, asyncio.timeout(PATIENT_S):
        run = await run_engine(make_scenario(port, steps, client={"timeouts": timeouts}), tmp_path)
    assert run.classes() == ["none", "final-reply-timeout"]
    assert run.counts.interrupted == 0


async def test_last_words_without_a_line_end_are_heard(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.send(b"421 Too many connections")

    async with scripted_server(script) as port:
        run = await run_engine(make_scenario(port, ["login"]), tmp_path)
    assert (run.sessions[0]["class"], run.sessions[0]["code"]) == ("busy-at-greeting", 421)


async def test_a_reply_counts_even_if_garbage_follows_it(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.passive()
        await peer.expect("RETR")
        data = await peer.accept()
        await peer.send("150 go")
        data.close()
        await peer.send(b"226 done\r\nrubbish\r\n")
        await peer.command()

    async with scripted_server(script) as port:
        run = await run_engine(make_scenario(port, ["login", {"retr": "f"}, "quit"]), tmp_path)
    assert run.classes() == ["none", "none", "protocol-error"]
