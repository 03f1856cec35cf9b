"""The light thread that a session's script runs on: an `async def` resumed by the reactor, not by asyncio.

What a script awaits here suspends the coroutine until an event that it asked for, so a reply costs no Future, no Task
and no loop callback. A deadline is a plain attribute that the dispatcher's sweep looks at, not a timer.
"""

from __future__ import annotations

import types
from collections.abc import Coroutine, Generator
from typing import Final

NEVER: Final = 1 << 62

ON_CONTROL: Final = 1
"""Wait for the control connection: connected, a reply, its end."""
ON_DATA: Final = 2
"""Wait for the data connection: connected, ended."""
ON_TIMER: Final = 4
ON_HOLD: Final = 8
"""No event of its own: marks a session that is only held, so that a drain can let it go."""
ON_SILENCE: Final = 16
"""No event of its own: the deadline is about a silence, so payload that moves meanwhile pushes it on."""


class DeadlineError(Exception):
    """Thrown into a script whose wait took too long."""


class InterruptError(Exception):
    """Thrown into a script that the run no longer waits for."""


class Fiber:
    """Base of a session: owns the coroutine, what it waits for, and `now`, the stamp of the event that resumed it."""

    __slots__ = ("_coroutine", "deadline_ns", "now", "waiting")

    def __init__(self) -> None:
        self.waiting = 0
        self.deadline_ns = NEVER
        self.now = 0

    def run(self, coroutine: Coroutine[None, int | None, None], now: int) -> None:
        """Run `coroutine` up to its first wait."""
        self._coroutine = coroutine
        self.now = now
        self._resume(None)

    def ended(self) -> None:
        """Called once, when the script has returned."""
        raise NotImplementedError

    def _resume(self, now: int | None) -> None:
        try:
            self._coroutine.send(now)
        except StopIteration:
            self.ended()

    def wake_control(self, now: int) -> None:
        """Resume the script if it waits for the control connection."""
        if self.waiting & ON_CONTROL:
            try:  # `_resume`, written out: it runs for every event
                self._coroutine.send(now)
            except StopIteration:
                self.ended()

    def wake_data(self, now: int) -> None:
        """Resume the script if it waits for the data connection."""
        if self.waiting & ON_DATA:
            try:
                self._coroutine.send(now)
            except StopIteration:
                self.ended()

    def wake_timer(self, now: int) -> None:
        """Resume the script if it sleeps."""
        if self.waiting & ON_TIMER:
            self._resume(now)

    def throw(self, error: Exception, now: int) -> None:
        """Raise `error` where the script waits. Raises RuntimeError when it does not wait."""
        if not self.waiting:
            raise RuntimeError("the script is running, not waiting")
        self.now = now
        self.waiting = 0
        try:
            self._coroutine.throw(error)
        except StopIteration:
            self.ended()
        finally:
            # From Python 3.12 on the frames that it went through know their caller: this one, which holds it. A cycle.
            error.__traceback__ = error.__context__ = None

    @types.coroutine
    def wait(self, what: int, deadline_ns: int = NEVER) -> Generator[None, int, None]:
        """Suspend until an event in `what` (ON_* flags); `now` is then its stamp.

        Raises DeadlineError once `deadline_ns` has passed (noticed by the sweep), InterruptError when the run is over.
        """
        self.waiting = what
        self.deadline_ns = deadline_ns
        self.now = yield
        self.waiting = 0
