"""The data plane's event loop: one epoll of its own, whose descriptor the asyncio loop watches.

asyncio (uvloop where there is one) keeps signals, the channel, flushing and progress; sockets of the load are watched
here, edge-triggered, with one system call for up to BATCH_MAX events and no Future, Task or Handle for any of them.

The owner of a socket gets ``on_event(events, now)``; `now` is the stamp taken as the event is delivered, and the only
clock that records are made from. Sockets are closed after the batch: a descriptor number that the kernel reuses inside
one batch would otherwise receive its predecessor's event.
"""

from __future__ import annotations

import asyncio
import select
from _socket import socket as Socket  # noqa: N812 - the C type itself: half the cost of socket.socket to make and close
from typing import Final, Protocol

from ftpstorm.clock import Clock, monotonic_ns
from ftpstorm.engine.timers import NEVER, Timers, open_timerfd

BATCH_MAX: Final = 64
"""Events taken with one epoll_wait: same throughput as 4,096, a fraction of the delay for timers and other tasks."""

TIMERS_MAX: Final = 16
"""Timer callbacks between two events, so that a burst of arrivals does not starve the sessions already open."""

WATCHED: Final = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
ONLY_READABLE: Final = select.EPOLLIN | select.EPOLLOUT
"""A connection that lives has something to read: edge-triggered events tell that it can be written to every time."""
READABLE: Final = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
WRITABLE: Final = select.EPOLLOUT
BROKEN: Final = select.EPOLLERR | select.EPOLLHUP
PEER_CLOSED: Final = select.EPOLLRDHUP | select.EPOLLHUP


class Watcher(Protocol):
    """Owner of a watched socket. The object, not its bound method: ten thousand of those are two thirds of a MB."""

    def on_event(self, events: int, now: int) -> None: ...


FILES_AT_FIRST: Final = 1024
"""Descriptors for which there is room at first, and how much more is made where that is too little."""


class _Nobody:
    """Takes events of a descriptor that nobody watches any more, or that is only there to wake the loop."""

    def on_event(self, events: int, now: int) -> None:
        return


_NOBODY: Final = _Nobody()


class Reactor:
    """Watches sockets and timers. Use as a context manager inside a running asyncio loop."""

    __slots__ = ("_closing", "_epoll", "_loop", "_poll", "_register", "_watchers", "clock", "timers")

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock = monotonic_ns) -> None:
        self._loop = loop
        self.clock = clock
        self._epoll = select.epoll()
        self._poll = self._epoll.poll
        self._register = self._epoll.register
        self._watchers: list[Watcher] = [_NOBODY] * FILES_AT_FIRST
        self._closing: list[Socket] = []
        self.timers = Timers(open_timerfd())

    def __enter__(self) -> Reactor:
        self._epoll.register(self.timers.fd, select.EPOLLIN)  # nothing to do: every event runs due timers before it
        self._loop.add_reader(self._epoll.fileno(), self._on_ready)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._loop.remove_reader(self._epoll.fileno())
        self._close_sockets()
        self._epoll.close()
        self.timers.close()
        self._watchers.clear()

    @property
    def watched(self) -> int:
        """Sockets watched now, the timer not counted."""
        return sum(watcher is not _NOBODY for watcher in self._watchers)

    def watch(self, sock: Socket, watcher: Watcher) -> None:
        """Deliver events of `sock` to `watcher`, edge-triggered for reading, writing and the peer's close."""
        fd = sock.fileno()
        try:
            self._watchers[fd] = watcher
        except IndexError:
            self._watchers += [_NOBODY] * (fd + 1 - len(self._watchers) + FILES_AT_FIRST)
            self._watchers[fd] = watcher
        register = self._register
        register(fd, WATCHED)

    def rearm(self, sock: Socket) -> None:
        """Deliver once more what is ready on `sock`: for a watcher that left data unread so that others have a turn."""
        self._epoll.modify(sock.fileno(), WATCHED)

    def redirect(self, sock: Socket, watcher: Watcher) -> None:
        """Deliver events of `sock` to another watcher from now on, once more what is ready already."""
        self._watchers[sock.fileno()] = watcher
        self.rearm(sock)

    def close_later(self, sock: Socket) -> None:
        """Stop watching and close `sock` after this batch of events."""
        self._watchers[sock.fileno()] = _NOBODY
        if not self.timers.held and not self._closing:
            self._loop.call_soon(self._close_sockets)
        self._closing.append(sock)

    def _close_sockets(self) -> None:
        closing, self._closing = self._closing, []
        for sock in closing:
            sock.close()

    def _on_ready(self) -> None:
        watchers = self._watchers
        timers = self.timers
        clock = self.clock
        timers.held = True
        try:
            for fd, events in self._poll(0, BATCH_MAX):
                now = clock()
                if now >= timers.next_ns:
                    timers.run_due(now, TIMERS_MAX)
                    now = clock()
                watchers[fd].on_event(events, now)
        finally:
            if self._closing:
                self._close_sockets()
            # What a session's end made due (its slot's next one) starts here, without a round through the timerfd.
            if timers.next_ns != NEVER and (now := clock()) >= timers.next_ns:
                timers.run_due(now, TIMERS_MAX)
            timers.held = False
            timers.rearm()
