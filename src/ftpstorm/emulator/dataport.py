"""The life of one passive port: bound and listening, then its one data connection, then back to the pool.

All of it works on raw non-blocking sockets: a listener for each transfer through asyncio.start_server costs several
times the transfer itself. Which port comes next and how long it is held down is the pool's business.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from typing import Any, Final

from ftpstorm.clock import Clock
from ftpstorm.emulator.counts import Counts
from ftpstorm.emulator.listeners import listen
from ftpstorm.emulator.pool import PassivePool
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import Side

DATA_WAIT_NS: Final = 30 * NS_PER_S
"""How long a passive port waits for its data connection before it returns to the pool."""

_PORT_TAKEN: Final = frozenset({errno.EADDRINUSE, errno.EACCES})
_logger = logging.getLogger(__name__)


class DataPort:
    """One reserved passive port. Its listener closes as soon as one connection is accepted; `close` ends either."""

    __slots__ = ("_listener", "_loop", "_ports", "_waiter", "deadline_ns", "number", "sock")

    def __init__(self, ports: DataPorts, number: int, listener: socket.socket, deadline_ns: int) -> None:
        self._ports = ports
        self._loop = ports.loop
        self._listener: socket.socket | None = listener
        self._waiter: asyncio.Future[None] | None = None
        self.number: Final = number
        self.deadline_ns: Final = deadline_ns
        """When the wait for a connection ends, on the pool's clock."""
        self.sock: socket.socket | None = None
        """The data connection, once there is one and until `close`."""
        self._loop.add_reader(listener.fileno(), self.accept)

    @property
    def client_closed(self) -> bool:
        """Whether there is a data connection, and its client has closed or reset it."""
        return self.sock is not None and _peer_has_closed(self.sock)

    def leak(self) -> None:
        """Forget to close: nobody closes the data connection before the server ends, and the port stays taken."""
        if self.sock is not None:
            self._ports.leaked.append(self.sock)
            self.sock = None

    def accept(self) -> None:
        """Take the data connection if it is there; returns at once either way."""
        if self._listener is None:
            return
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):
            return
        except OSError as error:
            # Out of files or memory: a reader that stays ready would spin, so this port is given up.
            _logger.warning("accept on passive port %d: %s", self.number, error.strerror)
            self._stop_listening()
            self._ports.note_unused(self.number)
            return
        sock.setblocking(False)
        self.sock = sock
        self._stop_listening()
        self._ports.note_connected(self.number)

    async def connection(self) -> socket.socket | None:
        """Return the data connection as soon as it is there; None when none came in time, or `close` was called."""
        self.accept()
        if self._listener is not None:
            self._waiter = self._loop.create_future()
            await self._waiter
        return self.sock

    def close(self) -> None:
        """Close what there is and return the port to the pool; closing twice is allowed.

        A data connection counts as closed first by the client if its end of stream or its reset has arrived by now.
        """
        # A connection that only waits to be accepted exists for its client: it must not count as never made.
        self.accept()
        sock, self.sock = self.sock, None
        if self._listener is not None:
            self._stop_listening()
            self._ports.note_unused(self.number)
        elif sock is not None:
            closed_by = Side.CLIENT if _peer_has_closed(sock) else Side.SERVER
            sock.close()
            self._ports.note_ended(self.number, closed_by)

    def _stop_listening(self) -> None:
        assert self._listener is not None
        self._loop.remove_reader(self._listener.fileno())
        self._listener.close()
        self._listener = None
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class DataPorts:
    """Opens passive ports from one pool and closes those that nobody connected to. Owned by the server."""

    def __init__(self, pool: PassivePool, clock: Clock, counts: Counts, wait_ns: int = DATA_WAIT_NS) -> None:
        self.pool: Final = pool
        self.loop: Final = asyncio.get_running_loop()
        self._clock = clock
        self._counts = counts
        self._wait_ns = wait_ns
        self._listening: dict[int, DataPort] = {}  # oldest first, and so by deadline
        self.leaked: Final[list[socket.socket]] = []
        """Data connections that were forgotten, their clients gone: in CLOSE_WAIT until `close`."""

    def open(self, family: socket.AddressFamily, address: str) -> DataPort | None:
        """Reserve a port and listen on it, all before the caller can be suspended; None when no port is free.

        A pool port that somebody else has bound meanwhile is passed over and logged. Raises OSError when no free port
        of the pool can be bound, or the process is out of files.
        """
        self.expire()
        now_ns = self._clock()
        failed: dict[int, OSError] = {}
        try:
            while (number := self.pool.reserve(now_ns)) is not None:
                try:
                    listener = listen(family, address, number, 1)
                except OSError as error:
                    failed[number] = error
                    if error.errno not in _PORT_TAKEN:
                        break
                    _logger.warning("passive port %d of the pool cannot be bound: %s", number, error.strerror)
                else:
                    port = DataPort(self, number, listener, now_ns + self._wait_ns)
                    self._listening[number] = port
                    return port
        finally:
            for number in failed:
                self.pool.give_back(number, now_ns)
        if failed:
            raise next(iter(failed.values()))
        return None

    def close(self) -> None:
        """Close what was leaked, as the end of the process would."""
        while self.leaked:
            self.leaked.pop().close()

    def expire(self) -> None:
        """Close every port that has waited too long for its connection."""
        now_ns = self._clock()
        while self._listening:
            port = next(iter(self._listening.values()))
            if port.deadline_ns > now_ns:
                return
            port.accept()  # the connection may be there, and only this loop too busy to have taken it
            if port.sock is None:
                port.close()

    def note_connected(self, number: int) -> None:
        """Record that a port accepted its connection."""
        self._listening.pop(number, None)
        self._counts.data_accepted += 1
        self.pool.connected(number, self._clock())

    def note_unused(self, number: int) -> None:
        """Record that a port stopped listening without a connection."""
        self._listening.pop(number, None)
        self.pool.give_back(number, self._clock())

    def note_ended(self, number: int, closed_by: Side) -> None:
        """Record the end of a port's data connection."""
        self.pool.ended(number, self._clock(), closed_by)


def _peer_has_closed(sock: socket.socket) -> bool:
    try:
        return sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except (BlockingIOError, InterruptedError):
        return False
    except OSError:
        return True


async def _ready(add: Callable[..., Any], remove: Callable[[int], Any], sock: socket.socket) -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    number = sock.fileno()

    def wake() -> None:
        if not future.done():
            future.set_result(None)

    add(number, wake)
    try:
        await future
    finally:
        remove(number)


async def readable(sock: socket.socket) -> None:
    """Wait until `sock` has bytes, an end of stream or an error."""
    loop = asyncio.get_running_loop()
    await _ready(loop.add_reader, loop.remove_reader, sock)


async def writable(sock: socket.socket) -> None:
    """Wait until `sock` takes bytes or has an error."""
    loop = asyncio.get_running_loop()
    await _ready(loop.add_writer, loop.remove_writer, sock)
