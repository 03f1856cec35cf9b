"""One data connection under TLS (PROT P): `Data` with a `TlsStream` between payload and socket.

It counts and stamps payload, not ciphertext. The handshake begins when the server has announced the transfer (1xx):
that is when servers are ready for it. How it ends decides who keeps the TIME_WAIT and whether anything is lost:

- A download's end is the server's close_notify or, from servers that send none, its FIN. close_notify is answered, and
  then the server's FIN is waited for, so that the server is the one who closes first, as in plain text.
- An upload ends with our close_notify and FIN; the socket stays open until the server has closed as well or has
  confirmed: session tickets of TLS 1.3 that nobody read would turn our close into a reset, and that can cost the
  server the end of the upload.
"""

from __future__ import annotations

import contextlib
import socket
from _socket import socket as Socket  # noqa: N812 - see reactor.py
from errno import EPROTO
from typing import TYPE_CHECKING, Final

from ftpstorm.engine.control import Wake
from ftpstorm.engine.data import CHUNK_BYTES, PAYLOAD, RECEIVE_BUFFER, TURN_CHUNKS, Data
from ftpstorm.engine.journal import Counts
from ftpstorm.engine.reactor import PEER_CLOSED, READABLE, WRITABLE, Reactor
from ftpstorm.engine.tls import PLAIN_BUFFER, RECORD_BYTES, TlsStream
from ftpstorm.records.schema import ABSENT

if TYPE_CHECKING:
    from ftpstorm.engine.verification import Check

SECURE_CHUNK_BYTES: Final = 4 * RECORD_BYTES
"""One slice of an upload: its ciphertext is held until the kernel has taken it, so it bounds a connection's memory."""

CLOSE_GRACE_NS: Final = 1_000_000_000
"""How long after all is said the server may take to close first; then this side closes."""


