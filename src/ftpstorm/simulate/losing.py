"""A simulated session whose control connection the server has closed, and which has not noticed.

A refusal such as ``500 OOPS`` reaches the client a moment before the end of the connection does. The client goes on: a
pause or the wait before a retry lasts its time, and the command after it finds the connection gone. Where no pause
comes, the session is taken to end with the refusal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftpstorm.simulate.exchange import no_data
from ftpstorm.simulate.serving import Failure
from ftpstorm.simulate.stages import Stage
from ftpstorm.vocabulary import FailureClass, Operation, Outcome, Phase

if TYPE_CHECKING:
    from ftpstorm.simulate.session import Session


def pause_unaware(session: Session, ordinal: int) -> None:
    """Execute the steps from number `ordinal` on until one would send a command, which fails after a pause."""
    for later, stage in enumerate(session.load.stages[ordinal:], ordinal):
        if stage.operation is not Operation.THINK:
            if session.now > session.dead_ns:
                lose(session, stage, later, 0)
            return
        session.plain_step(stage, later)
        if session.interrupted:
            return


def lose(session: Session, stage: Stage, ordinal: int, attempt: int) -> Failure:
    """Record that a command found the control connection gone."""
    phase = Phase.PASSIVE if stage.passive else Phase.COMMAND
    failure = (FailureClass.CONTROL_LOST, phase, 0, 0, 0, 0)
    session.record(stage, ordinal, attempt, int(Outcome.FAILED), failure, no_data(session.now))
    return failure
