"""Open, bind and connect the sockets of the load; what each system call's failure means is for the caller to name."""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
import termios
from _socket import socket as Socket  # noqa: N812 - see reactor.py
from dataclasses import dataclass
from typing import Final

IP_BIND_ADDRESS_NO_PORT: Final = 24  # include/uapi/linux/in.h
IP_LOCAL_PORT_RANGE: Final = 51  # the same, from Linux 6.3 on
_LINGER_RST: Final = struct.pack("ii", 1, 0)
_STREAM: Final = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC

IN_PROGRESS: Final = frozenset({0, errno.EINPROGRESS})
"""Results of a non-blocking connect for which the kernel has sent a SYN: Tcp.ActiveOpens counted it."""


AFTER_HANDSHAKE: Final = frozenset({errno.ECONNRESET, errno.EPIPE})
"""Pending errors of a connect that say that it was established before the peer reset it: a reset that answers a SYN is
ECONNREFUSED (tcp_reset in net/ipv4/tcp_input.c). EPIPE: the peer's FIN had come before its reset."""


@dataclass(frozen=True, slots=True)
class Source:
    """How sockets of this worker get their local address.

    `address` None leaves everything to the kernel. `draw_port_at_connect` True keeps the port in the 4-tuple space;
    False draws it at bind, from the port space (ip(7), IP_BIND_ADDRESS_NO_PORT). `port_range` is what
    IP_LOCAL_PORT_RANGE takes (see `pack_port_range`); None: the kernel's range.
    """

    address: str | None = None
    draw_port_at_connect: bool = True
    port_range: bytes | None = None


def pack_port_range(first: int, last: int) -> bytes:
    """Return the value of IP_LOCAL_PORT_RANGE: the last port in the upper 16 bits, the first in the lower (ip(7))."""
    return struct.pack("=I", last << 16 | first)


def open_stream(family: int) -> Socket:
    """Return a non-blocking TCP socket. Raises OSError (EMFILE, ENFILE, ENOBUFS, ENOMEM)."""
    return Socket(family, _STREAM, 0)


def connect_from(sock: Socket, source: Source, endpoint: tuple[str, int]) -> int:
    """Bind `sock` as `source` says and begin to connect; return 0, EINPROGRESS or the errno of what failed."""
    if source.port_range is not None or source.address is not None:
        number = bind_source(sock, source)
        if number:
            return number
    return sock.connect_ex(endpoint)


def bind_source(sock: Socket, source: Source) -> int:
    """Bind `sock` as `source` says; return 0 or the errno of what failed."""
    try:
        if source.port_range is not None:
            sock.setsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, source.port_range)
        if source.address is not None:
            if source.draw_port_at_connect:
                sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind((source.address, 0))
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def local_port(sock: Socket) -> int:
    """Return the local port, 0 where the socket has none (any more)."""
    try:
        return int(sock.getsockname()[1])
    except OSError:
        return 0


def pending_error(sock: Socket) -> int:
    """Return and clear the socket's pending errno (SO_ERROR), 0 for none."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def acknowledge_now(sock: Socket) -> None:
    """Send a delayed ACK at once, so that Nagle's algorithm on the server does not hold back the rest of its reply."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def unacknowledged(sock: Socket) -> int:
    """Return how many bytes were sent that the peer has not acknowledged (SIOCOUTQ, tcp(7))."""
    queued = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
    return int(struct.unpack("=i", queued)[0])


def keep_alive(sock: Socket, idle_s: int) -> None:
    """Send keepalive probes after `idle_s` (>= 1) of silence, and then as often again."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, idle_s)


def reset_on_close(sock: Socket) -> None:
    """Make close send RST: no TIME_WAIT on either side."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RST)
