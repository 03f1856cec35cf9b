"""What each step does on the wire: one coroutine for each operation of a flow.

A coroutine here sends its commands, waits, and returns when the server has confirmed; anything else is raised as
StepFailedError, named by phase. Records, retries and what follows a failure belong to the session.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from ftpstorm.engine.data import Data
from ftpstorm.engine.failure import (
    StepFailedError,
    failed_by_deadline,
    failed_by_errno,
    failed_by_reply,
)
from ftpstorm.engine.fiber import ON_CONTROL, ON_DATA, DeadlineError
from ftpstorm.engine.sockets import IN_PROGRESS, connect_from, open_stream
from ftpstorm.ftp.commands import encode_command
from ftpstorm.ftp.endpoints import EndpointError, parse_epsv, parse_pasv
from ftpstorm.ftp.replies import Reply
from ftpstorm.scenario.flow import (
    CwdOptions,
    ListOptions,
    PasvOnlyOptions,
    RetrOptions,
    StorOptions,
    ThinkOptions,
    TransferOptions,
)
from ftpstorm.vocabulary import DataMode, FailureClass, Operation, Phase

if TYPE_CHECKING:
    from ftpstorm.engine.session import Session

EPSV_REFUSED: Final = frozenset({500, 501, 502, 504, 522})
"""Replies to EPSV after which `auto` falls back to PASV, for this session and the ones after it."""

encode = lru_cache(maxsize=4096)(encode_command)

EPSV: Final = encode_command("EPSV")
PASV: Final = encode_command("PASV")
QUIT: Final = encode_command("QUIT")
NOOP: Final = encode_command("NOOP")
TYPE_I: Final = encode_command("TYPE", "I")


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
    await _command(session, TYPE_I, Phase.COMMAND)


def _login_refused(session: Session, reply: Reply) -> StepFailedError:
    if reply.code == 421 and session.control is not None:
        session.control.close()
    if reply.code == 332:  # needs an account, which no scenario can give
        return failed_by_reply(Phase.LOGIN, reply, FailureClass.AUTH_FAILED)
    return failed_by_reply(Phase.LOGIN, reply)


async def _command(session: Session, command: bytes, phase: Phase) -> Reply:
    """Send a command that takes no data connection; return its 2xx reply."""
    session.send(command, phase)
    reply = await session.reply(phase, session.work.timeouts.reply)
    if not 200 <= reply.code < 300:
        raise _refused(session, phase, reply)
    return reply


def _refused(session: Session, phase: Phase, reply: Reply) -> StepFailedError:
    """Name a refusal; 421 announces that the server closes control (RFC 959), except where it means a full pool."""
    if reply.code == 421 and phase is not Phase.PASSIVE and session.control is not None:
        session.control.close()
    return failed_by_reply(phase, reply)


# --- data connections -------------------------------------------------------------------------------------------------


async def _ask_passive(session: Session, wanted: str | None) -> tuple[str, int]:
    """Ask for a passive port; return where to connect."""
    work = session.work
    attempt = session.attempt
    mode = wanted or work.mode
    if mode == "epsv" or (mode == "auto" and not work.prefer_pasv):
        attempt.mode = DataMode.EPSV
        session.send(EPSV, Phase.PASSIVE)
        reply = await session.reply(Phase.PASSIVE, work.timeouts.reply)
        if reply.code == 229:
            return _endpoint(session, reply)
        if mode != "auto" or reply.code not in EPSV_REFUSED or b"OOPS" in reply.raw:
            raise _refused(session, Phase.PASSIVE, reply)
        work.prefer_pasv = True
    attempt.mode = DataMode.PASV
    session.send(PASV, Phase.PASSIVE)
    reply = await session.reply(Phase.PASSIVE, work.timeouts.reply)
    if reply.code != 227:
        raise _refused(session, Phase.PASSIVE, reply)
    return _endpoint(session, reply)


def _endpoint(session: Session, reply: Reply) -> tuple[str, int]:
    """Return where a 227 or 229 says to connect, under the scenario's policy for foreign addresses."""
    work = session.work
    attempt = session.attempt
    peer = work.targets[session.target][0]
    try:
        if reply.code == 229:
            host, port = peer, parse_epsv(reply.raw)
        else:
            host, port = parse_pasv(reply.raw)
    except EndpointError:
        raise failed_by_reply(Phase.PASSIVE, reply, FailureClass.PROTOCOL_ERROR) from None
    attempt.passive_ns = session.now
    attempt.passive_port = port
    if host != peer and work.pasv_address != "reply":
        if work.pasv_address == "refuse":
            raise failed_by_reply(Phase.PASSIVE, reply, FailureClass.PROTOCOL_ERROR)
        host = peer
    return host, port


async def _connect_data(session: Session, endpoint: tuple[str, int], expected: int | None) -> Data:
    """Connect to `endpoint`; a reply or the end of control meanwhile is left for the transfer to read."""
    phase = Phase.DATA_CONNECT
    work = session.work
    try:
        sock = open_stream(work.family)
    except OSError as error:
        raise failed_by_errno(phase, error.errno or 0) from None
    number = connect_from(sock, work.sources[session.source], endpoint)
    if number not in IN_PROGRESS:
        sock.close()
        raise failed_by_errno(phase, number)
    session.connects += 1
    data = session.attempt.data = Data(work.reactor, sock, session.wake_data, expected)
    deadline_ns = session.now + work.timeouts.connect
    try:
        while not data.connected:
            if data.ended:
                raise failed_by_errno(phase, data.errno)
            await session.wait(ON_DATA, deadline_ns)
    except DeadlineError:
        raise failed_by_deadline(phase) from None
    return data


