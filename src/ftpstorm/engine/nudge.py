"""Tell ghosts from slow servers: after a silence before the greeting, send one harmless command and see who stirs.

A connection of which the peer knows nothing is answered with RST. One that its kernel holds is acknowledged, whatever
the server does. One that a full backlog dropped after the handshake, a ghost, is neither.
"""

from __future__ import annotations

from errno import ETIMEDOUT
from typing import TYPE_CHECKING

from ftpstorm.engine.commands import NOOP
from ftpstorm.engine.failure import StepFailedError, failed_by_deadline
from ftpstorm.engine.fiber import ON_CONTROL, DeadlineError
from ftpstorm.ftp.replies import Reply
from ftpstorm.vocabulary import Phase

if TYPE_CHECKING:
    from ftpstorm.engine.session import Session


async def first_reply(session: Session, nudge_ns: int) -> tuple[Reply, bool]:
    """Return the first reply of a server, and whether it took a nudge after `nudge_ns` of silence.

    A nudge is answered as well: `swallow_answer` must follow the greeting. Raises StepFailedError as any wait for a
    reply; of greeting-silent, errno ETIMEDOUT says that the peer has not acknowledged the nudge.
    """
    control = session.control
    assert control is not None
    began_ns = session.now
    deadline_ns = began_ns + session.work.timeouts.greeting
    nudged = False
    while not control.replies:
        if control.ended:
            raise session.control_ended(Phase.GREETING)
        try:
            await session.wait(ON_CONTROL, deadline_ns if nudged else min(deadline_ns, began_ns + nudge_ns))
        except DeadlineError:
            if nudged or session.now >= deadline_ns:
                raise _silent(session) from None
            nudged = True
            if not control.send(NOOP):
                raise session.control_ended(Phase.GREETING) from None
    return session.take_reply(), nudged


def _silent(session: Session) -> StepFailedError:
    control = session.control
    assert control is not None
    failure = failed_by_deadline(Phase.GREETING)
    if control.unacknowledged:
        failure.errno = ETIMEDOUT
    control.close()
    return failure


async def swallow_answer(session: Session) -> None:
    """Read the answer to the nudge, whatever it is, so that it is not taken for the next command's.

    A server that threw away what came before its greeting never answers: then the session goes on after the wait.
    """
    control = session.control
    assert control is not None
    deadline_ns = session.now + session.work.reply_ns
    try:
        while not control.replies and not control.ended:
            await session.wait(ON_CONTROL, deadline_ns)
    except DeadlineError:
        return
    if control.replies and control.replies[0].code != 421:
        session.take_reply()
