"""Commands that need no data connection, and what a refusal means."""

from __future__ import annotations

import types
from collections.abc import Generator
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from ftpstorm.engine.failure import StepFailedError, failed_by_reply
from ftpstorm.ftp.commands import encode_command
from ftpstorm.ftp.replies import Reply
from ftpstorm.vocabulary import Phase

if TYPE_CHECKING:
    from ftpstorm.engine.session import Session

encode = lru_cache(maxsize=4096)(encode_command)
"""`encode_command`, remembering the few commands that a scenario repeats for ever."""

EPSV: Final = encode_command("EPSV")
PASV: Final = encode_command("PASV")
QUIT: Final = encode_command("QUIT")
NOOP: Final = encode_command("NOOP")
TYPE_I: Final = encode_command("TYPE", "I")

ANNOUNCEMENTS_MAX: Final = 16
"""1xx replies in a row. Each may renew a deadline, so a server that only announces must not hold a session for ever."""


@types.coroutine
def execute(session: Session, command: bytes, phase: Phase) -> Generator[None, int, Reply]:
    """Send a command that takes no data connection; return its 2xx reply."""
    session.send(command, phase)
    reply = yield from session.reply(phase, session.work.reply_ns)
    if not 200 <= reply[0] < 300:
        raise refused(session, phase, reply)
    return reply


def refused(session: Session, phase: Phase, reply: Reply) -> StepFailedError:
    """Name a refusal; 421 announces that the server closes control (RFC 959), except where it means a full pool."""
    if reply.code == 421 and phase is not Phase.PASSIVE and session.control is not None:
        session.control.close()
    return failed_by_reply(phase, reply)
