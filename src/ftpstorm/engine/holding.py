"""Stay logged in: what the executor `hold` puts before a session's quit."""

from __future__ import annotations

import types
from collections.abc import Generator
from typing import TYPE_CHECKING

from ftpstorm.engine.commands import NOOP, execute
from ftpstorm.engine.failure import failed_by_reply
from ftpstorm.engine.fiber import NEVER, ON_CONTROL, ON_HOLD, DeadlineError
from ftpstorm.plan.plan import HoldStep
from ftpstorm.vocabulary import FailureClass, Phase

if TYPE_CHECKING:
    from ftpstorm.engine.session import Session


@types.coroutine
def hold(session: Session, options: HoldStep) -> Generator[None, int, None]:
    """Do nothing until the load's end, or until the run is drained; notice when the server ends the session.

    The end is a deadline, not a timer: ten thousand held sessions cost no timer each, and leave within one sweep.
    """
    control = session.control
    assert control is not None
    until_ns = session.work.journal.origin_ns + options.until_ns
    silence_ns = options.noop_every_ns or NEVER
    while session.now < until_ns and not session.load.released:
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
            session.deadline_ns = min(until_ns, session.now + silence_ns)
            session.now = yield
            session.waiting = 0
        except DeadlineError:
            if session.now < until_ns and not session.load.released:
                yield from execute(session, NOOP, Phase.COMMAND)
