"""Plain sockets for scripts inside a lab: a listener in a host, connections that one side closes first, errno words."""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Callable, Sequence

from ftpstorm.lab.hosts import Host

IP_BIND_ADDRESS_NO_PORT = 24
ACCEPT_S = 20
PATIENCE_MS = 1000
"""Where packets are dropped connect(2) fails with ETIMEDOUT after so long (TCP_USER_TIMEOUT), not after minutes."""


def family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def listen(host: Host, port: int, backlog: int = 4096) -> socket.socket:
    """Listen on all addresses of `host`."""
    ipv6 = ":" in host.addresses[0]
    with host.entered():
        listener = socket.create_server(
            ("::" if ipv6 else "", port), family=socket.AF_INET6 if ipv6 else socket.AF_INET, backlog=backlog
        )
    listener.settimeout(ACCEPT_S)
    return listener


def bind_nothing(sock: socket.socket) -> None:
    """Let the kernel draw source and port at connect."""


def bind_address(address: str) -> Callable[[socket.socket], None]:
    """Fix the source address, let the port be drawn at connect."""

    def bind(sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((address, 0))

    return bind


def bind_port(address: str) -> Callable[[socket.socket], None]:
    """Take a port at bind."""
    return lambda sock: sock.bind((address, 0))


def connect(
    address: str, port: int, bind: Callable[[socket.socket], None] = bind_nothing, within_s: float = ACCEPT_S
) -> tuple[socket.socket | None, str]:
    """Return the connected socket and "", or None and the errno's name."""
    sock = socket.socket(family_of(address))
    try:
        sock.settimeout(within_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, PATIENCE_MS)
        bind(sock)
        sock.connect((address, port))
    except OSError as error:
        sock.close()
        return None, errno.errorcode.get(error.errno or 0, type(error).__name__)
    return sock, ""


def close_client_first(client: socket.socket, listener: socket.socket) -> None:
    """End a connection so that TIME_WAIT is the client's; return when both ends have closed."""
    served, _ = listener.accept()
    served.settimeout(ACCEPT_S)
    client.shutdown(socket.SHUT_WR)
    assert served.recv(1) == b""
    served.close()
    assert client.recv(1) == b""
    client.close()


def connects_until_refused(
    listener: socket.socket,
    destinations: Sequence[tuple[str, int]],
    at_most: int,
    bind: Callable[[socket.socket], None] = bind_nothing,
) -> tuple[int, str]:
    """Connect to `destinations` in turn, client closing first; return how many came before the first error, and it.

    A destination that fails is left out from then on, so with several the count is all that they gave.
    """
    left = list(destinations)
    count, word = 0, ""
    while left and count < at_most:
        address, port = left[count % len(left)]
        client, word = connect(address, port, bind)
        if client is None:
            left.remove((address, port))
            continue
        close_client_first(client, listener)
        count += 1
    return count, word


def connect_all(
    destinations: Sequence[tuple[str, int]], patience_ms: int = PATIENCE_MS, within_s: float = ACCEPT_S
) -> tuple[list[socket.socket], list[str]]:
    """Start a connect to each of `destinations` at once; return those that are up and the errno names of the others.

    `patience_ms` 0: as long as net.ipv4.tcp_syn_retries says.
    """
    poll = select.poll()
    waiting: dict[int, socket.socket] = {}
    for address, port in destinations:
        sock = socket.socket(family_of(address))
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience_ms)
        sock.connect_ex((address, port))
        poll.register(sock, select.POLLOUT)
        waiting[sock.fileno()] = sock
    up: list[socket.socket] = []
    failed: list[str] = []
    while waiting:
        events = poll.poll(within_s * 1000)
        assert events, f"{len(waiting)} connects told nothing for {within_s} s"
        for descriptor, _ in events:
            poll.unregister(descriptor)
            sock = waiting.pop(descriptor)
            if number := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                failed.append(errno.errorcode[number])
                sock.close()
            else:
                up.append(sock)
    return up, failed
