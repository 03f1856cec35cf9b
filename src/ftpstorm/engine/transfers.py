"""Move bytes over a data connection: connect, send the command, wait for the end of data and the final reply."""

from __future__ import annotations

from _socket import socket as Socket  # noqa: N812 - see reactor.py
from typing import TYPE_CHECKING

from ftpstorm.engine.active import ACTIVE_MODES, announce, await_server, listen
from ftpstorm.engine.commands import ANNOUNCEMENTS_MAX, encode, refused
from ftpstorm.engine.data import Data
from ftpstorm.engine.failure import (
    StepFailedError,
    failed_by_data_tls,
    failed_by_deadline,
    failed_by_errno,
    failed_by_reply,
)
from ftpstorm.engine.fiber import ON_CONTROL, ON_DATA, DeadlineError
from ftpstorm.engine.passive import ask_passive
from ftpstorm.engine.scarcity import failed_connect, refuse_if_scarce
from ftpstorm.engine.secure import CLOSE_GRACE_NS, SecureData
from ftpstorm.engine.sockets import IN_PROGRESS, connect_from, open_stream
from ftpstorm.ftp.replies import Reply
from ftpstorm.scenario.flow import TransferOptions
from ftpstorm.vocabulary import DataMode, FailureClass, Phase

if TYPE_CHECKING:
    from ftpstorm.engine.session import Session
    from ftpstorm.engine.verification import Check


def _watch(session: Session, sock: Socket, plan: Payload, *, half: bool) -> Data:
    """Make `sock` the data connection of this attempt."""
    work = session.work
    if work.tls is None or not work.tls.protect:
        data = Data(work.reactor, sock, session.wake_data, plan.client_closes_after)
    else:
        data = SecureData(work.reactor, sock, session.wake_data, plan.client_closes_after, counts=work.journal.counts)
    if plan.check is not None:
        data.check = plan.check
    if half:
        data.half = True
    session.attempt.data = data
    return data


async def _connect_data(session: Session, endpoint: tuple[str, int], plan: Payload, *, half: bool) -> Data:
    """Connect to `endpoint`; a reply or the end of control meanwhile is left for the transfer to read."""
    phase = Phase.DATA_CONNECT
    work = session.work
    source = work.data_sources[session.source]
    if work.scarcity is not None:
        refuse_if_scarce(work, phase, (source, *endpoint), session.now)
    try:
        sock = open_stream(work.family)
    except OSError as error:
        raise failed_by_errno(phase, error.errno or 0) from None
    number = connect_from(sock, source, endpoint)
    if number not in IN_PROGRESS:
        sock.close()
        raise failed_connect(work, phase, (source, *endpoint), number, session.now)
    session.connects += 1
    data = _watch(session, sock, plan, half=half)
    deadline_ns = session.now + work.timeouts.connect
    try:
        while not data.connected:
            if data.ended:
                raise failed_by_errno(phase, data.errno)
            await session.wait(ON_DATA, deadline_ns)
    except DeadlineError:
        raise failed_by_deadline(phase) from None
    return data


async def _be_connected(session: Session, mode: str, command: bytes, plan: Payload, *, half: bool) -> Data:
    """Active mode: announce a port, send the command, and take the connection that the server makes."""
    listener = listen(session)
    try:
        await announce(session, listener, mode)
        if plan.offset:
            await _restart_at(session, plan.offset)
        session.send(command, Phase.FIRST_BYTE)
        try:
            await await_server(session, listener)
        except StepFailedError as failure:
            if failure.failure is FailureClass.DATA_CONNECT_TIMEOUT:
                listener.close()  # a connect that still comes is refused, which hastens the server's word
                await _resynchronise(session, None)
            raise
        session.attempt.passive_port = listener.port
        data = _watch(session, listener.take(), plan, half=half)
        data.connected, data.connected_ns = True, listener.accepted_ns
        return data
    finally:
        listener.close()


