"""Stay logged in: what the executor `hold` puts before a session's quit."""

from __future__ import annotations

import types
from collections.abc import Generator
from typing import TYPE_CHECKING, NamedTuple

from ftpstorm.engine.commands import NOOP, execute
from ftpstorm.engine.failure import failed_by_reply
from ftpstorm.engine.fiber import ON_CONTROL, ON_HOLD, DeadlineError
from ftpstorm.vocabulary import FailureClass, Phase

if TYPE_CHECKING:
    from ftpstorm.engine.session import Session


class Stay(NamedTuple):
    """Options of a hold as instants of this run: one object for all sessions that are held together."""

    until_ns: int
    silence_ns: int
    """NOOP is sent after so much of it; NEVER: stay silent."""


@types.coroutine
def hold(session: Session, stay: Stay) -> Generator[None, int, None]:
    """Do nothing until the load's end, or until the run is drained; notice when the server ends the session.

    The end is a deadline, not a timer: ten thousand held sessions cost no timer each, and leave within one sweep.
    """
    control = session.control
    assert control is not None
    while session.now < stay.until_ns and not session.load.released:
        while control.replies:
            unasked = session.take_reply()
            if unasked.code == 421:
                control.close()
                raise failed_by_reply(Phase.COMMAND, unasked, FailureClass.CONTROL_LOST)
        if control.ended:
            raise session.control_ended(Phase.COMMAND)
        try:
            # `session.wait`, written out: a generator less for each session that is held.
            session.waiting = ON_CONTROL | ON_HOLD
            session.deadline_ns = min(stay.until_ns, session.now + stay.silence_ns)
            session.now = yield
            session.waiting = 0
        except DeadlineError:
            if session.now < stay.until_ns and not session.load.released:
                yield from execute(session, NOOP, Phase.COMMAND)
