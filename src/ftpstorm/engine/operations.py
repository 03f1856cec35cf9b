"""What each step does on the wire: one coroutine for each operation of a flow.

A coroutine here sends its commands, waits, and returns when the server has confirmed; anything else is raised as
StepFailedError, named by phase. Records, retries and what follows a failure belong to the session.
"""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, Final

from ftpstorm.engine.aborting import abort
from ftpstorm.engine.active import ACTIVE_MODES
from ftpstorm.engine.commands import NOOP, QUIT, TYPE_I, encode, execute
from ftpstorm.engine.failure import StepFailedError, failed_by_reply
from ftpstorm.engine.fiber import NEVER
from ftpstorm.engine.filling import options_of
from ftpstorm.engine.holding import Stay, hold
from ftpstorm.engine.passive import ask_passive
from ftpstorm.engine.transfers import Transfer, transfer
from ftpstorm.engine.verification import ask_size, check_of, known_size
from ftpstorm.engine.work import Script, Work
from ftpstorm.ftp.replies import Reply
from ftpstorm.plan.plan import PlannedStep
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

Run = Callable[["Session", Any], Awaitable[Any]]

_LOGIN: Final = Phase.LOGIN  # plain names: see recording.py
_COMMAND: Final = Phase.COMMAND


@types.coroutine
def login(session: Session, options: Any) -> Generator[None, int, None]:
    """USER, PASS where asked for, TYPE I (RFC 959 section 5.4)."""
    work = session.work
    timeout_ns = work.reply_ns
    user, password = (work.user, work.password) if work.accounts is None else work.accounts.of(session.number)
    session.send(encode("USER", user), _LOGIN)
    reply = yield from session.reply(_LOGIN, timeout_ns)
    if reply[0] == 331:
        session.send(encode("PASS", password), _LOGIN)
        reply = yield from session.reply(_LOGIN, timeout_ns)
    if reply[0] not in (230, 202):
        raise _login_refused(session, reply)
    session.login_ns = session.now
    yield from execute(session, TYPE_I, _COMMAND)


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
    await transfer(session, _download(session.work, options, file, size))


def _download(work: Work, options: RetrOptions, file: str, size: int | None) -> Transfer:
    if options.offset and size is not None:
        size = max(0, size - options.offset)
    return Transfer(
        work,
        encode("RETR", file),
        options,
        size=size,
        closes_after=size if options.close.first == "client" else None,
        offset=options.offset,
        check=check_of(options.verify, options.offset),
    )


async def stor(session: Session, options: StorOptions) -> None:
    """Upload a file."""
    await transfer(session, _upload(session.work, options))
    if options.verify is not None:
        wanted = options.offset + int(options.size)  # type: ignore[arg-type]
        if (there := await ask_size(session, str(options.file))) != wanted:
            text = f"SIZE says {there} after {wanted} bytes"
            raise StepFailedError(FailureClass.TRANSFER_SHORT, Phase.TRANSFER, text=text)


def _upload(work: Work, options: StorOptions) -> Transfer:
    size: int = options.size  # type: ignore[assignment]  # of a list, this session's entry
    return Transfer(work, encode("STOR", str(options.file)), options, upload=size, size=size, offset=options.offset)


async def appe(session: Session, options: AppeOptions) -> None:
    """Append to a file."""
    await transfer(session, _append(session.work, options))


def _append(work: Work, options: AppeOptions) -> Transfer:
    size: int = options.size  # type: ignore[assignment]  # of a list, this session's entry
    return Transfer(work, encode("APPE", str(options.file)), options, upload=size, size=size)


def _listing(verb: str) -> Run:
    async def listing(session: Session, options: ListOptions) -> None:
        await transfer(session, Transfer(session.work, encode(verb, options.path), options))

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


@types.coroutine
def quit_(session: Session, options: QuitOptions) -> Generator[None, int, None]:
    """Send QUIT and wait for 221; the session then waits for the server's close, unless the client is to be first."""
    yield from execute(session, QUIT, _COMMAND)
    session.quit_ns = session.now
    close = options.close
    if close.first == "client":
        assert session.control is not None
        if close.with_ == "half":
            session.control.half_close()
        else:
            session.control.close(reset=close.with_ == "rst")


EXECUTE: Final[dict[Operation, Run]] = {
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
"""The coroutine of each operation that a step can be; it gets the session and the step's options."""


def make_script(work: Work, steps: tuple[PlannedStep, ...]) -> Script:
    """Return `steps` as sessions run them. What is the same for all sessions is worked out here, once."""
    known: dict[int, tuple[Operation, Run, Any]] = {}  # a repeated step is one object however often it comes
    script = []
    for step in steps:
        entry = known.get(id(step))
        if entry is None:
            entry = known[id(step)] = (step.operation, *_prepare(work, step))
        script.append(entry)
    return tuple(script)


def _prepare(work: Work, step: PlannedStep) -> tuple[Run, Any]:
    if step.varies:
        return _filled(EXECUTE[step.operation]), step
    options = step.options
    match step.operation:
        case Operation.RETR if options.verify is None:
            return transfer, _download(work, options, options.file, work.file_sizes.get(options.file))
        case Operation.STOR if options.verify is None:
            return transfer, _upload(work, options)
        case Operation.APPE:
            return transfer, _append(work, options)
        case Operation.LIST | Operation.NLST | Operation.MLSD:
            return transfer, Transfer(work, encode(step.operation.name, options.path), options)
        case Operation.HOLD:
            return hold, Stay(work.journal.origin_ns + options.until_ns, options.noop_every_ns or NEVER)
    return EXECUTE[step.operation], options


def _filled(run: Run) -> Run:
    """Return what does a step whose options differ between sessions."""

    async def filled(session: Session, step: PlannedStep) -> None:
        await run(session, options_of(session, step))

    return filled
