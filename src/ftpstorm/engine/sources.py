"""Where the load's connections come from: source addresses, the habit of binding, a port range of one's own.

Made and tried out once, before the load begins: an address that is not this host's, or a kernel that ignores a port
range, would otherwise look like exhausted ports.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from pathlib import Path
from typing import Final

from ftpstorm.engine.sockets import IP_LOCAL_PORT_RANGE, Source, bind_source, open_stream, pack_port_range
from ftpstorm.errors import EnvironmentUnavailableError
from ftpstorm.scenario.client import Client, parse_port_range

EPHEMERAL_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")


def make_sources(
    client: Client, family: int, host: int = 0, hosts: int = 1
) -> tuple[tuple[Source, ...], tuple[Source, ...]]:
    """Return the sources of control connections, and of the data connections of the sessions with the same index.

    With several client `hosts` their addresses stand in turn, and those of `host` are tried; each other address belongs
    to sessions of another host. Raises EnvironmentUnavailableError for an address that this host has not, or whose
    family is not the target's, and for a port range that the kernel ignores.
    """
    packed = None
    if client.port_range is not None:
        packed = pack_port_range(*parse_port_range(client.port_range))
    habit = client.bind != "port"
    sources = tuple(Source(address, habit, packed) for address in client.addresses) or (Source(None, habit, packed),)
    for source in sources[host::hosts]:
        if source.address is not None:
            _try_address(source.address, family)
    if client.port_range is not None:
        _try_port_range(sources[0], client.port_range, family)
    return sources, sources if client.data_source == "same" else (*sources[hosts:], *sources[:hosts])


def _try_address(address: str, family: int) -> None:
    if (":" in address) != (family == socket.AF_INET6):
        raise EnvironmentUnavailableError(
            f"client.source_addresses: {address} is not of the target's family; give addresses of one family"
        )
    with contextlib.closing(open_stream(family)) as sock:
        number = bind_source(sock, Source(address))
    if number:
        raise EnvironmentUnavailableError(
            f"client.source_addresses: {address}: {os.strerror(number)}; "
            "each must be an address of this host (see `ip address`)"
        )


def _try_port_range(source: Source, wanted: str, family: int) -> None:
    """Bind one socket within the range and read back what the kernel made of it."""
    first, last = parse_port_range(wanted)
    try:
        lowest, highest = (int(part) for part in EPHEMERAL_RANGE.read_text(encoding="ascii").split())
    except (OSError, ValueError):
        lowest, highest = 1, 65_535
    if not lowest <= first <= last <= highest:
        raise EnvironmentUnavailableError(
            f"client.port_range: {wanted} does not lie inside net.ipv4.ip_local_port_range ({lowest}-{highest}), and "
            "the kernel would clamp or ignore it: choose a part of that range, or widen it with sysctl"
        )
    address = source.address or ("::1" if family == socket.AF_INET6 else "127.0.0.1")
    with contextlib.closing(open_stream(family)) as sock:
        try:
            sock.setsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, pack_port_range(first, last))
        except OSError as error:
            raise EnvironmentUnavailableError(
                f"client.port_range: this kernel has no IP_LOCAL_PORT_RANGE ({error.strerror}); it needs Linux 6.3"
            ) from None
        try:
            sock.bind((address, 0))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return  # taken up already: that much shows that the range is obeyed
            raise EnvironmentUnavailableError(f"client.port_range: binding {address}: {error.strerror}") from None
        port = sock.getsockname()[1]
    if not first <= port <= last:
        raise EnvironmentUnavailableError(
            f"client.port_range: the kernel ignores {wanted}: it drew port {port} (net.ipv4.ip_local_port_range is "
            f"{lowest}-{highest})"
        )
