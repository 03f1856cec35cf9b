"""Control and data connections, one event at a time."""

from __future__ import annotations

import select
import socket
import struct
from _socket import socket as Socket  # noqa: N812
from collections.abc import Iterator
from typing import Any

import pytest

from ftpstorm.engine.control import Control
from ftpstorm.engine.data import CHUNK_BYTES, RECEIVE_BUFFER, TURN_CHUNKS, Data
from ftpstorm.engine.reactor import READABLE, WRITABLE


class Reactor:
    """Notes what it is asked for."""

    def __init__(self) -> None:
        self.rearmed = 0

    def watch(self, sock: Any, watcher: Any) -> None: ...

    def rearm(self, sock: Any) -> None:
        self.rearmed += 1

    def clock(self) -> int:
        return 7


class Nobody:
    def wake_control(self, now: int) -> None: ...


class Endless:
    """A socket that always has more."""

    def __init__(self) -> None:
        self.reads = 0

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", 1

    def recv_into(self, buffer: memoryview, size: int, flags: int) -> int:
        self.reads += 1
        return size


@pytest.fixture
def pair() -> Iterator[tuple[Socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = Socket(socket.AF_INET, socket.SOCK_STREAM)
        ours.connect(listener.getsockname())
        theirs, _ = listener.accept()
    ours.setblocking(False)
    with theirs:
        yield ours, theirs
    ours.close()


def test_a_send_that_meets_a_reset_keeps_its_errno_and_what_was_said_before(
    pair: tuple[Socket, socket.socket],
) -> None:
    ours, theirs = pair
    control = Control(Reactor(), ours, Nobody())  # type: ignore[arg-type]
    control.on_event(WRITABLE, 1)
    theirs.sendall(b"421 going down\r\n")
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    watch = select.poll()
    watch.register(ours.fileno(), 0)
    assert watch.poll(20_000), "the reset has come"
    assert not control.send(b"NOOP\r\n")
    assert control.ended
    assert control.errno == 104
    assert [reply.code for reply in control.replies] == [421]


def test_a_half_closed_connection_that_never_runs_dry_gives_others_their_turn() -> None:
    reactor, sock = Reactor(), Endless()
    data = Data(reactor, sock, lambda now: None)  # type: ignore[arg-type]
    data.connected = True
    data.on_drain(READABLE, 1)
    assert sock.reads == TURN_CHUNKS
    assert reactor.rearmed == 1
    assert data.bytes == TURN_CHUNKS * CHUNK_BYTES
    assert not data.ended


class Seen:
    """Remembers what it is shown."""

    def __init__(self) -> None:
        self.seen = b""

    def feed(self, chunk: memoryview) -> None:
        self.seen += chunk


@pytest.mark.parametrize("check", [None, Seen()])
def test_a_download_is_copied_only_for_who_looks_at_it(pair: tuple[Socket, socket.socket], check: Seen | None) -> None:
    ours, theirs = pair
    data = Data(Reactor(), ours, lambda now: None, check=check)  # type: ignore[arg-type]
    data.on_event(WRITABLE, 1)
    RECEIVE_BUFFER[:6] = b"before"
    theirs.sendall(b"hidden")
    theirs.shutdown(socket.SHUT_WR)
    watch = select.poll()
    watch.register(ours.fileno(), select.POLLRDHUP)
    assert watch.poll(20_000), "all has come"
    data.on_event(READABLE, 2)
    assert data.ended
    assert data.bytes == 6
    assert bytes(RECEIVE_BUFFER[:6]) == (b"before" if check is None else b"hidden")
    assert check is None or check.seen == b"hidden"
