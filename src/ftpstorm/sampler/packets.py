"""Packets of this network namespace through AF_PACKET, taken out of a ring that the kernel fills.

The ring (PACKET_RX_RING, TPACKET_V2) needs no system call for each packet, and the kernel stamps each as it passes:
packet(7), Documentation/networking/packet_mmap.rst. Which packets are wanted is `ftpstorm.sampler.packetfilter`'s.
"""

from __future__ import annotations

import ctypes
import mmap
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from ftpstorm.sampler.packetfilter import INSTRUCTION
from ftpstorm.units import NS_PER_S

HEADERS_MAX: Final = 120
"""Longest IP and TCP header together: 60 bytes each."""
RING_BYTES: Final = 8 << 20

_ETH_P_ALL: Final = 0x0003  # with IPv4's number alone outgoing packets would not be seen
_SOL_PACKET: Final = 263
_PACKET_RX_RING: Final = 5
_PACKET_STATISTICS: Final = 6
_PACKET_VERSION: Final = 10
_TPACKET_V2: Final = 1
_SO_ATTACH_FILTER: Final = 26
_PACKET_OUTGOING: Final = 4
_ARPHRD_LOOPBACK: Final = 772
_TP_STATUS_USER: Final = 1
_FRAME: Final = struct.Struct("=IIIHHII")  # struct tpacket2_hdr: status, len, snaplen, mac, net, sec, nsec
_STATUS: Final = struct.Struct("=I")
_LINK: Final = struct.Struct("=HHiHB")  # struct sockaddr_ll: family, protocol, ifindex, hatype, pkttype
_LINK_OFFSET: Final = 32  # TPACKET_ALIGN of the header before it
_BEFORE_PACKET: Final = 96  # both headers and the 16 bytes that the kernel leaves for a link header
_BLOCK_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet as it passed."""

    at_ns: int
    """CLOCK_REALTIME, ns since the epoch."""
    kept: bytes
    """From the IP header on, as much as the filter keeps."""
    length: int
    """Bytes of the whole packet from its IP header on."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


class PacketRing:
    """The packets of all interfaces of the namespace that this thread is in. Close it, or use it in a `with`."""

    def __init__(self, program: bytes, keep_bytes: int = HEADERS_MAX, ring_bytes: int = RING_BYTES) -> None:
        """Begin to take packets that `program` accepts, `keep_bytes` of each at most.

        Raises OSError: EPERM without CAP_NET_RAW in the namespace, ENOMEM without `ring_bytes` of memory.
        """
        self._frame_bytes = max(256, 1 << (_BEFORE_PACKET + keep_bytes - 1).bit_length())
        self._frames = ring_bytes // _BLOCK_BYTES * (_BLOCK_BYTES // self._frame_bytes)
        self._next = 0
        self._lost = 0
        # What it takes before the filter is there, the change to the ring throws away
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_PACKET, kind, socket.htons(_ETH_P_ALL))
        try:
            instructions = ctypes.create_string_buffer(program, len(program))
            described = _Program(len(program) // INSTRUCTION.size, ctypes.addressof(instructions))
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, bytes(described))
            self._socket.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V2)
            blocks = ring_bytes // _BLOCK_BYTES
            request = struct.pack("=IIII", _BLOCK_BYTES, blocks, self._frame_bytes, self._frames)  # tpacket_req
            self._socket.setsockopt(_SOL_PACKET, _PACKET_RX_RING, request)
            self._ring = mmap.mmap(self._socket.fileno(), blocks * _BLOCK_BYTES)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> PacketRing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop taking packets; what was not taken out is lost."""
        self._ring.close()
        self._socket.close()

    def take(self) -> Iterator[Packet]:
        """Yield the packets that are in the ring, oldest first, until it is empty."""
        while True:
            at = self._next * self._frame_bytes
            status, length, kept, _, net, seconds, nanoseconds = _FRAME.unpack_from(self._ring, at)
            if not status & _TP_STATUS_USER:
                return
            *_, hardware, kind = _LINK.unpack_from(self._ring, at + _LINK_OFFSET)
            packet = Packet(seconds * NS_PER_S + nanoseconds, self._ring[at + net : at + net + kept], length)
            _STATUS.pack_into(self._ring, at, 0)  # the frame is the kernel's again
            self._next = (self._next + 1) % self._frames
            if hardware == _ARPHRD_LOOPBACK and kind == _PACKET_OUTGOING:
                continue  # loopback shows each packet twice, on its way out and on its way in
            yield packet

    def lost(self) -> int:
        """Return how many wanted packets found the ring full so far."""
        statistics = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)  # reading sets it to 0
        self._lost += int(struct.unpack("=II", statistics)[1])
        return self._lost
