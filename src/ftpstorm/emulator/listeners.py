"""Listening sockets: which ports to take, how they are bound, and what the kernel says of their accept queue.

Every listener has SO_REUSEADDR, so the kernel's real TIME_WAIT never keeps a passive port from being bound again: only
the pool's imitation does.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Final

from ftpstorm.errors import EnvironmentUnavailableError

CONTROL_PORT: Final = 2121
"""Where the search for a free control port begins: 21 would need privileges."""

PASSIVE_PORT: Final = 10_000
"""Where the search for passive ports begins."""

_BLOCK_PORTS: Final = 64
"""Ports that one claim covers."""

_EPHEMERAL_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_TCP_INFO_UNACKED: Final = 24
"""Offset of tcpi_unacked in struct tcp_info (include/uapi/linux/tcp.h); on a LISTEN socket the length of the accept
queue (net/ipv4/tcp.c, tcp_get_info)."""


def read_ephemeral_range(path: Path = _EPHEMERAL_RANGE) -> tuple[int, int] | None:
    """Return the first and last port that this namespace's kernel draws for connect(2); None where it does not say."""
    try:
        first, last = path.read_text(encoding="ascii").split()
        return int(first), int(last)
    except (OSError, ValueError):
        return None


def resolve(host: str) -> tuple[socket.AddressFamily, str]:
    """Return family and numeric address of the host to listen on. Raises EnvironmentUnavailableError."""
    try:
        family, *_, address = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise EnvironmentUnavailableError(f"cannot listen on {host!r}: {error.strerror or error}") from error
    return family, str(address[0])


def _bind(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
    except BaseException:
        sock.close()
        raise
    return sock


def listen(family: socket.AddressFamily, address: str, port: int, backlog: int) -> socket.socket:
    """Return a non-blocking listener on one address and port. Raises OSError (EADDRINUSE, EACCES, EMFILE ...)."""
    sock = _bind(family, address, port)
    try:
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def listen_control(host: str, port: int | None, backlog: int, taken: Container[int] = ()) -> socket.socket:
    """Return the control listener: on `port`, or on the first free port from CONTROL_PORT upward, none of `taken`.

    `backlog` goes to listen(2) as it is; the kernel holds one connection more and clamps it to net.core.somaxconn.
    Raises EnvironmentUnavailableError when that port, or every port, is in use.
    """
    family, address = resolve(host)
    for candidate in (port,) if port is not None else range(CONTROL_PORT, 65_536):
        if port is None and candidate in taken:
            continue
        try:
            return listen(family, address, candidate, backlog)
        except OSError as error:
            if port is not None or error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise EnvironmentUnavailableError(
                    f"cannot listen on {address} port {candidate}: {error.strerror}; choose another host or port"
                ) from error
    raise EnvironmentUnavailableError(f"no free port from {CONTROL_PORT} upward on {address}")


def _bindable(family: socket.AddressFamily, address: str, port: int) -> bool:
    try:
        _bind(family, address, port).close()
    except OSError:
        return False
    return True


def _claim(block: int) -> socket.socket | None:
    """Claim a block of ports against other emulators of this network namespace; None when another one has it.

    A port of a pool is bound only while it listens, and SO_REUSEADDR lets two pools bind the same one in turn. So that
    they do not, each holds an abstract AF_UNIX name (unix(7)), which belongs to the network namespace as ports do.
    """
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        claim.bind(f"\0ftpstorm-passive-{block}")
    except OSError:
        claim.close()
        return None
    return claim


def _exactly(wanted: str, family: socket.AddressFamily, address: str, taken: Container[int]) -> tuple[int, ...]:
    first, last = (int(part) for part in wanted.split("-"))
    ports = range(first, last + 1)
    unfit = [port for port in ports if port in taken or not _bindable(family, address, port)]
    if unfit:
        some = ", ".join(str(port) for port in unfit[:5]) + (" ..." if len(unfit) > 5 else "")
        raise EnvironmentUnavailableError(
            f"passive ports {wanted}: {len(unfit)} of {len(ports)} cannot be bound on {address} ({some}); "
            "end what uses them, or give another range or just a number of ports"
        )
    return tuple(ports)


@contextlib.contextmanager
def passive_ports(
    wanted: int | str,
    host: str,
    taken: Container[int] = (),
    ephemeral: tuple[int, int] | None = None,
) -> Iterator[tuple[int, ...]]:
    """Choose the ports of a passive pool, each bindable now on `host`, and keep them from other emulators in the block.

    `wanted` is a count: so many ports from PASSIVE_PORT upward, outside the `ephemeral` range (first, last), from which
    the kernel would give them to clients of the same host, and not in `taken`; or ``first-last``: exactly these.
    Raises EnvironmentUnavailableError that names the ports in the way or says how many there are.
    """
    family, address = resolve(host)
    if isinstance(wanted, str):
        yield _exactly(wanted, family, address, taken)
        return
    first, last = ephemeral or (1, 0)
    chosen: list[int] = []
    with contextlib.ExitStack() as claims:
        for block in (*range(PASSIVE_PORT, 65_536, _BLOCK_PORTS), *range(1024, PASSIVE_PORT, _BLOCK_PORTS)):
            end = PASSIVE_PORT if block < PASSIVE_PORT else 65_536
            candidates = [
                port
                for port in range(block, min(block + _BLOCK_PORTS, end))
                if not first <= port <= last and port not in taken
            ]
            if not candidates or (claim := _claim(block)) is None:
                continue
            claims.enter_context(claim)
            chosen += (port for port in candidates if _bindable(family, address, port))
            if len(chosen) >= wanted:
                yield tuple(chosen[:wanted])
                return
    raise EnvironmentUnavailableError(
        f"only {len(chosen)} of {wanted} passive ports can be bound on {address} outside the ephemeral range "
        f"{ephemeral}; narrow net.ipv4.ip_local_port_range or ask for fewer"
    )


def accept_queue(listener: socket.socket) -> int | None:
    """Return how many connections wait in the kernel to be accepted; None where it does not say."""
    if not hasattr(socket, "TCP_INFO"):
        return None
    try:
        info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    except OSError:
        return None
    if len(info) < _TCP_INFO_UNACKED + 4:
        return None
    length: int = struct.unpack_from("=I", info, _TCP_INFO_UNACKED)[0]
    return length
