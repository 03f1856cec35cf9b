"""One control connection: connect, commands out, replies in. Wakes its session; knows nothing of flows or records."""

from __future__ import annotations

from _socket import socket as Socket  # noqa: N812 - see reactor.py
from collections.abc import Callable
from typing import Final

from ftpstorm.engine.reactor import BROKEN, PEER_CLOSED, READABLE, WRITABLE, Reactor
from ftpstorm.engine.sockets import acknowledge_now, local_port, pending_error
from ftpstorm.ftp.replies import ProtocolViolationError, Reply, ReplyParser

READ_BYTES: Final = 4_096
"""One read of a control connection. Replies are smaller; a longer banner takes another read."""

REPLIES_MAX: Final = 64
"""Replies waiting unread. A server that talks without being asked must not fill memory."""

Wake = Callable[[int], None]
"""Called with the event's stamp when something happened that a session may wait for."""


class Control:
    """State of one control connection. `ended` is final: nothing more can be read."""

    __slots__ = (
        "_parser",
        "_reactor",
        "_sock",
        "connected",
        "ended",
        "errno",
        "fd",
        "garbage",
        "local_port",
        "replies",
        "wake",
    )

    def __init__(self, reactor: Reactor, sock: Socket, wake: Wake) -> None:
        self._reactor = reactor
        self._sock: Socket | None = sock
        self._parser = ReplyParser()
        self.fd = sock.fileno()
        self.local_port = local_port(sock)
        self.wake = wake
        self.connected = False
        self.ended = False
        self.errno = 0
        """What ended the connection; 0 after `ended` means the server's FIN."""
        self.garbage: bytes | None = None
        """Start of what the server sent that is no reply."""
        self.replies: list[Reply] = []
        reactor.watch(self.fd, self.on_event)

    @property
    def open(self) -> bool:
        """Whether commands can be sent as far as this side knows."""
        return self.connected and not self.ended

    def on_event(self, events: int, now: int) -> None:
        """Take one event of the reactor."""
        if not self.connected:
            if events & BROKEN and (number := pending_error(self._live())):
                self._end(number)
                self.wake(now)
                return
            if not events & WRITABLE:
                return
            self.connected = True
            if not events & READABLE:
                self.wake(now)
                return
        elif not events & READABLE:
            return
        self._read(events)
        self.wake(now)

    def _read(self, events: int) -> None:
        sock = self._live()
        while not self.ended:
            try:
                data = sock.recv(READ_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                self._end(error.errno or 0)
                return
            if data:
                try:
                    self.replies += self._parser.feed(data)
                except ProtocolViolationError as violation:
                    self.garbage = violation.seen
                    self._end(0)
                    return
                if len(self.replies) > REPLIES_MAX:
                    self.garbage = self.replies[-1].raw[:200]
                    self._end(0)
                    return
            if not data or (len(data) < READ_BYTES and events & PEER_CLOSED):
                self._end(pending_error(sock) if events & BROKEN else 0)
            elif len(data) < READ_BYTES:
                return

    def send(self, command: bytes) -> bool:
        """Send one command; False when the connection is broken (`errno` says how).

        Commands are far smaller than a send buffer: one that does not go out whole means a server that stopped reading.
        """
        if self.ended:
            return False
        try:
            if self._live().send(command) == len(command):
                return True
            self._end(0)
        except OSError as error:
            # A reset that the peer sent earlier shows here first; its last words may still wait to be read.
            self._read(READABLE)
            self._end(error.errno or 0)
        return False

    def acknowledge(self) -> None:
        """Acknowledge what was read, at once: called when the session goes on waiting without sending anything."""
        if not self.ended:
            acknowledge_now(self._live())

    def _end(self, number: int) -> None:
        if not self.ended:
            self.ended = True
            self.errno = number

    def _live(self) -> Socket:
        assert self._sock is not None, "used after close"
        return self._sock

    def close(self) -> None:
        """Give the socket to the reactor to close; closing twice is allowed."""
        if self._sock is not None:
            self._reactor.close_later(self._sock, self.fd)
            self._sock = None
            self.ended = True
