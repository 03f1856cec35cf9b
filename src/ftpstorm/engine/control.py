"""One control connection: connect, commands out, replies in. Wakes its session; knows nothing of flows or records.

With TLS what goes out and comes in passes a `TlsStream`; its slot is None for plain text.
"""

from __future__ import annotations

import contextlib
import socket
from _socket import socket as Socket  # noqa: N812 - see reactor.py
from collections.abc import Callable
from typing import Final, Protocol

from ftpstorm.engine.reactor import BROKEN, ONLY_READABLE, PEER_CLOSED, READABLE, WRITABLE, Reactor
from ftpstorm.engine.sockets import (
    AFTER_HANDSHAKE,
    acknowledge_now,
    local_port,
    pending_error,
    reset_on_close,
    unacknowledged,
)
from ftpstorm.engine.tls import TlsStream
from ftpstorm.ftp.replies import ProtocolViolationError, Reply, ReplyParser, parse_whole, remembered

READ_BYTES: Final = 448
"""One read of a control connection. Replies are smaller; a longer banner takes another read."""

REPLIES_MAX: Final = 64
"""Replies waiting unread. A server that talks without being asked must not fill memory."""

IP_IAC: Final = b"\xff\xf4\xff"
"""Telnet IAC IP, and the IAC of the data mark."""
DATA_MARK: Final = b"\xf2"

Wake = Callable[[int], None]
"""Called with the event's stamp when something happened that a session may wait for."""


class Owner(Protocol):
    """Whose control connection it is. The object, not its bound method: there is one for each session held."""

    def wake_control(self, now: int) -> None: ...