class SecureData(Data):
    """State of one data connection under TLS. `errno` EPROTO means that `tls.failure` says what broke it."""

    __slots__ = ("_confirmed", "_counts", "_early", "_ending", "_fin_seen", "_in_flight", "_left", "complete", "tls")

    def __init__(
        self,
        reactor: Reactor,
        sock: Socket,
        wake: Wake,
        expected: int | None,
        check: Check | None,
        half: bool,
        *,
        counts: Counts,
    ) -> None:
        super().__init__(reactor, sock, wake, expected, check, half)
        self._counts = counts
        self._early = 0  # events that came before the handshake began
        self._left = memoryview(b"")  # ciphertext that the kernel has not taken
        self._in_flight = 0  # payload bytes that are in _left
        self._ending = False  # close_notify is on its way, or was not wanted
        self._fin_seen = False
        self._confirmed = False
        self.tls: TlsStream | None = None
        """None until the handshake begins."""
        self.complete = False
        """All payload has moved; what is left is to close."""

    @property
    def established(self) -> bool:
        """Whether the handshake is done."""
        return self.tls is not None and self.tls.established

    def begin(self, stream: TlsStream, now: int) -> None:
        """Begin the handshake."""
        self.tls = stream
        stream.begin()
        self._queue(stream.outgoing())
        self._flush(now)
        if self._early and not self.ended:
            self._receive(self._early, now)

    def confirm(self, now: int) -> None:
        """The server has confirmed the transfer: once all payload has moved there is nothing left to wait for."""
        self._confirmed = True
        if self.complete and not self.ended:
            self._end(0, now)

    def on_event(self, events: int, now: int) -> None:
        """Take one event of the reactor."""
        if self.tls is None:
            super().on_event(events, now)
            return
        if events & READABLE:
            self._receive(events, now)
        if events & WRITABLE and not self.ended and not self._closed:
            if self._ending:
                self._complete(now)
            else:
                self._pump(now)

    def _receive(self, events: int, now: int) -> None:
        if self.tls is None:
            self._early |= events
            return
        self._fin_seen = bool(events & PEER_CLOSED)
        sock = self._sock
        for _ in range(TURN_CHUNKS):
            try:
                size = sock.recv_into(RECEIVE_BUFFER)
            except BlockingIOError:
                return
            except OSError as error:
                self._break(error.errno or 0, now)
                return
            if size:
                self._take(RECEIVE_BUFFER[:size], now)
                if self.ended or self._closed:
                    return
            if size == 0 or (size < CHUNK_BYTES and events & PEER_CLOSED):
                self._take_fin(now)
                return
            if size < CHUNK_BYTES:
                return
            now = self._reactor.clock()
        self._reactor.rearm(self._sock)

    def _take(self, ciphertext: memoryview, now: int) -> None:
        tls = self.tls
        assert tls is not None
        shaking = not tls.established
        moved = 0
        if tls.feed(ciphertext):
            if shaking:
                self._counts.data_handshakes += 1
                self._counts.data_resumed += tls.resumed
            while size := tls.read_into(PLAIN_BUFFER):
                moved += size
                if self.check is not None:
                    self.check.feed(PLAIN_BUFFER[:size])
        self._queue(tls.outgoing())
        if moved and self._to_send < 0:
            if self.bytes == 0:
                self.first_byte_ns = now
            self.bytes += moved
            self.progress_ns = now
        if tls.failure is not None:
            self._flush(now)  # the alert that says why
            self._break(EPROTO, now)
        elif self.complete:
            self._flush(now)
        elif self._to_send < 0 and (tls.closed or self._all_expected):
            self._complete(now)
        else:
            self._pump(now)

    @property
    def _all_expected(self) -> bool:
        return self._expected is not None and self.bytes >= self._expected

    def _take_fin(self, now: int) -> None:
        tls = self.tls
        assert tls is not None
        if self.errno:  # a reset, seen before the handshake began
            self._break(self.errno, now)
        elif not tls.established:
            tls.feed_end()
            self._break(EPROTO, now)
        elif self.complete or self._to_send < 0:
            self._break(0, now)
        # else an upload that the server no longer reads: its reply or its reset says so

    def _pump(self, now: int) -> None:
        """Send what waits and, of an upload, as much as the kernel takes."""
        tls = self.tls
        if tls is None:
            return
        for _ in range(TURN_CHUNKS):
            if not self._flush(now):
                return
            if self._in_flight:
                self.bytes += self._in_flight
                self._in_flight = 0
                self.progress_ns = now
            if self._to_send < 0 or not tls.established:
                return
            if self._to_send == 0:
                self._complete(now)
                return
            size = min(self._to_send, SECURE_CHUNK_BYTES)
            ciphertext = tls.encrypt(PAYLOAD[:size])
            if not ciphertext:
                self._break(EPROTO, now)
                return
            if self.first_byte_ns == ABSENT:
                self.first_byte_ns = now
            self._queue(ciphertext)
            self._in_flight = size
            self._to_send -= size
            now = self._reactor.clock()
        self._reactor.rearm(self._sock)

    def _complete(self, now: int) -> None:
        """All payload has moved: say so. Called again, once there is room, where the kernel had none for the word."""
        assert self.tls is not None
        if self.complete:
            self._flush(now)
            return
        if not self._ending:
            self._ending = True
            if not self._fin_seen or self._to_send == 0:
                # A server that has closed would answer with a reset, and its TIME_WAIT would be gone.
                self._queue(self.tls.close_notify())
        if not self._flush(now) or self.ended:
            return
        self.complete = True
        self.end_ns = now
        self.progress_ns = ABSENT  # from here on it is no silence of the transfer that a deadline is about
        if self._to_send == 0 or self._all_expected:
            with contextlib.suppress(OSError):  # the server was faster, with a reset
                self._sock.shutdown(socket.SHUT_WR)
        if self._confirmed and not self.ended:
            self._end(0, now)
        if not self._closed:
            self._wake(now)

    def _queue(self, ciphertext: bytes) -> None:
        if ciphertext:
            self._left = memoryview(bytes(self._left) + ciphertext if self._left else ciphertext)

    def _flush(self, now: int) -> bool:
        """Send what waits; tell whether the kernel has taken all of it."""
        while self._left and not self.ended:
            try:
                size = self._sock.send(self._left)
            except BlockingIOError:
                return False
            except OSError as error:
                self._break(error.errno or 0, now)
                return False
            self._left = self._left[size:]
        return not self._left

    def _break(self, number: int, now: int) -> None:
        self._end(number, now)
        self._wake(now)

    def _end(self, number: int, now: int) -> None:
        """End the connection: once all payload has moved, a reset takes nothing away."""
        self.ended = True
        self.errno = 0 if self._ending else number or self.errno
        if self.end_ns == ABSENT:
            self.end_ns = now
