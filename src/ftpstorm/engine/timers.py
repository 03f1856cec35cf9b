"""Absolute timers on CLOCK_MONOTONIC: a heap in front of one timerfd(2).

asyncio's `call_at` fires half a millisecond late at the median on both loops, since its poll timeout is in whole
milliseconds; a timerfd armed with an absolute instant fires within tens of microseconds (`tests/integration` holds the
order of magnitude). Python 3.13 has `os.timerfd_create`; before it the three calls are made through ctypes.
"""

from __future__ import annotations

import ctypes
import heapq
import os
import time
from collections.abc import Callable
from itertools import count
from typing import Final, Protocol

NEVER: Final = 1 << 62
_TFD_NONBLOCK: Final = os.O_NONBLOCK
_TFD_CLOEXEC: Final = os.O_CLOEXEC
_TFD_TIMER_ABSTIME: Final = 1
_NS_PER_S: Final = 1_000_000_000

Callback = Callable[[int], None]
"""Called with the present instant in ns."""


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("it_interval", _Timespec), ("it_value", _Timespec))


class TimerFd(Protocol):
    """One timerfd. `arm` makes `fd` readable at an absolute instant; arming again clears an earlier expiry."""

    fd: int

    def arm(self, instant_ns: int) -> None: ...

    def close(self) -> None: ...


class CtypesTimerFd:
    """timerfd(2) through libc, for Python 3.11 and 3.12."""

    __slots__ = ("_reference", "_settime", "_spec", "fd")

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = int(libc.timerfd_create(time.CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC))
        if self.fd < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        self._settime = libc.timerfd_settime
        self._spec = _Itimerspec()
        self._reference = ctypes.byref(self._spec)

    def arm(self, instant_ns: int) -> None:
        value = self._spec.it_value
        value.tv_sec, value.tv_nsec = divmod(instant_ns, _NS_PER_S)
        self._settime(self.fd, _TFD_TIMER_ABSTIME, self._reference, None)

    def close(self) -> None:
        os.close(self.fd)


class OsTimerFd:
    """timerfd(2) through the os module, from Python 3.13."""

    __slots__ = ("_settime", "fd")

    def __init__(self) -> None:
        self.fd = int(os.timerfd_create(time.CLOCK_MONOTONIC, flags=_TFD_NONBLOCK | _TFD_CLOEXEC))  # type: ignore[attr-defined]
        self._settime = os.timerfd_settime_ns  # type: ignore[attr-defined]

    def arm(self, instant_ns: int) -> None:
        self._settime(self.fd, flags=_TFD_TIMER_ABSTIME, initial=instant_ns)

    def close(self) -> None:
        os.close(self.fd)


def open_timerfd() -> TimerFd:
    """Return the best timerfd of this interpreter. Raises OSError where the kernel has none."""
    return OsTimerFd() if hasattr(os, "timerfd_create") else CtypesTimerFd()


class Timers:
    """Callbacks due at absolute instants. Cancelling is lazy: a callback that is no longer wanted ignores its call."""

    __slots__ = ("_armed_ns", "_heap", "_sequence", "_timerfd", "held", "next_ns")

    def __init__(self, timerfd: TimerFd) -> None:
        self._timerfd = timerfd
        self._heap: list[tuple[int, int, Callback]] = []
        self._sequence = count()
        self._armed_ns = NEVER
        self.held = False
        """While True, arming is left to `rearm`: the reactor runs what is due in a batch, and arms once after it."""
        self.next_ns = NEVER
        """The earliest due instant; NEVER when nothing waits. The reactor compares it with every event's stamp."""

    @property
    def fd(self) -> int:
        return self._timerfd.fd

    def __len__(self) -> int:
        return len(self._heap)

    def call_at(self, instant_ns: int, callback: Callback) -> None:
        """Call `callback(now)` once, as soon as `instant_ns` has come. Same instants keep their order."""
        heapq.heappush(self._heap, (instant_ns, next(self._sequence), callback))
        if instant_ns < self.next_ns:
            self.next_ns = instant_ns
            if not self.held:
                self.rearm()

    def run_due(self, now: int, limit: int) -> None:
        """Call what is due at `now`, at most `limit` callbacks; the rest fires again at once. `rearm` must follow."""
        heap = self._heap
        for _ in range(limit):
            if not heap or heap[0][0] > now:
                break
            heapq.heappop(heap)[2](now)
        self.next_ns = heap[0][0] if heap else NEVER
        if self._armed_ns <= now:
            self._armed_ns = 0  # the timerfd has expired, or will at once: its count is cleared by arming it anew

    def rearm(self) -> None:
        """Set the timerfd for the earliest instant where that changed. Called after a batch of events."""
        if self._armed_ns != self.next_ns:
            self._armed_ns = self.next_ns
            self._timerfd.arm(max(1, self.next_ns))  # 0 would disarm; NEVER lies 146 years ahead

    def close(self) -> None:
        self._heap.clear()
        self.next_ns = NEVER
        self._timerfd.close()
