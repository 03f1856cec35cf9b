"""Move bytes over a data connection: connect, send the command, wait for the end of data and the final reply."""

from __future__ import annotations

import types
from _socket import socket as Socket  # noqa: N812 - see reactor.py
from collections.abc import Generator
from typing import TYPE_CHECKING, Final, NoReturn

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
from ftpstorm.engine.fiber import ON_CONTROL, ON_DATA, ON_SILENCE, DeadlineError
from ftpstorm.engine.passive import ask_passive
from ftpstorm.engine.scarcity import failed_connect, refuse_if_scarce
from ftpstorm.engine.secure import CLOSE_GRACE_NS, SecureData
from ftpstorm.engine.sockets import IN_PROGRESS, connect_from, open_stream
from ftpstorm.ftp.replies import Reply
from ftpstorm.scenario.flow import TransferOptions
from ftpstorm.vocabulary import FailureClass, Phase

if TYPE_CHECKING:
    from ftpstorm.engine.session import Session
    from ftpstorm.engine.verification import Check
    from ftpstorm.engine.work import Work

ON_EITHER: Final = ON_CONTROL | ON_DATA | ON_SILENCE
ON_REST: Final = ON_DATA | ON_SILENCE

_DATA_CONNECT: Final = Phase.DATA_CONNECT  # plain names: see recording.py
_FIRST_BYTE: Final = Phase.FIRST_BYTE


def _watch(session: Session, sock: Socket, job: Transfer) -> Data:
    """Make `sock` the data connection of this execution."""
    work = session.work
    if work.tls is None or not work.tls.protect:
        data = Data(work.reactor, sock, session.wake_data, job.closes_after, job.check, job.half)
    else:
        given = job.closes_after, job.check, job.half
        data = SecureData(work.reactor, sock, session.wake_data, *given, counts=work.journal.counts)
    session.data = data
    return data


def _begin_to_connect(session: Session, endpoint: tuple[str, int], job: Transfer) -> Data:
    """Begin to connect to `endpoint`. Raises StepFailedError where this host cannot."""
    work = session.work
    source = work.data_sources[session.source]
    if work.scarcity is not None:
        refuse_if_scarce(work, _DATA_CONNECT, (source, *endpoint), session.now)
    try:
        sock = open_stream(work.family)
    except OSError as error:
        raise failed_by_errno(_DATA_CONNECT, error.errno or 0) from None
    number = connect_from(sock, source, endpoint)
    if number not in IN_PROGRESS:
        sock.close()
        raise failed_connect(work, _DATA_CONNECT, (source, *endpoint), number, session.now)
    session.connects += 1
    return _watch(session, sock, job)


async def _be_connected(session: Session, job: Transfer) -> Data:
    """Active mode: announce a port, send the command, and take the connection that the server makes."""
    listener = listen(session)
    try:
        await announce(session, listener, job.mode)
        if job.offset:
            await _restart_at(session, job.offset)
        session.send(job.command, _FIRST_BYTE)
        try:
            await await_server(session, listener)
        except StepFailedError as failure:
            if failure.failure is FailureClass.DATA_CONNECT_TIMEOUT:
                listener.close()  # a connect that still comes is refused, which hastens the server's word
                await _resynchronise(session, None)
            raise
        session.passive_port = listener.port
        data = _watch(session, listener.take(), job)
        data.connected, data.connected_ns = True, listener.accepted_ns
        return data
    except StepFailedError as failure:
        failure.data_port = listener.local_port
        raise
    finally:
        listener.close()


async def _restart_at(session: Session, offset: int) -> None:
    """Send REST (RFC 3659 section 5), which belongs right before the transfer command."""
    session.send(encode("REST", str(offset)), Phase.COMMAND)
    reply = await session.reply(Phase.COMMAND, session.work.reply_ns)
    if reply.code != 350:
        raise refused(session, Phase.COMMAND, reply)


class Transfer:
    """What one transfer is to do; the same for every session and step that does just that, unless it has a `check`."""

    __slots__ = (
        "active",
        "check",
        "closes_after",
        "command",
        "counts",
        "half",
        "mode",
        "offset",
        "reset",
        "size",
        "upload",
    )

    def __init__(
        self,
        work: Work,
        command: bytes,
        options: TransferOptions,
        *,
        upload: int | None = None,
        size: int | None = None,
        closes_after: int | None = None,
        offset: int = 0,
        check: Check | None = None,
    ) -> None:
        self.command = command
        self.mode: str = options.mode or work.mode
        self.active = self.mode in ACTIVE_MODES
        self.half = options.close.with_ == "half"
        self.reset = options.close.with_ == "rst"
        self.upload = upload
        """Bytes to send; None: a download."""
        self.size = size
        """Bytes that must have moved; None where nobody knows."""
        self.closes_after = closes_after
        """The client closes first, once so many bytes have come; None: the server does."""
        self.offset = offset
        """Where in the file to begin."""
        self.check = check
        """Sees the bytes of a download."""
        self.counts = check is None and (self.active or work.passive_range is None)
        """Whether it was well done once `size` bytes have moved and the server says so: nothing else is to be held."""


