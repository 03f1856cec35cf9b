"""What each step does on the wire: one coroutine for each operation of a flow.

A coroutine here sends its commands, waits, and returns when the server has confirmed; anything else is raised as
StepFailedError, named by phase. Records, retries and what follows a failure belong to the session.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from ftpstorm.engine.aborting import abort
from ftpstorm.engine.active import ACTIVE_MODES
from ftpstorm.engine.commands import NOOP, QUIT, TYPE_I, encode, execute
from ftpstorm.engine.failure import StepFailedError, failed_by_reply
from ftpstorm.engine.holding import hold
from ftpstorm.engine.passive import ask_passive
from ftpstorm.engine.transfers import Payload, transfer
from ftpstorm.engine.verification import ask_size, check_of, known_size
from ftpstorm.ftp.replies import Reply
from ftpstorm.scenario.flow import (
    AppeOptions,
    CwdOptions,
    DeleOptions,
    ListOptions,
    MkdOptions,
    PasvOnlyOptions,
    QuitOptions,
    RetrOptions,
    SizeOptions,
    StorOptions,
    ThinkOptions,
    TypeOptions,
)
from ftpstorm.vocabulary import FailureClass, Operation, Phase

if TYPE_CHECKING:
    from ftpstorm.engine.session import Session


async def login(session: Session, options: Any) -> None:
    """USER, PASS where asked for, TYPE I (RFC 959 section 5.4)."""
    work = session.work
    timeout_ns = work.timeouts.reply
    user, password = (work.user, work.password) if work.accounts is None else work.accounts.of(session.number)
    session.send(encode("USER", user), Phase.LOGIN)
    reply = await session.reply(Phase.LOGIN, timeout_ns)
    if reply.code == 331:
        session.send(encode("PASS", password), Phase.LOGIN)
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
    file: str = options.file  # type: ignore[assignment]  # of a list, this session's entry
    size = session.work.file_sizes.get(file)
    if options.verify is not None and size is None:
        size = await known_size(session, file)
    if options.offset and size is not None:
        size = max(0, size - options.offset)
    closes_after = size if options.close.first == "client" else None
    check = None if options.verify is None else check_of(options.verify, options.offset)
    plan = Payload(size=size, client_closes_after=closes_after, offset=options.offset, check=check)
    await transfer(session, encode("RETR", file), options, plan)


async def stor(session: Session, options: StorOptions) -> None:
    """Upload a file."""
    size: int = options.size  # type: ignore[assignment]  # of a list, this session's entry
    file = str(options.file)
    await transfer(session, encode("STOR", file), options, Payload(upload=size, size=size, offset=options.offset))
    if options.verify is not None and (there := await ask_size(session, file)) != options.offset + size:
        text = f"SIZE says {there} after {options.offset + size} bytes"
        raise StepFailedError(FailureClass.TRANSFER_SHORT, Phase.TRANSFER, text=text)


async def appe(session: Session, options: AppeOptions) -> None:
    """Append to a file."""
    size: int = options.size  # type: ignore[assignment]  # of a list, this session's entry
    await transfer(session, encode("APPE", str(options.file)), options, Payload(upload=size, size=size))


def _listing(verb: str) -> Callable[[Session, ListOptions], Awaitable[None]]:
    async def listing(session: Session, options: ListOptions) -> None:
        await transfer(session, encode(verb, options.path), options, Payload())

    return listing


async def pasv_only(session: Session, options: PasvOnlyOptions) -> None:
    """Ask for a passive port and never connect."""
    mode = options.mode or session.work.mode
    await ask_passive(session, "auto" if mode in ACTIVE_MODES else mode)


async def cwd(session: Session, options: CwdOptions) -> None:
    """Change the directory."""
    await execute(session, encode("CWD", options.path), Phase.COMMAND)


async def size(session: Session, options: SizeOptions) -> None:
    """Ask for the size of a file."""
    await execute(session, encode("SIZE", options.file), Phase.COMMAND)


async def mkd(session: Session, options: MkdOptions) -> None:
    """Make a directory."""
    await execute(session, encode("MKD", options.path), Phase.COMMAND)


async def dele(session: Session, options: DeleOptions) -> None:
    """Delete a file."""
    await execute(session, encode("DELE", options.file), Phase.COMMAND)


async def type_(session: Session, options: TypeOptions) -> None:
    """Set the representation type."""
    await execute(session, encode("TYPE", options.type), Phase.COMMAND)


async def noop(session: Session, options: Any) -> None:
    """Send NOOP."""
    await execute(session, NOOP, Phase.COMMAND)


async def think(session: Session, options: ThinkOptions) -> None:
    """Do nothing for a while."""
    await session.sleep_until(session.now + options.duration)


async def quit_(session: Session, options: QuitOptions) -> None:
    """Send QUIT and wait for 221; the session then waits for the server's close, unless the client is to be first."""
    await execute(session, QUIT, Phase.COMMAND)
    session.quit_ns = session.now
    close = options.close
    if close.first == "client":
        assert session.control is not None
        if close.with_ == "half":
            session.control.half_close()
        else:
            session.control.close(reset=close.with_ == "rst")


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
    Operation.HOLD: hold,
    Operation.APPE: appe,
    Operation.SIZE: size,
    Operation.MKD: mkd,
    Operation.DELE: dele,
    Operation.TYPE: type_,
    Operation.ABORT: abort,
}
"""The script of each operation that a step can be."""
