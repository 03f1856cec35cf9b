"""Move bytes over a data connection: connect, send the command, wait for the end of data and the final reply."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftpstorm.engine.commands import refused
from ftpstorm.engine.data import Data
from ftpstorm.engine.failure import StepFailedError, failed_by_deadline, failed_by_errno
from ftpstorm.engine.fiber import ON_CONTROL, ON_DATA, DeadlineError
from ftpstorm.engine.passive import ask_passive
from ftpstorm.engine.sockets import IN_PROGRESS, connect_from, open_stream
from ftpstorm.ftp.replies import Reply
from ftpstorm.scenario.flow import TransferOptions
from ftpstorm.vocabulary import FailureClass, Phase

if TYPE_CHECKING:
    from ftpstorm.engine.session import Session


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


async def transfer(session: Session, command: bytes, options: TransferOptions, plan: Payload) -> None:
    """Open a data connection, send the transfer command, and wait for the end of data and the final reply."""
    endpoint = await ask_passive(session, options.mode)
    data = await _connect_data(session, endpoint, plan.client_closes_after)
    session.send(command, Phase.FIRST_BYTE)
    final = await _move(session, data, plan, reset=options.close.with_ == "rst")
    if final is None:
        final = await _final_reply(session, session.work.timeouts.data)
    if not 200 <= final.code < 300:
        raise refused(session, Phase.FINAL_REPLY, final)
    if plan.size is not None and data.bytes != plan.size:
        raise StepFailedError(FailureClass.TRANSFER_SHORT, Phase.TRANSFER, code=final.code, text=final.text)
    declared = session.work.passive_range
    if declared is not None and not declared[0] <= session.attempt.passive_port <= declared[1]:
        raise StepFailedError(FailureClass.PASSIVE_OUT_OF_RANGE, Phase.PASSIVE)


class Payload:
    """What a transfer moves: `upload` bytes to send, or a download of `size` bytes where that is known."""

    __slots__ = ("client_closes_after", "size", "upload")

    def __init__(
        self, *, upload: int | None = None, size: int | None = None, client_closes_after: int | None = None
    ) -> None:
        self.upload = upload
        self.size = size
        self.client_closes_after = client_closes_after


async def _move(session: Session, data: Data, plan: Payload, *, reset: bool) -> Reply | None:
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
            raise refused(session, _phase(data), final)
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
