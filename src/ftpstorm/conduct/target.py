"""Where load may go: the URL that names a target, its addresses, and the refusal of what the user has not allowed.

Loopback is always allowed. Any other address needs --allow-target naming it and bounds (`guard`) in the scenario; all
addresses that a name resolves to are checked, and the workers get the checked addresses, never the name.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from ftpstorm.errors import EnvironmentUnavailableError, TargetRefusedError, UsageError
from ftpstorm.scenario.schema import Scenario

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver = Callable[[str, int], Sequence[str]]
"""Returns the text addresses of a host name, in the resolver's order; raises OSError when there are none."""

FTP_PORT: Final = 21
FTPS_PORT: Final = 990
"""Where TLS begins with the connection (implicit)."""
SCHEMES: Final = {"ftp": FTP_PORT, "ftps": FTPS_PORT}


@dataclass(frozen=True, slots=True)
class TargetUrl:
    """``ftp://user@host:port/path``, taken apart. `user` is None and `path` "" where the URL has none."""

    host: str
    port: int
    user: str | None
    path: str
    implicit_tls: bool = False
    """The scheme is ftps."""
    port_given: bool = True
    """Whether the URL names the port; else it is the scheme's."""


def parse_target_url(text: str) -> TargetUrl:
    """Take an ftp URL apart (RFC 1738 section 3.2); ftps means TLS from the first byte, by default on port 990.

    Raises UsageError for another scheme, for no host, and for a password: it would stand in the shell's history and in
    the process list. The message never repeats it.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise UsageError("the target is no URL; write ftp://user@host:port") from None
    if parts.password is not None:
        raise UsageError(
            "a password in the target's URL is refused; put it into an environment variable or a file "
            "(target.password_env, target.password_file)"
        )
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise UsageError(f"{text}: no FTP target; write ftp://user@host:port, or ftps:// for implicit TLS")
    user = unquote(parts.username) if parts.username else None
    return TargetUrl(
        parts.hostname,
        port or SCHEMES[parts.scheme],
        user,
        unquote(parts.path.lstrip("/")),
        implicit_tls=parts.scheme == "ftps",
        port_given=port is not None,
    )


def resolve(host: str, port: int) -> Sequence[str]:
    """Return all addresses of `host`, each once. Raises OSError when there are none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))


def is_loopback(address: str) -> bool:
    """Tell whether load to `address` stays on this host: 127.0.0.0/8, ::1, or the first written as IPv6."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return parsed.is_loopback


def check_target(
    scenario: Scenario, allowed: Sequence[str], resolver: Resolver = resolve
) -> tuple[tuple[str, int], ...]:
    """Return the addresses that load may go to, [] where the target is the emulator (it names its own, on loopback).

    Where a name has IPv4 and IPv6 addresses, the IPv4 ones are used. Raises TargetRefusedError where an address is
    neither loopback nor in `allowed` (hosts, addresses, networks) or the scenario has no `guard`; UsageError for an
    entry of `allowed` that is no such thing; EnvironmentUnavailableError for a name that does not resolve.
    """
    host, port = scenario.target.host, scenario.target.port
    if host is None:
        return ()
    addresses = check_addresses(host, port, allowed, resolver)
    outside = [address for address in addresses if not is_loopback(address)]
    if outside and scenario.guard is None:
        raise TargetRefusedError(
            f"target {host} ({outside[0]}) is outside loopback: the scenario must bound the load with "
            "guard: {max_sessions: ..., max_rate: ..., stop_after: ...}"
        )
    return tuple((address, port) for address in addresses)


def check_addresses(host: str, port: int, allowed: Sequence[str], resolver: Resolver = resolve) -> tuple[str, ...]:
    """Return the addresses of `host` that may be connected to, of one family: IPv4 where it has any.

    Raises TargetRefusedError where one of all its addresses is neither loopback nor in `allowed`, UsageError for an
    entry of `allowed` that is none of host, address and network, EnvironmentUnavailableError for an unknown name.
    """
    try:
        addresses = resolver(host, port)
    except OSError as error:
        raise EnvironmentUnavailableError(f"target {host}: does not resolve ({error.strerror or error})") from None
    networks = [network for entry in allowed if (network := _network(entry)) is not None]
    names = {entry.lower() for entry in allowed}
    for address in addresses:
        parsed = ipaddress.ip_address(address)
        if is_loopback(address) or host.lower() in names or any(parsed in network for network in networks):
            continue
        raise TargetRefusedError(
            f"target {host} ({address}) is outside loopback: load goes there only with --allow-target {host} "
            f"(or a network that contains {address}), from somebody who may do that to this server"
        )
    versions = {address: ipaddress.ip_address(address).version for address in addresses}
    version = min(versions.values())
    return tuple(address for address in addresses if versions[address] == version)


def _network(entry: str) -> Network | None:
    """Return the network that an --allow-target entry means, None where it is a host name."""
    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError:
        if "/" in entry or not entry.strip():
            raise UsageError(f"--allow-target {entry}: no network; write a host, an address or 10.0.0.0/8") from None
        return None