async def _restart_at(session: Session, offset: int) -> None:
    """Send REST (RFC 3659 section 5), which belongs right before the transfer command."""
    session.send(encode("REST", str(offset)), Phase.COMMAND)
    reply = await session.reply(Phase.COMMAND, session.work.timeouts.reply)
    if reply.code != 350:
        raise refused(session, Phase.COMMAND, reply)


async def open_transfer(session: Session, command: bytes, options: TransferOptions, plan: Payload) -> Data:
    """Open a data connection and send the transfer command; its replies are left to read."""
    mode = options.mode or session.work.mode
    half = options.close.with_ == "half"
    if mode in ACTIVE_MODES:
        return await _be_connected(session, mode, command, plan, half=half)
    endpoint = await ask_passive(session, mode)
    data = await _connect_data(session, endpoint, plan, half=half)
    if plan.offset:
        await _restart_at(session, plan.offset)
    session.send(command, Phase.FIRST_BYTE)
    return data


async def transfer(session: Session, command: bytes, options: TransferOptions, plan: Payload) -> None:
    """Open a data connection, send the transfer command, and wait for the end of data and the final reply."""
    mode = options.mode or session.work.mode
    if plan.offset or mode in ACTIVE_MODES:
        data = await open_transfer(session, command, options, plan)
    else:  # what `open_transfer` does, without one more coroutine for each of a million transfers
        endpoint = await ask_passive(session, mode)
        data = await _connect_data(session, endpoint, plan, half=options.close.with_ == "half")
        session.send(command, Phase.FIRST_BYTE)
    final = await _move(session, data, plan, reset=options.close.with_ == "rst")
    if final is None:
        final = await _final_reply(session, session.work.timeouts.data)
    if not 200 <= final.code < 300:
        raise _refused(session, data, Phase.FINAL_REPLY, final)
    if plan.size is not None and data.bytes != plan.size:
        raise StepFailedError(FailureClass.TRANSFER_SHORT, Phase.TRANSFER, code=final.code, text=final.text)
    if plan.check is not None and not plan.check.holds:
        raise StepFailedError(FailureClass.TRANSFER_CORRUPT, Phase.TRANSFER, code=final.code)
    declared = session.work.passive_range
    attempt = session.attempt
    if (
        declared is not None
        and not declared[0] <= attempt.passive_port <= declared[1]
        and attempt.mode in (DataMode.PASV, DataMode.EPSV)
    ):
        raise StepFailedError(FailureClass.PASSIVE_OUT_OF_RANGE, Phase.PASSIVE)


class Payload:
    """What a transfer moves: `upload` bytes to send, or a download of `size` bytes where that is known.

    `offset` is where in the file it begins; `check` sees the bytes of a download.
    """

    __slots__ = ("check", "client_closes_after", "offset", "size", "upload")

    def __init__(
        self,
        *,
        upload: int | None = None,
        size: int | None = None,
        client_closes_after: int | None = None,
        offset: int = 0,
        check: Check | None = None,
    ) -> None:
        self.upload = upload
        self.size = size
        self.client_closes_after = client_closes_after
        self.offset = offset
        self.check = check


async def _move(session: Session, data: Data, plan: Payload, *, reset: bool) -> Reply | None:
    """Move the payload; return the final reply if it came with or before the end of data.

    150 may come before or after the connection is accepted, 226 before the last byte: only what each means counts,
    not the order between the two connections.
    """
    control = session.control
    assert control is not None
    final: Reply | None = None
    uploading = False
    secure = data if isinstance(data, SecureData) else None
    deadline_ns = session.now + session.work.timeouts.data
    while True:
        while control.replies and final is None:
            reply = session.take_reply()
            if secure is not None:
                _advance(session, secure, reply)
            if reply.code >= 200:
                final = reply
            elif plan.upload is not None and not uploading:
                uploading = True
                data.start_upload(plan.upload, session.now)
        if final is not None and (final.code >= 300 or (plan.upload is not None and not uploading)):
            raise _refused(session, data, phase_of(data), final)
        if data.ended:
            break
        if final is None and control.ended:
            raise session.control_ended(phase_of(data))
        try:
            until_ns = data.end_ns + CLOSE_GRACE_NS if data.complete else deadline_ns
            await session.wait(ON_DATA | (0 if final else ON_CONTROL), until_ns)
        except DeadlineError:
            if data.complete:
                break
            failure = failed_by_deadline(phase_of(data))
            data.close(reset=True)
            raise await _broken(session, data, failure, final) from None
    data.close(reset=reset)
    if data.errno:
        raise await _broken(session, data, failed_by_errno(phase_of(data), data.errno), final)
    return final


