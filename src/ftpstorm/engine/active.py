"""Active mode: listen, announce the port with PORT or EPRT, take the server's connection as the data connection.

The listener belongs to one transfer and goes with it. Moving bytes over the accepted connection is `transfers`' part.
"""

from __future__ import annotations

import errno
import socket
from _socket import socket as Socket  # noqa: N812 - see reactor.py
from typing import TYPE_CHECKING, Final

from ftpstorm.engine.commands import refused
from ftpstorm.engine.control import Wake
from ftpstorm.engine.failure import failed_by_deadline, failed_by_errno, failed_by_reply
from ftpstorm.engine.fiber import ON_CONTROL, ON_DATA, DeadlineError
from ftpstorm.engine.reactor import Reactor
from ftpstorm.engine.sockets import local_port, open_stream
from ftpstorm.ftp.commands import encode_command
from ftpstorm.ftp.endpoints import format_eprt, format_port
from ftpstorm.ftp.replies import Reply
from ftpstorm.vocabulary import DataMode, FailureClass, Phase

if TYPE_CHECKING:
    from ftpstorm.engine.session import Session

ACTIVE_MODES: Final = frozenset({"active", "eprt"})

_GONE_AGAIN: Final = frozenset({errno.EAGAIN, errno.ECONNABORTED, errno.EINTR})
"""What accept(2) says of a connection that is not there, or no longer."""


class ActivePorts:
    """Where listeners of active mode get their ports: from the kernel, or in turn from a range of the scenario's.

    They are bound without SO_REUSEADDR: a port of the range is gone while a connection on it is open or in TIME_WAIT,
    as it was for the clients that the stories of active mode are about.
    """

    __slots__ = ("_first", "_next", "_ports")

    def __init__(self, ports: tuple[int, int] | None = None) -> None:
        """Take the first and the last port of the range, None for the kernel's choice."""
        self._first, last = ports or (0, 0)
        self._ports = last - self._first + 1
        self._next = 0

    def listen(self, family: int, address: str) -> Socket:
        """Return a listener on `address`. Raises OSError: EADDRINUSE when every port of the range is taken."""
        sock = open_stream(family)
        try:
            self._bind(sock, address)
            sock.listen(1)
        except OSError:
            sock.close()
            raise
        return sock

    def _bind(self, sock: Socket, address: str) -> None:
        for left in range(self._ports - 1, -1, -1):
            port = self._first + self._next
            self._next = (self._next + 1) % self._ports
            try:
                sock.bind((address, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE or not left:
                    raise
            else:
                return


class Listener:
    """One listening socket: takes the first connection from the peer, closes all others, and then itself."""

    __slots__ = (
        "_peer",
        "_reactor",
        "_sock",
        "_wake",
        "accepted",
        "accepted_ns",
        "address",
        "errno",
        "local_port",
        "port",
    )

    def __init__(self, reactor: Reactor, sock: Socket, wake: Wake, address: str, peer: str | None) -> None:
        """Watch `sock`, bound to `address`. Connections from elsewhere than `peer` are closed; None allows all."""
        self._reactor = reactor
        self._sock: Socket | None = sock
        self._wake = wake
        self._peer = peer
        self.address = address
        self.local_port = local_port(sock)
        self.accepted: Socket | None = None
        """The connection; whoever takes it owns it."""
        self.accepted_ns = 0
        self.port = 0
        """Remote port of the connection."""
        self.errno = 0
        """Why accept(2) cannot go on (out of files or memory)."""
        reactor.watch(sock, self)

    def on_event(self, events: int, now: int) -> None:
        """Take one event of the reactor."""
        sock = self._sock
        while sock is not None and self.accepted is None:
            try:
                fd, address = sock._accept()  # type: ignore[attr-defined]  # what socket.accept is made of
            except OSError as error:
                if error.errno not in _GONE_AGAIN:
                    self.errno = error.errno or errno.EIO
                    self._wake(now)
                return
            connection = Socket(sock.family, sock.type, sock.proto, fd)
            connection.setblocking(False)
            if self._peer is not None and address[0] != self._peer:
                connection.close()
                continue
            self.accepted, self.accepted_ns, self.port = connection, now, int(address[1])
            self._wake(now)

    def close(self) -> None:
        """Stop listening, and close a connection that nobody took; closing twice is allowed."""
        if self._sock is not None:
            self._reactor.close_later(self._sock)
            self._sock = None
        if self.accepted is not None:
            self.accepted.close()
            self.accepted = None

    def take(self) -> Socket:
        """Return the connection and stop listening."""
        accepted, self.accepted = self.accepted, None
        assert accepted is not None
        self.close()
        return accepted


def listen(session: Session) -> Listener:
    """Listen for the server's data connection, on the address that data connections of this session have.

    Raises StepFailedError: local-ports-exhausted when the range of `client.active_ports` is used up.
    """
    work = session.work
    control = session.control
    assert control is not None
    peer = None if work.pasv_address == "reply" else work.targets[session.target][0]
    try:
        address = work.data_sources[session.source].address or control.local_address
        sock = work.active_ports.listen(work.family, address)
    except OSError as error:
        raise failed_by_errno(Phase.DATA_CONNECT, error.errno or 0) from None
    return Listener(work.reactor, sock, session.wake_data, address, peer)


async def announce(session: Session, listener: Listener, mode: str) -> None:
    """Send PORT (RFC 959) or EPRT (RFC 2428) and wait for its 200."""
    work = session.work
    if mode == "eprt" or work.family == socket.AF_INET6:
        session.data_mode = DataMode.EPRT
        command = encode_command("EPRT", format_eprt(listener.address, listener.local_port))
    else:
        session.data_mode = DataMode.PORT
        command = encode_command("PORT", format_port(listener.address, listener.local_port))
    session.send(command, Phase.PASSIVE)
    reply = await session.reply(Phase.PASSIVE, work.reply_ns)
    if not 200 <= reply.code < 300:
        raise _port_refused(session, reply)
    session.passive_ns = session.now


def _port_refused(session: Session, reply: Reply) -> Exception:
    """Name a refusal of PORT or EPRT. No passive port was asked for, so no pool of them can be exhausted."""
    if reply.code == 421:
        assert session.control is not None
        session.control.close()
        return failed_by_reply(Phase.PASSIVE, reply, FailureClass.CONTROL_LOST)
    if reply.code == 425:
        return failed_by_reply(Phase.PASSIVE, reply, FailureClass.DATA_NOT_ESTABLISHED)
    return refused(session, Phase.PASSIVE, reply)


async def await_server(session: Session, listener: Listener) -> None:
    """Wait until the server has connected. The transfer command is out, so its refusal may come instead.

    A 1xx, and a 2xx that was faster than the connection, stay unread for the transfer.
    """
    control = session.control
    assert control is not None
    deadline_ns = session.now + session.work.connect_ns
    try:
        while listener.accepted is None:
            if listener.errno:
                raise failed_by_errno(Phase.DATA_CONNECT, listener.errno)
            refusal = next((reply for reply in control.replies if reply.code >= 300), None)
            if refusal is not None:
                while session.take_reply() is not refusal:
                    pass
                raise refused(session, Phase.FIRST_BYTE, refusal)
            if control.ended:
                raise session.control_ended(Phase.FIRST_BYTE)
            await session.wait(ON_DATA | ON_CONTROL, deadline_ns)
    except DeadlineError:
        raise failed_by_deadline(Phase.DATA_CONNECT) from None
