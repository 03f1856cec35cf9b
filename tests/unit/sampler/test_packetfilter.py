"""The capture's filter, run by the kernel itself: which packets it lets through, and where it cuts them."""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Callable, Iterator

import pytest

from ftpstorm.sampler.packetfilter import INSTRUCTION, PORTS_MAX, packet_filter

SO_ATTACH_FILTER = 26
SECRET = b"PASS secret\r\n"

Through = Callable[[bytes, bytes], bytes | None]


class Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


@pytest.fixture
def through() -> Iterator[Through]:
    """Give ``through(program, packet)``: what of the packet comes out of a socket with that filter, None for nothing.

    A datagram socket of AF_UNIX has its filter run over the bytes that are sent to it.
    """
    opened: list[socket.socket] = []

    def send(program: bytes, packet: bytes) -> bytes | None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        opened.extend((ours, theirs))
        code = ctypes.create_string_buffer(program, len(program))
        described = Program(len(program) // INSTRUCTION.size, ctypes.addressof(code))
        theirs.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, bytes(described))
        theirs.setblocking(False)
        ours.send(packet)
        try:
            return theirs.recv(4096)
        except BlockingIOError:
            return None

    yield send
    for sock in opened:
        sock.close()


def tcp(source: int, destination: int, options: bytes = b"", payload: bytes = SECRET) -> bytes:
    offset = (20 + len(options)) // 4
    return struct.pack("!HHIIBBHHH", source, destination, 1, 2, offset << 4, 0x18, 512, 0, 0) + options + payload


def ipv4(inner: bytes, *, protocol: int = socket.IPPROTO_TCP, options: bytes = b"", fragment: int = 0) -> bytes:
    words = (20 + len(options)) // 4
    length = 4 * words + len(inner)
    head = struct.pack("!BBHHHBBH4s4s", 0x40 | words, 0, length, 7, fragment, 64, protocol, 0, b"\n\0\0\1", b"\n\0\0\2")
    return head + options + inner


def ipv6(inner: bytes, following: int = socket.IPPROTO_TCP) -> bytes:
    return struct.pack("!IHBB16s16s", 0x60000000, len(inner), following, 64, b"a" * 16, b"b" * 16) + inner


@pytest.mark.parametrize("options", [b"", b"\1" * 12, b"\1" * 40])
@pytest.mark.parametrize("wrap", [ipv4, lambda inner: ipv4(inner, options=b"\1" * 24), ipv6])
def test_what_a_packet_carries_stays_in_the_kernel(
    through: Through, wrap: Callable[[bytes], bytes], options: bytes
) -> None:
    packet = wrap(tcp(40_000, 21, options))
    assert through(packet_filter(), packet) == packet[: -len(SECRET)]
    assert through(packet_filter(payload=4), packet) == packet[: 4 - len(SECRET)]
    assert through(packet_filter(payload=1500), packet) == packet


def test_only_tcp_is_taken_and_of_fragments_only_the_first(through: Through) -> None:
    segment = tcp(40_000, 21)
    assert through(packet_filter(), ipv4(segment, protocol=socket.IPPROTO_UDP)) is None
    assert through(packet_filter(), ipv6(segment, following=socket.IPPROTO_ICMPV6)) is None
    assert through(packet_filter(), ipv4(segment, fragment=0x2000)) is not None
    assert through(packet_filter(), ipv4(segment, fragment=0x2001)) is None
    assert through(packet_filter(), b"\x20" + ipv4(segment)[1:]) is None


@pytest.mark.parametrize("wrap", [ipv4, ipv6])
@pytest.mark.parametrize("ports", [(21,), (2121, 21), (*range(100, 99 + PORTS_MAX), 21)])
def test_ports_are_looked_for_at_both_ends(
    through: Through, wrap: Callable[[bytes], bytes], ports: tuple[int, ...]
) -> None:
    program = packet_filter(ports=ports)
    assert through(program, wrap(tcp(40_000, 21))) is not None
    assert through(program, wrap(tcp(21, 40_000))) is not None
    assert through(program, wrap(tcp(40_000, 22))) is None


def test_one_connection_in_so_many_is_kept_whole(through: Through) -> None:
    program = packet_filter(ports=(21,), one_in=10)
    there = [through(program, ipv4(tcp(port, 21))) is not None for port in range(40_000, 40_200, 2)]
    back = [through(program, ipv4(tcp(21, port))) is not None for port in range(40_000, 40_200, 2)]
    assert there == back
    assert sum(there) == 10
    assert through(program, ipv4(tcp(40_000 + 2 * there.index(True), 22))) is None


def test_more_ports_than_a_jump_can_pass_over_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 50"):
        packet_filter(ports=range(PORTS_MAX + 1))