async def _transfer(session: Session, command: bytes, options: TransferOptions, plan: _Payload) -> None:
    """Open a data connection, send the transfer command, and wait for the end of data and the final reply."""
    endpoint = await _ask_passive(session, options.mode)
    data = await _connect_data(session, endpoint, plan.client_closes_after)
    session.send(command, Phase.FIRST_BYTE)
    final = await _move(session, data, plan, reset=options.close.with_ == "rst")
    if final is None:
        final = await _final_reply(session, session.work.timeouts.data)
    if not 200 <= final.code < 300:
        raise _refused(session, Phase.FINAL_REPLY, final)
    if plan.size is not None and data.bytes != plan.size:
        raise StepFailedError(FailureClass.TRANSFER_SHORT, Phase.TRANSFER, code=final.code, text=final.text)
    declared = session.work.passive_range
    if declared is not None and not declared[0] <= session.attempt.passive_port <= declared[1]:
        raise StepFailedError(FailureClass.PASSIVE_OUT_OF_RANGE, Phase.PASSIVE)


class _Payload:
    """What a transfer moves: `upload` bytes to send, or a download of `size` bytes where that is known."""

    __slots__ = ("client_closes_after", "size", "upload")

    def __init__(
        self, *, upload: int | None = None, size: int | None = None, client_closes_after: int | None = None
    ) -> None:
        self.upload = upload
        self.size = size
        self.client_closes_after = client_closes_after


async def _move(session: Session, data: Data, plan: _Payload, *, reset: bool) -> Reply | None:
    """Move the payload; return the final reply if it came with or before the end of data.

    150 may come before or after the connection is accepted, 226 before the last byte: only what each means counts,
    not the order between the two connections.
    """
    control = session.control
    assert control is not None
    final: Reply | None = None
    uploading = False
    deadline_ns = session.now + session.work.timeouts.data
    while True:
        while control.replies and final is None:
            reply = session.take_reply()
            if reply.code >= 200:
                final = reply
            elif plan.upload is not None and not uploading:
                uploading = True
                data.start_upload(plan.upload, session.now)
        if final is not None and (final.code >= 300 or (plan.upload is not None and not uploading)):
            raise _refused(session, _phase(data), final)
        if data.ended:
            break
        if final is None and control.ended:
            raise session.control_ended(_phase(data))
        try:
            await session.wait(ON_DATA | (0 if final else ON_CONTROL), deadline_ns)
        except DeadlineError:
            failure = failed_by_deadline(_phase(data))
            data.close(reset=True)
            await _resynchronise(session, final)
            raise failure from None
    data.close(reset=reset)
    if data.errno:
        failure = failed_by_errno(_phase(data), data.errno)
        await _resynchronise(session, final)
        raise failure
    return final


async def _final_reply(session: Session, timeout_ns: int) -> Reply:
    """Return the reply that ends a transfer, past any 1xx before it."""
    control = session.control
    assert control is not None
    while True:
        if not control.replies:
            # A server that wrote 150 and 226 apart may hold back the 226 (Nagle) until its 150 is acknowledged, and
            # our kernel would wait 40 ms before it does.
            control.acknowledge()
        reply = await session.reply(Phase.FINAL_REPLY, timeout_ns)
        if reply.code >= 200:
            return reply


def _phase(data: Data) -> Phase:
    return Phase.TRANSFER if data.bytes else Phase.FIRST_BYTE


async def _resynchronise(session: Session, final: Reply | None) -> None:
    """After a broken transfer, read the server's word on it, so that the next command's reply is the next command's."""
    if final is not None:
        return
    try:
        await _final_reply(session, session.work.timeouts.reply)
    except StepFailedError:
        return  # control is gone as well; the transfer's own failure is the one to report


async def retr(session: Session, options: RetrOptions) -> None:
    """Download a file."""
    size = session.work.file_sizes.get(options.file)
    closes_after = size if options.close.first == "client" else None
    await _transfer(
        session, encode("RETR", options.file), options, _Payload(size=size, client_closes_after=closes_after)
    )


async def stor(session: Session, options: StorOptions) -> None:
    """Upload a file."""
    name = options.file
    if "{" in name:
        name = name.replace("{session}", str(session.number)).replace("{operation}", str(session.attempt.ordinal))
        command = encode_command("STOR", name)
    else:
        command = encode("STOR", name)
    await _transfer(session, command, options, _Payload(upload=options.size, size=options.size))


def _listing(verb: str) -> Callable[[Session, ListOptions], Awaitable[None]]:
    async def listing(session: Session, options: ListOptions) -> None:
        await _transfer(session, encode(verb, options.path), options, _Payload())

    return listing


async def pasv_only(session: Session, options: PasvOnlyOptions) -> None:
    """Ask for a passive port and never connect."""
    await _ask_passive(session, options.mode)


async def cwd(session: Session, options: CwdOptions) -> None:
    """Change the directory."""
    await _command(session, encode("CWD", options.path), Phase.COMMAND)


async def noop(session: Session, options: Any) -> None:
    """Send NOOP."""
    await _command(session, NOOP, Phase.COMMAND)


async def think(session: Session, options: ThinkOptions) -> None:
    """Do nothing for a while."""
    await session.sleep_until(session.now + options.duration)


async def quit_(session: Session, options: Any) -> None:
    """Send QUIT and wait for 221; the session then waits for the server's close."""
    await _command(session, QUIT, Phase.COMMAND)
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
