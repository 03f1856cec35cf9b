"""Which packets the kernel hands out, and how much of each: a classic BPF program, assembled from labelled lines. Pure.

Instruction set: linux/filter.h and Documentation/networking/filter.rst. Packets begin with their IP header.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from typing import Final

INSTRUCTION: Final = struct.Struct("=HBBI")
"""struct sock_filter: code, jump if true, jump if false, constant."""
PORTS_MAX: Final = 50
"""Jumps reach 255 instructions."""

_CODES: Final = {
    "ldb": 0x30, "ldh": 0x28, "ldb_x": 0x50, "ldh_x": 0x48, "ld_mem": 0x60,
    "ldx_imm": 0x01, "ldx_mem": 0x61, "ldx_ip_header": 0xB1, "st": 0x02, "stx": 0x03,
    "add_x": 0x0C, "add": 0x04, "and": 0x54, "shift_right": 0x74, "mod": 0x94,
    "jump": 0x05, "equal": 0x15, "any_bit": 0x45, "return": 0x06, "return_a": 0x16,
}  # fmt: skip

_SOURCE, _DESTINATION, _HEADER = 0, 1, 2
"""Words of scratch memory: both ports, and where the TCP header begins."""

_FIND_TCP: Final[tuple[tuple[object, ...] | str, ...]] = (
    ("ldb", 0), ("and", 0xF0), ("equal", 0x40, "ipv4", "maybe ipv6"),
    "ipv4",
    ("ldb", 9), ("equal", socket.IPPROTO_TCP, "first fragment?", "drop"),
    "first fragment?",
    ("ldh", 6), ("any_bit", 0x1FFF, "drop", "whole"),  # a later fragment has no ports
    "whole",
    ("ldx_ip_header", 0), ("jump", "tcp"),
    "maybe ipv6",
    ("equal", 0x60, "ipv6", "drop"),
    "ipv6",
    ("ldb", 6), ("equal", socket.IPPROTO_TCP, "tcp over ipv6", "drop"),
    "tcp over ipv6",
    ("ldx_imm", 40),
    "tcp",
    ("stx", _HEADER), ("ldh_x", 0), ("st", _SOURCE), ("ldh_x", 2), ("st", _DESTINATION),
)  # fmt: skip

_KEEP_HEADERS: Final[tuple[tuple[object, ...] | str, ...]] = (
    "keep",
    ("ldx_mem", _HEADER), ("ldb_x", 12), ("and", 0xF0), ("shift_right", 2),  # data offset: words of 4 bytes
    ("add_x", 0),
)  # fmt: skip


def packet_filter(*, ports: Sequence[int] = (), one_in: int = 1, payload: int = 0) -> bytes:
    """Return the program that accepts TCP packets and keeps of each its headers and `payload` bytes behind them.

    `ports`: only packets from or to one of them, at most PORTS_MAX (ValueError); empty: all. `one_in`: only connections
    whose two ports have a sum that, halved, divides by it. Both directions have the same sum, and it is halved because
    the kernel hands out ports in steps of two. Of IPv6, only packets without extension headers.
    """
    if len(ports) > PORTS_MAX:
        raise ValueError(f"at most {PORTS_MAX} ports, not {len(ports)}")
    lines: list[tuple[object, ...] | str] = [*_FIND_TCP]
    if ports:
        for word in (_SOURCE, _DESTINATION):
            lines.append(("ld_mem", word))
            for port in ports:
                lines += [("equal", port, "chosen", f"no {word} {port}"), f"no {word} {port}"]
        lines.append(("jump", "drop"))
    lines.append("chosen")
    if one_in > 1:
        lines += [("ldx_mem", _SOURCE), ("ld_mem", _DESTINATION), ("add_x", 0), ("shift_right", 1), ("mod", one_in)]
        lines += [("equal", 0, "keep", "drop")]
    lines += [*_KEEP_HEADERS, ("add", payload), ("return_a", 0), "drop", ("return", 0)]
    return _assemble(lines)


def _assemble(lines: Sequence[tuple[object, ...] | str]) -> bytes:
    """Return the instructions with labels turned into distances; those that nobody jumps to do no harm."""
    places: dict[str, int] = {}
    instructions: list[tuple[object, ...]] = []
    for line in lines:
        if isinstance(line, str):
            places[line] = len(instructions)
        else:
            instructions.append(line)
    program = bytearray()
    for number, (name, *operands) in enumerate(instructions):
        near = [places[label] - number - 1 for label in operands if isinstance(label, str)]
        constant = next((operand for operand in operands if isinstance(operand, int)), 0)
        if name == "jump":
            program += INSTRUCTION.pack(_CODES["jump"], 0, 0, near[0])
        else:
            program += INSTRUCTION.pack(_CODES[str(name)], *(near or (0, 0)), constant)
    return bytes(program)
