"""Where a data connection goes: addresses in replies to PASV (RFC 959) and EPSV (RFC 2428), and in PORT and EPRT."""

from __future__ import annotations

import re
from typing import Final

# RFC 1123 section 4.1.2.6: scan for the first digits, since text and parentheses around them vary between servers.
_SIX_NUMBERS: Final = re.compile(rb"(\d{1,5}),(\d{1,5}),(\d{1,5}),(\d{1,5}),(\d{1,5}),(\d{1,5})")
_EPSV: Final = re.compile(rb"\(([\x21-\x7e])\1\1(\d{1,7})\1\)")


class EndpointError(ValueError):
    """A reply that names no usable address; the message says what is wrong with it."""


def parse_pasv(raw: bytes) -> tuple[str, int]:
    """Return (IPv4 address, port) of a 227 reply, with or without parentheses.

    Raises EndpointError for a missing address, a number above 255 or port 0. The address is what the server wrote,
    0.0.0.0 included: whether to follow it is the caller's policy.
    """
    match = _SIX_NUMBERS.search(raw, 3)
    if not match:
        raise EndpointError("no h1,h2,h3,h4,p1,p2 in the reply to PASV")
    numbers = [int(group) for group in match.groups()]
    if max(numbers) > 255:
        raise EndpointError("a number above 255 in the reply to PASV")
    port = numbers[4] << 8 | numbers[5]
    if port == 0:
        raise EndpointError("port 0 in the reply to PASV")
    return ".".join(map(str, numbers[:4])), port


def parse_epsv(raw: bytes) -> int:
    """Return the port of a 229 reply, ``(|||port|)`` with any delimiter. Raises EndpointError."""
    match = _EPSV.search(raw, 3)
    if not match:
        raise EndpointError("no (|||port|) in the reply to EPSV")
    port = int(match[2])
    if not 1 <= port <= 65_535:
        raise EndpointError(f"port {port} in the reply to EPSV")
    return port


def format_port(address: str, port: int) -> str:
    """Return the argument of PORT, ``h1,h2,h3,h4,p1,p2`` (RFC 959). Raises ValueError for anything but IPv4."""
    octets = address.split(".")
    if len(octets) != 4:
        raise ValueError("PORT names IPv4 addresses alone")
    return ",".join((*octets, str(port >> 8), str(port & 255)))


def format_eprt(address: str, port: int) -> str:
    """Return the argument of EPRT, ``|family|address|port|`` with family 1 for IPv4 and 2 for IPv6 (RFC 2428)."""
    return f"|{2 if ':' in address else 1}|{address}|{port}|"