class Control:
    """State of one control connection. `ended` is final: nothing more can be read."""

    __slots__ = (
        "_closed",
        "_parser",
        "_reactor",
        "connected",
        "ended",
        "errno",
        "garbage",
        "local_port",
        "owner",
        "replies",
        "sock",
        "steady",
        "tls",
        "torn",
    )

    def __init__(self, reactor: Reactor, sock: Socket, owner: Owner) -> None:
        self._reactor = reactor
        self.sock = sock
        self._parser: ReplyParser | None = None  # there while half a reply has been read
        self._closed = False
        self.local_port = local_port(sock)
        self.owner = owner
        self.connected = False
        self.ended = False
        self.steady = False
        """Connected, in plain text, no half reply read, not ended: nothing but whole commands and replies."""
        self.errno = 0
        """What ended the connection; 0 after `ended` means the server's FIN."""
        self.garbage: bytes | None = None
        """Start of what the server sent that is no reply."""
        self.torn = False
        """The last reply has no line end: the end of the connection cut it off, or its server sends none."""
        self.replies: list[Reply] = []
        self.tls: TlsStream | None = None
        """Set by `start_tls`; says itself whether its handshake is done, and what went wrong."""
        reactor.watch(sock, self)

    @property
    def open(self) -> bool:
        """Whether commands can be sent as far as this side knows."""
        return self.connected and not self.ended

    @property
    def peer_closed(self) -> bool:
        """Whether the server's FIN or reset has come; under TLS its close_notify alone is only the promise of one."""
        return self.ended and (self.tls is None or self.tls.fin_seen or not self.tls.closed)

    @property
    def local_address(self) -> str:
        """Local address of the connection. Raises OSError."""
        return str(self.sock.getsockname()[0])

    def on_event(self, events: int, now: int) -> None:
        """Take one event of the reactor."""
        if events == ONLY_READABLE and self.steady:  # what nearly every event is, and it brings whole replies
            try:
                data = self.sock.recv(READ_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                self._end(error.errno or 0)
            else:
                replies = remembered(data)
                if replies is not None and not self.replies:
                    self.replies += replies
                else:
                    self._take(data)
                    if len(data) == READ_BYTES:
                        self._read(events)
        elif not self.connected:
            if not self._on_connect(events, now):
                return
            self._read(events)
        elif not events & READABLE:
            return
        else:
            if self.tls is not None and events & PEER_CLOSED:
                self.tls.fin_seen = True
            self._read(events)
        self.owner.wake_control(now)

    def _on_connect(self, events: int, now: int) -> bool:
        """Take an event of the connect; tell whether there is something to read already."""
        if events & BROKEN and (number := pending_error(self.sock)):
            if number not in AFTER_HANDSHAKE:
                self._end(number)
                self.owner.wake_control(now)
                return False
            self.errno = number  # how it ends; what the server said before that waits to be read
        elif not events & WRITABLE:
            return False
        self.connected = self.steady = True
        if events & READABLE:
            return True
        self.owner.wake_control(now)
        return False

    def _read(self, events: int) -> None:
        """Read all there is."""
        sock = self.sock
        while not self.ended:
            try:
                data = sock.recv(READ_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                self._end(error.errno or 0)
                return
            if data:
                self._take(data if self.tls is None else self._decrypt(data))
            if not self.ended and (not data or (len(data) < READ_BYTES and events & PEER_CLOSED)):
                if self._parser is not None:
                    last = self._parser.feed_end()
                    self.torn = bool(last)
                    self.replies += last
                self._end(pending_error(sock) if events & BROKEN else 0)
            elif len(data) < READ_BYTES:
                return

    def _take(self, data: bytes) -> None:
        """Take what was read, plain; nothing read is the peer's FIN."""
        if not data:
            if self.tls is None:
                self._end(0)
            return
        parser = self._parser
        if parser is None:
            replies = parse_whole(data) if len(data) <= READ_BYTES else None
            if replies is not None and len(self.replies) + len(replies) <= REPLIES_MAX:
                self.replies += replies
                return
            parser = ReplyParser()
        try:
            self.replies += parser.feed(data)
        except ProtocolViolationError as violation:
            self.replies += violation.replies
            self.garbage = violation.seen
            self._end(0)
            return
        self._parser = None if parser.idle else parser
        self.steady = parser.idle and self.tls is None
        if len(self.replies) > REPLIES_MAX:
            self.garbage = self.replies[-1].raw[:200]
            self._end(0)

    def send(self, command: bytes) -> bool:
        """Send one command; False when the connection is broken (`errno` says how).

        Commands are far smaller than a send buffer: one that does not go out whole means a server that stopped reading.
        """
        if self.ended or (self.tls is not None and not (command := self._encrypt(command))):
            return False
        try:
            if self.sock.send(command) == len(command):
                return True
            self.give_up_sending(None)
        except OSError as error:
            self.give_up_sending(error)
        return False

    def give_up_sending(self, error: OSError | None) -> None:
        """End: a command did not go out whole, or `error` says why none does.

        A reset that the peer sent earlier shows in a send first; its last words may still wait to be read.
        """
        if error is not None:
            self.errno = error.errno or 0
            self._read(READABLE)
        self._end(0)

    def start_tls(self, stream: TlsStream) -> None:
        """Begin the handshake; wakes when it is done (`stream.established`) or the connection has ended.

        What the server sent before it cannot be trusted to be the server's (RFC 3207 section 4.2): it fails the stream.
        """
        self.tls = stream
        self.steady = False
        if self.replies or self._parser is not None:
            stream.failure = "the server sent plain text after it agreed to TLS"
            self._end(0)
            return
        stream.begin()
        self._send_ciphertext(stream.outgoing())

    def _decrypt(self, data: bytes) -> bytes:
        """Return the plain text that `data` completes; what TLS itself has to answer is sent at once."""
        stream = self.tls
        assert stream is not None
        plain = stream.receive(data)
        self._send_ciphertext(stream.outgoing())
        if stream.closed or (stream.failure is not None and not stream.unfinished):
            self._end(0)
        return plain

    def _encrypt(self, command: bytes) -> bytes:
        assert self.tls is not None
        ciphertext = self.tls.encrypt(command)
        if not ciphertext:
            self._end(0)
        return ciphertext

    def _send_ciphertext(self, ciphertext: bytes) -> None:
        if ciphertext and not self.ended:
            try:
                if self.sock.send(ciphertext) != len(ciphertext):
                    self._end(0)
            except OSError as error:
                self._end(error.errno or 0)

    def interrupt(self, command: bytes) -> bool:
        """Send `command` behind the Telnet signals IP and Synch (RFC 959 section 4.1.3, RFC 854); False as in `send`.

        The urgent byte is IAC, and the data mark follows in the stream, as in the first FTP clients: a server that
        leaves urgent data out of line, and one that reads it in line, both find IP and the command whole.
        """
        if self.tls is None and not self.ended:
            try:
                self.sock.send(IP_IAC, socket.MSG_OOB)
                command = DATA_MARK + command
            except OSError as error:
                self.give_up_sending(error)
        return self.send(command)

    @property
    def unacknowledged(self) -> int:
        """Bytes sent that the peer has not acknowledged, 0 once closed."""
        return 0 if self._closed else unacknowledged(self.sock)

    def acknowledge(self) -> None:
        """Acknowledge what was read, at once: called when the session goes on waiting without sending anything."""
        if not self.ended:
            acknowledge_now(self.sock)

    def _end(self, number: int) -> None:
        if not self.ended:
            self.ended = True
            self.steady = False
            self.errno = number or self.errno

    def answer_close_notify(self) -> None:
        """Say close_notify too, on a connection that the server's has ended."""
        assert self.tls is not None
        with contextlib.suppress(OSError):  # reset meanwhile: nobody waits for it any more
            self.sock.send(self.tls.close_notify())

    def half_close(self) -> None:
        """Send FIN and go on reading, until the server closes as well."""
        if not self.ended:
            with contextlib.suppress(OSError):  # reset meanwhile: the event tells
                self.sock.shutdown(socket.SHUT_WR)

    def close(self, *, reset: bool = False) -> None:
        """Give the socket to the reactor to close, with RST when asked; closing twice is allowed."""
        if not self._closed:
            if reset:
                reset_on_close(self.sock)
            if self.tls is not None:
                self._send_ciphertext(self.tls.close_notify())
            self._reactor.close_later(self.sock)
            self._closed = True
            self.ended = True
            self.steady = False
