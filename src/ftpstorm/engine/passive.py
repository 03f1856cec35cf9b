"""Ask the server for a passive port: EPSV, PASV, or EPSV with fallback, under the scenario's policy for addresses."""

from __future__ import annotations

import types
from collections.abc import Generator
from socket import AF_INET6
from typing import TYPE_CHECKING, Final

from ftpstorm.engine.commands import EPSV, PASV, refused
from ftpstorm.engine.failure import StepFailedError, failed_by_reply
from ftpstorm.ftp.endpoints import EndpointError, parse_epsv, parse_pasv
from ftpstorm.ftp.replies import REMEMBERED_BYTES, REMEMBERED_MAX, Reply
from ftpstorm.vocabulary import DataMode, FailureClass, Phase

if TYPE_CHECKING:
    from ftpstorm.engine.session import Session

EPSV_REFUSED: Final = frozenset({500, 501, 502, 504, 522})
"""Replies to EPSV after which `auto` falls back to PASV, for this session and the ones after it."""

_PASSIVE: Final = Phase.PASSIVE  # plain names: see recording.py
_EPSV_MODE: Final = DataMode.EPSV

_endpoints: Final[dict[bytes, tuple[str | None, int]]] = {}
"""What replies to PASV and EPSV named, by their bytes: a server gives the ports of its range over and over."""

PASV_KNOWS_IPV4: Final = "PASV cannot name an IPv6 address (RFC 2428); nothing was sent: use mode epsv or auto"


@types.coroutine
def ask_passive(session: Session, mode: str) -> Generator[None, int, tuple[str, int]]:
    """Ask for a passive port in `mode` (epsv, pasv or auto); return where to connect."""
    work = session.work
    if mode == "epsv" or (mode == "auto" and not work.prefer_pasv):
        session.data_mode = _EPSV_MODE
        session.send(EPSV, _PASSIVE)
        reply = yield from session.reply(_PASSIVE, work.reply_ns)
        if reply[0] == 229:
            return _endpoint(session, reply)
        fallback = mode == "auto" and work.family != AF_INET6
        if not fallback or reply.code not in EPSV_REFUSED or b"OOPS" in reply.raw:
            raise refused(session, Phase.PASSIVE, reply)
        work.prefer_pasv = True
    session.data_mode = DataMode.PASV
    if work.family == AF_INET6:
        raise StepFailedError(FailureClass.UNSUPPORTED, Phase.PASSIVE, text=PASV_KNOWS_IPV4)
    session.send(PASV, Phase.PASSIVE)
    reply = yield from session.reply(_PASSIVE, work.reply_ns)
    if reply.code != 227:
        raise refused(session, Phase.PASSIVE, reply)
    return _endpoint(session, reply)


def _endpoint(session: Session, reply: Reply) -> tuple[str, int]:
    """Return where a 227 or 229 says to connect, under the scenario's policy for foreign addresses."""
    work = session.work
    peer = work.targets[session.target][0]
    control = session.control
    assert control is not None
    if control.torn and not control.replies:  # what is left of it may still look like a port, and be another one
        raise session.control_ended(Phase.PASSIVE)
    said = reply[1]
    told = _endpoints.get(said)
    if told is None:
        try:
            told = (None, parse_epsv(said)) if reply[0] == 229 else parse_pasv(said)
        except EndpointError:
            raise failed_by_reply(Phase.PASSIVE, reply, FailureClass.PROTOCOL_ERROR) from None
        if len(_endpoints) < REMEMBERED_MAX and len(said) <= REMEMBERED_BYTES:
            _endpoints[said] = told
    host, port = told
    session.passive_ns = session.now
    session.passive_port = port
    if host is None or host == peer:
        return peer, port
    work.journal.counts.foreign_hosts += 1
    if work.pasv_address == "refuse":
        raise failed_by_reply(Phase.PASSIVE, reply, FailureClass.PROTOCOL_ERROR)
    return (host if work.pasv_address == "reply" else peer), port
