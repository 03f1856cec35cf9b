"""What each step does on the wire: one coroutine for each operation of a flow.

A coroutine here sends its commands, waits, and returns when the server has confirmed; anything else is raised as
StepFailedError, named by phase. Records, retries and what follows a failure belong to the session.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from ftpstorm.engine.commands import NOOP, QUIT, TYPE_I, encode, execute
from ftpstorm.engine.failure import StepFailedError, failed_by_reply
from ftpstorm.engine.passive import ask_passive
from ftpstorm.engine.transfers import Payload, transfer
from ftpstorm.ftp.commands import encode_command
from ftpstorm.ftp.replies import Reply
from ftpstorm.scenario.flow import CwdOptions, ListOptions, PasvOnlyOptions, RetrOptions, StorOptions, ThinkOptions
from ftpstorm.vocabulary import FailureClass, Operation, Phase

if TYPE_CHECKING:
    from ftpstorm.engine.session import Session


async def login(session: Session, options: Any) -> None:
    """USER, PASS where asked for, TYPE I (RFC 959 section 5.4)."""
    work = session.work
    timeout_ns = work.timeouts.reply
    session.send(encode("USER", work.user), Phase.LOGIN)
    reply = await session.reply(Phase.LOGIN, timeout_ns)
    if reply.code == 331:
        session.send(encode("PASS", work.password), Phase.LOGIN)
        reply = await session.reply(Phase.LOGIN, timeout_ns)
    if reply.code not in (230, 202):
        raise _login_refused(session, reply)
    session.login_ns = session.now
    await execute(session, TYPE_I, Phase.COMMAND)


def _login_refused(session: Session, reply: Reply) -> StepFailedError:
    if reply.code == 421 and session.control is not None:
        session.control.close()
    if reply.code == 332:  # needs an account, which no scenario can give
        return failed_by_reply(Phase.LOGIN, reply, FailureClass.AUTH_FAILED)
    return failed_by_reply(Phase.LOGIN, reply)


async def retr(session: Session, options: RetrOptions) -> None:
    """Download a file."""
    size = session.work.file_sizes.get(options.file)
    closes_after = size if options.close.first == "client" else None
    await transfer(session, encode("RETR", options.file), options, Payload(size=size, client_closes_after=closes_after))


async def stor(session: Session, options: StorOptions) -> None:
    """Upload a file."""
    name = options.file
    if "{" in name:
        name = name.replace("{session}", str(session.number)).replace("{operation}", str(session.attempt.ordinal))
        command = encode_command("STOR", name)
    else:
        command = encode("STOR", name)
    await transfer(session, command, options, Payload(upload=options.size, size=options.size))


def _listing(verb: str) -> Callable[[Session, ListOptions], Awaitable[None]]:
    async def listing(session: Session, options: ListOptions) -> None:
        await transfer(session, encode(verb, options.path), options, Payload())

    return listing


async def pasv_only(session: Session, options: PasvOnlyOptions) -> None:
    """Ask for a passive port and never connect."""
    await ask_passive(session, options.mode)


async def cwd(session: Session, options: CwdOptions) -> None:
    """Change the directory."""
    await execute(session, encode("CWD", options.path), Phase.COMMAND)


async def noop(session: Session, options: Any) -> None:
    """Send NOOP."""
    await execute(session, NOOP, Phase.COMMAND)


async def think(session: Session, options: ThinkOptions) -> None:
    """Do nothing for a while."""
    await session.sleep_until(session.now + options.duration)


async def quit_(session: Session, options: Any) -> None:
    """Send QUIT and wait for 221; the session then waits for the server's close."""
    await execute(session, QUIT, Phase.COMMAND)
    session.quit_ns = session.now


EXECUTE: Final[dict[Operation, Callable[[Session, Any], Awaitable[None]]]] = {
    Operation.LOGIN: login,
    Operation.RETR: retr,
    Operation.STOR: stor,
    Operation.LIST: _listing("LIST"),
    Operation.NLST: _listing("NLST"),
    Operation.MLSD: _listing("MLSD"),
    Operation.PASV_ONLY: pasv_only,
    Operation.CWD: cwd,
    Operation.NOOP: noop,
    Operation.THINK: think,
    Operation.QUIT: quit_,
}
"""The script of each operation that a step can be."""
