"""Back off from a destination that the kernel has no local port for.

A connect that fails for want of a port costs milliseconds of kernel time in a large range, since the kernel tries every
port before it gives up, and it blocks the loop all the while. So after such a failure sessions that would try the same
again are failed with the same errno and no system call, for so long that failing calls take at most a twentieth of the
loop's time. Every arrival still becomes a session that started and failed: none is lost from the books or put off.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from ftpstorm.engine.failure import StepFailedError, failed_by_errno
from ftpstorm.vocabulary import Phase

if TYPE_CHECKING:
    from ftpstorm.engine.sockets import Source
    from ftpstorm.engine.work import Work

PAUSE_FACTOR: Final = 20
"""A pause lasts so many times as long as the call that failed."""

PAUSE_MAX_NS: Final = 100_000_000
"""Longest pause: ports come back in clumps every two seconds, which must not be missed for long."""

REMEMBERED_MAX: Final = 1024
"""Destinations remembered at one time; those whose pause is over are forgotten first."""

NO_PORT: Final = frozenset({errno.EADDRNOTAVAIL, errno.EADDRINUSE})

Way = tuple["Source | None", str, int]
"""Source and destination: what the kernel had no port for."""


class PortScarcity:
    """Which ways have no port, until when, and the errno that said so."""

    __slots__ = ("_pauses",)

    def __init__(self) -> None:
        self._pauses: dict[Way, tuple[int, int]] = {}

    def refusal(self, way: Way, now: int) -> int:
        """Return the errno to fail with instead of a try, 0 to try."""
        pause = self._pauses.get(way)
        if pause is None:
            return 0
        until_ns, number = pause
        if now < until_ns:
            return number
        del self._pauses[way]
        return 0

    def note(self, way: Way, number: int, now: int, cost_ns: int) -> None:
        """Remember that a try took `cost_ns` and failed with `number` at `now`."""
        if len(self._pauses) >= REMEMBERED_MAX:
            self._pauses = {known: pause for known, pause in self._pauses.items() if pause[0] > now}
            if len(self._pauses) >= REMEMBERED_MAX:
                return
        self._pauses[way] = now + min(PAUSE_MAX_NS, cost_ns * PAUSE_FACTOR), number


def refuse_if_scarce(work: Work, phase: Phase, way: Way, now: int) -> None:
    """Raise the failure that the last try of `way` ended with, while its pause lasts."""
    if work.scarcity is not None:
        number = work.scarcity.refusal(way, now)
        if number:
            raise failed_by_errno(phase, number)


def failed_connect(work: Work, phase: Phase, way: Way, number: int, began_ns: int) -> StepFailedError:
    """Return the failure of a connect that the kernel refused with `number`; begin a pause if it had no port.

    `began_ns` is the stamp of the event that led to it.
    """
    if number in NO_PORT:
        if work.scarcity is None:
            work.scarcity = PortScarcity()
        now = work.reactor.clock()
        work.scarcity.note(way, number, now, now - began_ns)
    return failed_by_errno(phase, number)
