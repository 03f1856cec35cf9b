"""The accept loop: takes control connections out of the kernel's queue, no faster than the scenario's accept rate.

What is not accepted yet waits in the listener's accept queue and, beyond its backlog, in whatever the kernel does then:
that is the point of a slow accept rate. Who may come in is decided by the server.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from typing import Final

from ftpstorm.clock import Clock
from ftpstorm.units import NS_PER_MS, NS_PER_S, Rate

BATCH: Final = 64
"""Connections accepted before the loop turns to other work."""

CATCH_UP_NS: Final = 5 * NS_PER_MS
"""How far the schedule may lie behind and still be kept: timers are coarse. A longer pause is not made up for."""

PAUSE_NS: Final = 100 * NS_PER_MS
"""How long accepting rests when this process or host is out of files or memory."""

_OUT_OF_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_logger = logging.getLogger(__name__)


class Pace:
    """Spaces events `1/rate` apart: in any span T there are at most ``rate * (T + CATCH_UP_NS) + 1``. Pure."""

    __slots__ = ("_due_ns", "_interval_ns")

    def __init__(self, rate: Rate | None) -> None:
        """Take the highest rate, above 0; None for no limit."""
        self._interval_ns: Final = -(-NS_PER_S * rate.per_s.denominator // rate.per_s.numerator) if rate else 0
        self._due_ns: int | None = None

    def wait_ns(self, now_ns: int) -> int:
        """Return how long the next event has to wait, >= 0."""
        return 0 if self._due_ns is None else max(0, self._due_ns - now_ns)

    def happened(self, now_ns: int) -> None:
        """Note that an event took place."""
        if self._interval_ns:
            due_ns = now_ns if self._due_ns is None else max(self._due_ns, now_ns - CATCH_UP_NS)
            self._due_ns = due_ns + self._interval_ns


class AcceptLoop:
    """Accepts from one listener and hands each connected, non-blocking socket over. Owns the listener."""

    def __init__(
        self, listener: socket.socket, pace: Pace, clock: Clock, on_connection: Callable[[socket.socket], None]
    ) -> None:
        self.listener: Final = listener
        self._pace = pace
        self._clock = clock
        self._on_connection = on_connection
        self._loop = asyncio.get_running_loop()
        self._resume: asyncio.TimerHandle | None = None
        self._open = True
        self._loop.add_reader(listener.fileno(), self._accept_waiting)

    def close(self) -> None:
        """Stop listening; closing twice is allowed. Connections still in the accept queue get RST."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self.listener.fileno())
            if self._resume is not None:
                self._resume.cancel()
            self.listener.close()

    def _accept_waiting(self) -> None:
        for _ in range(BATCH):
            now_ns = self._clock()
            wait_ns = self._pace.wait_ns(now_ns)
            if wait_ns:
                self._rest(wait_ns)
                return
            try:
                sock, _ = self.listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:
                continue  # the peer was gone before we came: the next one may be there
            except OSError as error:
                _logger.warning("accept: %s", error.strerror)
                if error.errno in _OUT_OF_RESOURCES:
                    self._rest(PAUSE_NS)
                return
            self._pace.happened(now_ns)
            sock.setblocking(False)
            self._on_connection(sock)

    def _rest(self, wait_ns: int) -> None:
        # Without its reader the listener stays as it is: the kernel goes on queueing.
        self._loop.remove_reader(self.listener.fileno())
        self._resume = self._loop.call_later(max(wait_ns, NS_PER_MS) / NS_PER_S, self._go_on)

    def _go_on(self) -> None:
        self._resume = None
        self._loop.add_reader(self.listener.fileno(), self._accept_waiting)
        self._accept_waiting()
