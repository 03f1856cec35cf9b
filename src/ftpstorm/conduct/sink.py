"""A server with next to nothing in it, to measure the load generator against: ``python -m ftpstorm.conduct.sink``.

It answers what a download needs (USER, PASS, TYPE, EPSV, PASV, RETR, QUIT, NOOP) in one thread on one epoll, far faster
than the emulator. It checks nothing, knows one file of 1 KiB under any name, and listens on 127.0.0.1 alone. A server
under test is what the emulator is for.

It prints one line of JSON, ``{"port": ...}``, serves until its stdin is at its end, and prints what it counted.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import socket
import sys
from collections.abc import Callable
from typing import Final

from ftpstorm.ftp.endpoints import format_port

ADDRESS: Final = "127.0.0.1"
PAYLOAD: Final = bytes(range(256)) * 4
"""What every file holds."""
PASSIVE_FIRST: Final = 2200
PASSIVE_LAST: Final = 15_999
"""Passive ports lie below the ephemeral range that calibration sets: listeners and connections never compete."""
BACKLOG: Final = 4096
EVENTS_MAX: Final = 256
COMMAND_MAX_BYTES: Final = 4096

_GREETING: Final = b"220 sink\r\n"
_ANSWERS: Final = {
    b"USER": b"331 any password\r\n",
    b"PASS": b"230 in\r\n",
    b"TYPE": b"200 ok\r\n",
    b"NOOP": b"200 ok\r\n",
}


class _Passive:
    """A passive port and its listener; a session borrows one for its life."""

    __slots__ = ("epsv", "listener", "pasv")

    def __init__(self, port: int) -> None:
        self.listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listener.bind((ADDRESS, port))
            self.listener.listen(4)
        except OSError:
            self.listener.close()
            raise
        self.epsv = b"229 entering (|||%d|)\r\n" % port
        self.pasv = f"227 entering ({format_port(ADDRESS, port)})\r\n".encode()


class Sink:
    """The server. `run` serves until the descriptor it is given becomes readable."""

    def __init__(self) -> None:
        self._control = socket.create_server((ADDRESS, 0), backlog=BACKLOG)
        self._control.setblocking(False)
        self.port: int = self._control.getsockname()[1]
        self.counts = {"sessions": 0, "transfers": 0}
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {self._control.fileno(): self._accept}
        self._epoll.register(self._control, select.EPOLLIN)
        self._next_port = PASSIVE_FIRST
        self._free: list[_Passive] = []

    def run(self, until: int) -> None:
        """Serve until descriptor `until` is readable or at its end."""
        self._epoll.register(until, select.EPOLLIN)
        handlers = self._handlers
        while True:
            for fd, _ in self._epoll.poll(-1, EVENTS_MAX):
                if fd == until:
                    return
                handler = handlers.get(fd)
                if handler is not None:
                    handler()

    def watch(self, sock: socket.socket, handler: Callable[[], None]) -> None:
        """Call `handler` whenever `sock` is readable."""
        self._handlers[sock.fileno()] = handler
        self._epoll.register(sock, select.EPOLLIN)

    def forget(self, sock: socket.socket) -> None:
        """Stop watching `sock`; it stays open."""
        if self._handlers.pop(sock.fileno(), None) is not None:
            self._epoll.unregister(sock)

    def borrow(self) -> _Passive:
        """Return a passive port that no other session has. Raises OSError when all are taken."""
        if self._free:
            return self._free.pop()
        while self._next_port <= PASSIVE_LAST:
            port, self._next_port = self._next_port, self._next_port + 1
            with contextlib.suppress(OSError):  # somebody else's: the next one will do
                return _Passive(port)
        raise OSError(errno.EADDRINUSE, "no passive port is free")

    def give_back(self, passive: _Passive) -> None:
        """Take a passive port back whose last connection was accepted."""
        self._free.append(passive)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._control.accept()
            except BlockingIOError:
                return
            sock.setblocking(False)
            self.counts["sessions"] += 1
            _Session(self, sock)


class _Session:
    """One control connection. Errors of the peer end the session, never the sink."""

    __slots__ = ("_asked", "_passive", "_sink", "_sock")

    def __init__(self, sink: Sink, sock: socket.socket) -> None:
        self._sink = sink
        self._sock = sock
        self._passive: _Passive | None = None
        self._asked = False
        sink.watch(sock, self._on_command)
        self._say(_GREETING)

    def _say(self, reply: bytes) -> None:
        with contextlib.suppress(ConnectionError, BlockingIOError):
            self._sock.send(reply)

    def _on_command(self) -> None:
        try:
            data = self._sock.recv(COMMAND_MAX_BYTES)
        except (ConnectionError, BlockingIOError):
            data = b""
        if not data:
            self._end()
            return
        for line in data.splitlines():  # a client of ours sends whole lines, one segment each
            verb = line[:4].upper()
            if verb == b"EPSV" or verb == b"PASV":
                self._offer(verb)
            elif verb == b"RETR":
                self._send_file()
            elif verb == b"QUIT":
                self._say(b"221 bye\r\n")
                self._end()
                return
            else:
                self._say(_ANSWERS.get(verb, b"502 not here\r\n"))

    def _offer(self, verb: bytes) -> None:
        passive = self._passive
        if passive is None:
            try:
                passive = self._passive = self._sink.borrow()
            except OSError:
                self._say(b"425 no passive port\r\n")
                return
        self._asked = True
        self._say(passive.epsv if verb == b"EPSV" else passive.pasv)

    def _send_file(self) -> None:
        passive = self._passive
        if passive is None or not self._asked:
            self._say(b"425 ask for EPSV or PASV first\r\n")
            return
        try:
            data, _ = passive.listener.accept()
        except BlockingIOError:  # the command overtook the connection
            self._sink.watch(passive.listener, self._on_data_connection)
            return
        self._asked = False
        try:
            data.send(PAYLOAD)  # an empty send buffer holds it whole
        except ConnectionError:
            self._say(b"426 gone\r\n")
        else:
            self._sink.counts["transfers"] += 1
            self._say(b"150 here it comes\r\n226 sent\r\n")
        finally:
            data.close()

    def _on_data_connection(self) -> None:
        assert self._passive is not None
        self._sink.forget(self._passive.listener)
        self._send_file()

    def _end(self) -> None:
        self._sink.forget(self._sock)
        self._sock.close()
        if self._passive is None:
            return
        if self._asked:  # a connection that nobody accepted may wait there: not for the next session
            self._sink.forget(self._passive.listener)
            self._passive.listener.close()
        else:
            self._sink.give_back(self._passive)
        self._passive = None


def main() -> None:
    """Serve until stdin is at its end."""
    sink = Sink()
    print(json.dumps({"port": sink.port}), flush=True)
    sink.run(sys.stdin.fileno())
    usage = os.times()
    print(json.dumps({**sink.counts, "cpu_s": usage.user + usage.system}), flush=True)


if __name__ == "__main__":
    main()