@types.coroutine
def open_transfer(session: Session, job: Transfer) -> Generator[None, int, Data]:
    """Open a data connection and send the transfer command; its replies are left to read."""
    if job.active:
        data: Data = yield from _be_connected(session, job)
        return data
    endpoint = yield from ask_passive(session, job.mode)
    data = _begin_to_connect(session, endpoint, job)
    deadline_ns = session.now + session.work.connect_ns
    try:
        # A reply or the end of control meanwhile is left for the transfer to read.
        while not data.connected:
            if data.ended:
                raise failed_by_errno(_DATA_CONNECT, data.errno)
            session.waiting = ON_DATA
            session.deadline_ns = deadline_ns
            session.now = yield
            session.waiting = 0
    except DeadlineError:
        raise failed_by_deadline(_DATA_CONNECT) from None
    if job.offset:
        yield from _restart_at(session, job.offset)
    session.send(job.command, _FIRST_BYTE)
    return data


@types.coroutine
def transfer(session: Session, job: Transfer) -> Generator[None, int, None]:  # noqa: C901 - see its docstring
    """Open a data connection, send the transfer command, and wait for the end of data and the final reply.

    150 may come before or after the connection is accepted, 226 before the last byte: only what each means counts,
    not the order between the two connections. One generator for all of a transfer: each level more would be passed
    through at each of its events.
    """
    data = yield from open_transfer(session, job)
    control = session.control
    assert control is not None
    replies = control.replies
    secure = data if isinstance(data, SecureData) else None
    session.deadline_ns = session.now + session.work.data_ns
    final: Reply | None = None
    begun = job.upload is None
    while True:
        while replies and final is None:
            reply = replies.pop(0)  # `take_reply`, written out
            session.reply_code = reply[0]
            session.replies_read += 1
            if secure is not None:
                _advance(session, secure, reply)
            if reply[0] >= 200:
                final = reply
            elif not begun:
                begun = True
                assert job.upload is not None
                data.start_upload(job.upload, session.now)
        if final is not None and (final[0] >= 300 or not begun):
            raise _refused(session, data, phase_of(data), final)
        if data.ended:
            break
        if control.ended and final is None:
            raise session.control_ended(phase_of(data))
        try:
            session.waiting = ON_EITHER if final is None else ON_REST
            if secure is not None and secure.complete:
                session.deadline_ns = data.end_ns + CLOSE_GRACE_NS
            session.now = yield
            session.waiting = 0
        except DeadlineError:
            if secure is not None and secure.complete:
                break
            failure = failed_by_deadline(phase_of(data))
            data.close(reset=True)
            yield from _hear_of_break(session, data, failure, final)
    data.close(reset=job.reset)
    if data.errno:
        failure = failed_by_errno(phase_of(data), data.errno)
        yield from _hear_of_break(session, data, failure, final)
    if final is None:
        final = yield from _final_reply(session, session.work.data_ns)
    if not job.counts or data.bytes != job.size or final[0] >= 300:
        _judge(session, data, job, final)


def _judge(session: Session, data: Data, job: Transfer, final: Reply) -> None:
    """Raise StepFailedError unless the transfer that has ended did what it was to do."""
    if not 200 <= final[0] < 300:
        raise _refused(session, data, Phase.FINAL_REPLY, final)
    if job.size is not None and data.bytes != job.size:
        raise StepFailedError(FailureClass.TRANSFER_SHORT, Phase.TRANSFER, code=final.code, text=final.text)
    if job.check is not None and not job.check.holds:
        raise StepFailedError(FailureClass.TRANSFER_CORRUPT, Phase.TRANSFER, code=final.code)
    declared = session.work.passive_range
    if declared is not None and not job.active and not declared[0] <= session.passive_port <= declared[1]:
        raise StepFailedError(FailureClass.PASSIVE_OUT_OF_RANGE, Phase.PASSIVE)


@types.coroutine
def _final_reply(session: Session, timeout_ns: int) -> Generator[None, int, Reply]:
    """Return the reply that ends a transfer, past any 1xx before it."""
    control = session.control
    assert control is not None
    for _ in range(ANNOUNCEMENTS_MAX + 1):
        if not control.replies:
            # A server that wrote 150 and 226 apart may hold back the 226 (Nagle) until its 150 is acknowledged, and
            # our kernel would wait 40 ms before it does.
            control.acknowledge()
        reply = yield from session.reply(Phase.FINAL_REPLY, timeout_ns)
        if reply[0] >= 200:
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


async def _hear_of_break(session: Session, data: Data, failure: StepFailedError, final: Reply | None) -> NoReturn:
    """Hear the server's word on a broken transfer; raise `failure`, or TLS's own where TLS is what broke it."""
    said = await _resynchronise(session, final)
    if isinstance(data, SecureData) and data.tls is not None:
        if said is not None and said.code in (425, 522):
            raise failed_by_reply(failure.phase, said, FailureClass.DATA_TLS)
        if data.tls.failure is not None or not data.established:
            raise failed_by_data_tls(failure.phase, data.tls)
    raise failure


def take_mark(session: Session, data: Data, job: Transfer, reply: Reply, *, started: bool) -> bool:
    """Begin an upload, or TLS, where `reply` is the mark to; return whether the upload has begun."""
    if isinstance(data, SecureData):
        _advance(session, data, reply)
    if started or job.upload is None or reply.code >= 200:
        return started
    data.start_upload(job.upload, session.now)
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
