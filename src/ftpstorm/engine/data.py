"""One data connection: connect, then receive until the end of data or send a payload. Counts, stamps, wakes."""

from __future__ import annotations

from _socket import socket as Socket  # noqa: N812 - see reactor.py
from socket import MSG_TRUNC, SHUT_WR
from typing import TYPE_CHECKING, Final

from ftpstorm.engine.control import Wake
from ftpstorm.engine.reactor import BROKEN, PEER_CLOSED, READABLE, WRITABLE, Reactor
from ftpstorm.engine.sockets import AFTER_HANDSHAKE, pending_error, reset_on_close
from ftpstorm.records.schema import ABSENT

if TYPE_CHECKING:
    from ftpstorm.engine.verification import Check

CHUNK_BYTES: Final = 262_144
"""The receive buffer that all connections of a worker share, and one slice of an upload."""

TURN_CHUNKS: Final = 8
"""Full chunks that one connection moves before others have their turn (2 MiB)."""

RECEIVE_BUFFER: Final = memoryview(bytearray(CHUNK_BYTES))
"""Downloads are counted and discarded, so one buffer serves every connection."""

DISCARD: Final = MSG_TRUNC
"""How a download is read that nobody looks at: the kernel counts its bytes and copies none (tcp(7))."""

PAYLOAD: Final = memoryview(bytes(range(256)) * (CHUNK_BYTES // 256))
"""What uploads consist of, over and over: no copy for any of them."""


class Data:
    """State of one data connection. `ended` is final; `errno` then says whether it broke."""

    __slots__ = (
        "_closed",
        "_expected",
        "_reactor",
        "_sock",
        "_to_send",
        "_wake",
        "bytes",
        "check",
        "connected",
        "connected_ns",
        "end_ns",
        "ended",
        "errno",
        "first_byte_ns",
        "half",
        "local_port",
        "progress_ns",
    )

    def __init__(
        self,
        reactor: Reactor,
        sock: Socket,
        wake: Wake,
        expected: int | None = None,
        check: Check | None = None,
        half: bool = False,
    ) -> None:
        """Watch `sock`, on which connect has begun.

        With `expected` bytes the client closes first: the connection counts as ended once they are in.
        """
        self._reactor = reactor
        self._sock = sock
        self._closed = False
        self._wake = wake
        self._expected = expected
        self._to_send = -1  # bytes an upload still has to send; -1: this is a download, or nothing has begun
        try:  # `sockets.local_port`, written out
            self.local_port: int = sock.getsockname()[1]
        except OSError:
            self.local_port = 0
        self.connected = self.ended = False
        self.errno = self.bytes = 0
        self.check = check
        """Sees every chunk of a download."""
        self.half = half
        """Where the client closes first: shut down for writing only, and read on until the server has closed too."""
        self.connected_ns = self.first_byte_ns = self.end_ns = self.progress_ns = ABSENT
        """`progress_ns`, when payload last moved, is what the stall deadline counts from."""
        reactor.watch(sock, self)

    def on_event(self, events: int, now: int) -> None:
        """Take one event of the reactor."""
        if not self.connected:
            if events & BROKEN and (number := pending_error(self._sock)):
                if number not in AFTER_HANDSHAKE:
                    self._end(number, now)
                    self._wake(now)
                    return
                self.errno = number  # how it ends; what the server sent before that waits to be read
            elif not events & WRITABLE:
                return
            self.connected = True
            self.connected_ns = now
            wake = self._wake  # taken first: CPython is slow to call what an attribute holds that is no method
            wake(now)  # the session sends its command; it may also give up and close
            if self._closed or not events & READABLE:
                return
        if self._to_send >= 0:
            if events & BROKEN:
                self._end(pending_error(self._sock), now)
                self._wake(now)
            elif events & WRITABLE:
                self._pump(now)
        elif events & READABLE:
            self._receive(events, now)

    def _receive(self, events: int, now: int) -> None:
        sock = self._sock
        flags = DISCARD if self.check is None else 0
        for _ in range(TURN_CHUNKS):
            try:
                size = sock.recv_into(RECEIVE_BUFFER, CHUNK_BYTES, flags)
            except BlockingIOError:
                return
            except OSError as error:
                self._end(error.errno or 0, now)
                self._wake(now)
                return
            if size:
                if self.bytes == 0:
                    self.first_byte_ns = now
                self.bytes += size
                self.progress_ns = now
                if self.check is not None:
                    self.check.feed(RECEIVE_BUFFER[:size])
            # A short read with the peer's FIN already seen has emptied the queue: no read that only returns 0.
            if (
                size == 0
                or (size < CHUNK_BYTES and events & PEER_CLOSED)
                or (self._expected is not None and self.bytes >= self._expected)
            ):
                if self.half and size and not events & PEER_CLOSED:
                    self._half_close(now)
                    return
                self.ended = True
                self.end_ns = now
                if events & BROKEN:
                    self.errno = pending_error(sock) or self.errno
                wake = self._wake
                wake(now)
                return
            if size < CHUNK_BYTES:
                return
            now = self._reactor.clock()
        self._reactor.rearm(self._sock)

    def start_upload(self, size: int, now: int) -> None:
        """Send `size` bytes of PAYLOAD, then close: the end of an upload is the client's FIN."""
        self._to_send = size
        self.progress_ns = now
        self._pump(now)

    def _pump(self, now: int) -> None:
        sock = self._sock
        for _ in range(TURN_CHUNKS):
            if self._to_send == 0:
                if self.half:
                    self._half_close(now)
                    return
                self._end(0, now)
                self._wake(now)
                return
            chunk = PAYLOAD[: self._to_send] if self._to_send < CHUNK_BYTES else PAYLOAD
            try:
                size = sock.send(chunk)
            except BlockingIOError:
                return
            except OSError as error:
                self._end(error.errno or 0, now)
                self._wake(now)
                return
            if self.bytes == 0:
                self.first_byte_ns = now
            self.bytes += size
            self._to_send -= size
            now = self._reactor.clock()
            self.progress_ns = now
            if size < len(chunk):
                return  # the send buffer is full: the kernel will tell when there is room
        self._reactor.rearm(self._sock)

    def _half_close(self, now: int) -> None:
        """Send FIN and read on; the server's close is then the end."""
        try:
            self._sock.shutdown(SHUT_WR)
        except OSError as error:  # reset meanwhile
            self._end(error.errno or 0, now)
            self._wake(now)
            return
        self._reactor.redirect(self._sock, _Drain(self))

    def on_drain(self, events: int, now: int) -> None:
        """Read up to the server's close. What comes is counted of a download alone: an upload moves nothing back."""
        if not events & READABLE:
            return
        sock = self._sock
        for _ in range(TURN_CHUNKS):
            try:
                size = sock.recv_into(RECEIVE_BUFFER, CHUNK_BYTES, DISCARD)
            except BlockingIOError:
                return
            except OSError as error:
                self._end(error.errno or 0, now)
            else:
                if size == 0:
                    self._end(0, now)
                elif self._to_send < 0:
                    self.bytes += size
            if self.ended:
                self._wake(now)
                return
            now = self.progress_ns = self._reactor.clock()
        self._reactor.rearm(sock)

    def _end(self, number: int, now: int) -> None:
        self.ended = True
        self.errno = number or self.errno
        self.end_ns = now

    def close(self, *, reset: bool = False) -> None:
        """Give the socket to the reactor to close, with RST when asked; closing twice is allowed."""
        if not self._closed:
            if reset:
                reset_on_close(self._sock)
            self._reactor.close_later(self._sock)
            self._closed = True


class _Drain:
    """Takes the events of a connection that this side has half closed."""

    __slots__ = ("_data",)

    def __init__(self, data: Data) -> None:
        self._data = data

    def on_event(self, events: int, now: int) -> None:
        self._data.on_drain(events, now)
