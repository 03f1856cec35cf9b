"""Reads a pcap file of IP packets: who sent which TCP flags to whom. Written apart from the code that writes them."""

from __future__ import annotations

import struct
from collections import defaultdict
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path


@dataclass(frozen=True)
class Segment:
    """One TCP segment."""

    at_ns: int
    source: tuple[str, int]
    destination: tuple[str, int]
    flags: str
    """Of FSRPAU, those that are set, in that order."""
    behind_headers: bytes
    """What the file kept of its payload."""


def read_segments(path: Path) -> list[Segment]:
    """Return the segments of a little-endian pcap file with nanoseconds and link type RAW; fails on any other."""
    content = path.read_bytes()
    magic, major, _, _, _, snap_bytes, link = struct.unpack_from("<IHHiIII", content)
    assert (magic, major, link) == (0xA1B23C4D, 2, 101)
    segments = []
    place = 24
    while place < len(content):
        seconds, nanoseconds, kept, length = struct.unpack_from("<IIII", content, place)
        packet = content[place + 16 : place + 16 + kept]
        place += 16 + kept
        assert kept == len(packet) <= min(snap_bytes, length)
        version = packet[0] >> 4
        addresses, tcp = (packet[12:20], 4 * (packet[0] & 15)) if version == 4 else (packet[8:40], 40)
        half = len(addresses) // 2
        ports = struct.unpack_from("!HH", packet, tcp)
        flags = "".join(name for bit, name in enumerate("FSRPAU") if packet[tcp + 13] >> bit & 1)
        source, destination = (
            (str(ip_address(part)), port)
            for part, port in zip((addresses[:half], addresses[half:]), ports, strict=True)
        )
        behind = packet[tcp + 4 * (packet[tcp + 12] >> 4) :]
        segments.append(Segment(seconds * 10**9 + nanoseconds, source, destination, flags, behind))
    return segments


def conversations(segments: list[Segment]) -> dict[tuple[tuple[str, int], tuple[str, int]], str]:
    """Return (client, server) of each connection that begins in the capture to its flags, such as ``>S <SA >A <R``."""
    found: dict[tuple[tuple[str, int], tuple[str, int]], list[str]] = defaultdict(list)
    for segment in segments:
        there, back = (segment.source, segment.destination), (segment.destination, segment.source)
        if segment.flags == "S" or there in found:
            found[there].append(f">{segment.flags}")
        elif back in found:
            found[back].append(f"<{segment.flags}")
    return {pair: " ".join(words) for pair, words in found.items()}