async def _final_reply(session: Session, timeout_ns: int) -> Reply:
    """Return the reply that ends a transfer, past any 1xx before it."""
    control = session.control
    assert control is not None
    for _ in range(ANNOUNCEMENTS_MAX + 1):
        if not control.replies:
            # A server that wrote 150 and 226 apart may hold back the 226 (Nagle) until its 150 is acknowledged, and
            # our kernel would wait 40 ms before it does.
            control.acknowledge()
        reply = await session.reply(Phase.FINAL_REPLY, timeout_ns)
        if reply.code >= 200:
            return reply
    control.close()  # its next reply could be anything's
    raise failed_by_reply(Phase.FINAL_REPLY, reply, FailureClass.PROTOCOL_ERROR)


def _advance(session: Session, data: SecureData, reply: Reply) -> None:
    """Take a transfer's reply as TLS on the data connection needs it: a mark to begin, or the confirmation."""
    work, control = session.work, session.control
    assert work.tls is not None
    assert control is not None
    assert control.tls is not None
    if reply.code < 300 and data.tls is None and not data.ended:
        data.begin(work.tls.open_data(control.tls), session.now)
    if 200 <= reply.code < 300:
        data.confirm(session.now)


def _refused(session: Session, data: Data, phase: Phase, final: Reply) -> StepFailedError:
    """Name a transfer's refusal. On a data connection under TLS, 425 is about TLS: TCP was established.

    proftpd says it, "Operation not permitted", to one that does not resume the control connection's session.
    """
    failure = refused(session, phase, final)
    if final.code == 425 and isinstance(data, SecureData) and data.tls is not None:
        failure.failure = FailureClass.DATA_TLS
    return failure


async def _broken(session: Session, data: Data, failure: StepFailedError, final: Reply | None) -> StepFailedError:
    """Hear the server's word on a broken transfer; return `failure`, or TLS's own where TLS is what broke it."""
    said = await _resynchronise(session, final)
    if isinstance(data, SecureData) and data.tls is not None:
        if said is not None and said.code in (425, 522):
            return failed_by_reply(failure.phase, said, FailureClass.DATA_TLS)
        if data.tls.failure is not None or not data.established:
            return failed_by_data_tls(failure.phase, data.tls)
    return failure


def take_mark(session: Session, data: Data, plan: Payload, reply: Reply, *, started: bool) -> bool:
    """Begin an upload, or TLS, where `reply` is the mark to; return whether the upload has begun."""
    if isinstance(data, SecureData):
        _advance(session, data, reply)
    if started or plan.upload is None or reply.code >= 200:
        return started
    data.start_upload(plan.upload, session.now)
    return True


def phase_of(data: Data) -> Phase:
    """Return the phase that a transfer is in."""
    return Phase.TRANSFER if data.bytes else Phase.FIRST_BYTE


async def _resynchronise(session: Session, final: Reply | None) -> Reply | None:
    """After a broken transfer, read and return the server's word on it: the next reply is then the next command's."""
    if final is not None:
        return final
    try:
        return await _final_reply(session, session.work.timeouts.reply)
    except StepFailedError:
        return None  # control is gone as well; the transfer's own failure is the one to report
