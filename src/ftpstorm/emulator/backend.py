"""The back end that the emulator asks before each transfer: a listener, and the front end's side of the connections.

Both ends are real sockets of the same host. The front end connects without bind(2), so its ports come from the host's
ephemeral range (4-tuple space, one destination), and it closes first, so the TIME_WAIT is its own (RFC 9293, 3.6.1):
what a web or FTP front end does that opens a connection for each request. What a transfer does once it was let through
is not decided here.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections import deque
from typing import Final

from ftpstorm.emulator.counts import Counts
from ftpstorm.emulator.listeners import listen, resolve
from ftpstorm.errors import EnvironmentUnavailableError
from ftpstorm.scenario.behind import Backend
from ftpstorm.units import NS_PER_MS, NS_PER_S

BACKEND_PORT: Final = 3306
"""Where the search for the back end's port begins: outside every ephemeral range that begins at 10,000 or above."""
BACKLOG: Final = 4096
TRY_EVERY_NS: Final = 10 * NS_PER_MS
"""How often a front end that waits for a local port looks again; one does so for all that wait."""

_QUESTION: Final = b"GET\r\n"
_ANSWER: Final = b"OK\r\n"
_NO_PORT: Final = frozenset({errno.EADDRNOTAVAIL, errno.EADDRINUSE})
_logger = logging.getLogger(__name__)


class BackEnd:
    """A back end that answers each question after a while, and how the emulator's transfers reach it.

    Use as an asynchronous context manager; `ask` may be called inside the block.
    """

    def __init__(self, backend: Backend, host: str, counts: Counts, ephemeral: tuple[int, int] | None = None) -> None:
        """Take the scenario's section, the emulator's own address, where to count, and the host's ephemeral range."""
        self._backend = backend
        self._host = backend.address or host
        self._counts = counts
        self._ephemeral = ephemeral
        self._idle: deque[socket.socket] = deque()
        self._places = asyncio.Semaphore(backend.size)
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self.address: tuple[str, int] = ("", 0)
        """Where the back end listens, once it does."""

    async def __aenter__(self) -> BackEnd:
        """Begin to listen. Raises EnvironmentUnavailableError where no port can be had on that address."""
        family, address = resolve(self._host)
        if address in ("0.0.0.0", "::"):
            address = "127.0.0.1" if family == socket.AF_INET else "::1"
        self._family = family
        self._listener = self._listen(family, address)
        self.address = self._listener.getsockname()[:2]
        self._accepting = asyncio.create_task(self._accept())
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = {self._accepting, *self._tasks}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        self._listener.close()
        while self._idle:
            self._idle.pop().close()

    def _listen(self, family: socket.AddressFamily, address: str) -> socket.socket:
        first, last = self._ephemeral or (1, 0)
        for port in range(BACKEND_PORT, 65_536):
            if first <= port <= last:
                continue
            try:
                return listen(family, address, port, BACKLOG)
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise EnvironmentUnavailableError(
                        f"backend.address: cannot listen on {address}: {error.strerror}; give an address of this host"
                    ) from error
        raise EnvironmentUnavailableError(f"backend: no free port from {BACKEND_PORT} upward on {address}")

    # --- the front end's side -----------------------------------------------------------------------------------------

    async def ask(self) -> None:
        """Put one question to the back end and wait for its answer.

        Raises OSError: EADDRNOTAVAIL where the kernel has no local port and the scenario says `refuse`.
        """
        self._counts.backend_requests += 1
        try:
            if self._backend.per == "request":
                with contextlib.closing(await self._connect()) as sock:
                    await self._converse(sock)
            else:
                await self._ask_pooled()
        except OSError:
            self._counts.backend_refused += 1
            raise

    async def _ask_pooled(self) -> None:
        async with self._places:
            sock = self._idle.pop() if self._idle else await self._connect()
            try:
                await self._converse(sock)
            except BaseException:
                sock.close()
                raise
            self._idle.append(sock)

    async def _connect(self) -> socket.socket:
        if self._backend.no_port == "refuse":
            return await self._try_connect()
        async with self._turn:  # those who wait stand in line, and only the first of them asks the kernel
            while True:
                try:
                    return await self._try_connect()
                except OSError as error:
                    if error.errno not in _NO_PORT:
                        raise
                await asyncio.sleep(TRY_EVERY_NS / NS_PER_S)

    async def _try_connect(self) -> socket.socket:
        sock = socket.socket(self._family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(sock, self.address)
        except BaseException:
            sock.close()
            raise
        self._counts.backend_connects += 1
        return sock

    async def _converse(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, _QUESTION)
        got = b""
        while not got.endswith(_ANSWER):
            received = await loop.sock_recv(sock, 64)
            if not received:
                raise ConnectionResetError(errno.ECONNRESET, "the back end closed the connection")
            got += received

    # --- the back end's side ------------------------------------------------------------------------------------------

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(self._listener)
            except OSError as error:
                _logger.warning("back end: accept: %s", error.strerror)
                await asyncio.sleep(0.1)
                continue
            task = asyncio.create_task(self._answer(sock))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.closing(sock), contextlib.suppress(OSError):
            sock.setblocking(False)
            while await loop.sock_recv(sock, 64):  # b"": the front end has closed first
                if self._backend.takes:
                    await asyncio.sleep(self._backend.takes / NS_PER_S)
                await loop.sock_sendall(sock, _ANSWER)
