"""The data plane's event loop: one epoll of its own, whose descriptor the asyncio loop watches.

asyncio (uvloop where there is one) keeps signals, the channel, flushing and progress; sockets of the load are watched
here, edge-triggered, with one system call for up to BATCH_MAX events and no Future, Task or Handle for any of them.

A handler is called as ``handler(events, now)``; `now` is the stamp taken as the event is delivered, and the only clock
that records are made from. Sockets are closed after the batch: a descriptor number that the kernel reuses inside one
batch would otherwise receive its predecessor's event.
"""

from __future__ import annotations

import asyncio
import select
from _socket import socket as Socket  # noqa: N812 - the C type itself: half the cost of socket.socket to make and close
from collections.abc import Callable
from typing import Final

from ftpstorm.clock import Clock, monotonic_ns
from ftpstorm.engine.timers import NEVER, Timers, open_timerfd

BATCH_MAX: Final = 64
"""Events taken with one epoll_wait: same throughput as 4,096, a fraction of the delay for timers and other tasks."""

TIMERS_MAX: Final = 16
"""Timer callbacks between two events, so that a burst of arrivals does not starve the sessions already open."""

WATCHED: Final = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
READABLE: Final = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
WRITABLE: Final = select.EPOLLOUT
BROKEN: Final = select.EPOLLERR | select.EPOLLHUP
PEER_CLOSED: Final = select.EPOLLRDHUP | select.EPOLLHUP

Handler = Callable[[int, int], None]


class Reactor:
    """Watches sockets and timers. Use as a context manager inside a running asyncio loop."""

    __slots__ = ("_closing", "_epoll", "_handlers", "_loop", "_poll", "clock", "timers")

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock = monotonic_ns) -> None:
        self._loop = loop
        self.clock = clock
        self._epoll = select.epoll()
        self._poll = self._epoll.poll
        self._handlers: dict[int, Handler] = {}
        self._closing: list[Socket] = []
        self.timers = Timers(open_timerfd())

    def __enter__(self) -> Reactor:
        self._handlers[self.timers.fd] = self._on_timer
        self._epoll.register(self.timers.fd, select.EPOLLIN)
        self._loop.add_reader(self._epoll.fileno(), self._on_ready)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._loop.remove_reader(self._epoll.fileno())
        self._close_sockets()
        self._epoll.close()
        self.timers.close()
        self._handlers.clear()

    @property
    def watched(self) -> int:
        """Sockets watched now, the timer not counted."""
        return len(self._handlers) - 1

    def watch(self, fd: int, handler: Handler) -> None:
        """Deliver events of `fd` to `handler`, edge-triggered for reading, writing and the peer's close."""
        self._handlers[fd] = handler
        self._epoll.register(fd, WATCHED)

    def rearm(self, fd: int) -> None:
        """Deliver once more what is ready on `fd`: for a handler that left data unread so that others have a turn."""
        self._epoll.modify(fd, WATCHED)

    def redirect(self, fd: int, handler: Handler) -> None:
        """Deliver events of `fd` to another handler from now on, once more what is ready already."""
        self._handlers[fd] = handler
        self._epoll.modify(fd, WATCHED)

    def close_later(self, sock: Socket, fd: int) -> None:
        """Stop watching and close `sock` after this batch of events."""
        self._handlers.pop(fd, None)
        if not self.timers.held and not self._closing:
            self._loop.call_soon(self._close_sockets)
        self._closing.append(sock)

    def _close_sockets(self) -> None:
        closing, self._closing = self._closing, []
        for sock in closing:
            sock.close()

    def _on_timer(self, events: int, now: int) -> None:
        """Nothing to do: the batch runs due timers before every event, this one included."""

    def _on_ready(self) -> None:
        handlers = self._handlers
        timers = self.timers
        clock = self.clock
        timers.held = True
        try:
            for fd, events in self._poll(0, BATCH_MAX):
                now = clock()
                if now >= timers.next_ns:
                    timers.run_due(now, TIMERS_MAX)
                    now = clock()
                handler = handlers.get(fd)
                if handler is not None:
                    handler(events, now)
        finally:
            if self._closing:
                self._close_sockets()
            # What a session's end made due (its slot's next one) starts here, without a round through the timerfd.
            if timers.next_ns != NEVER and (now := clock()) >= timers.next_ns:
                timers.run_due(now, TIMERS_MAX)
            timers.held = False
            timers.rearm()
