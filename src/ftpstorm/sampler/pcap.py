"""The pcap file format with nanoseconds, as Wireshark and tcpdump read it. Which packets there are is others' business.

Format: libpcap's savefile, pcap-savefile(5). Link type RAW (101): each packet begins with its IP header.
"""

from __future__ import annotations

import struct
from typing import BinaryIO, Final

from ftpstorm.units import NS_PER_S

MAGIC_NS: Final = 0xA1B23C4D
"""Time stamps count nanoseconds."""
LINKTYPE_RAW: Final = 101
FILE_HEADER: Final = struct.Struct("<IHHiIII")
PACKET_HEADER: Final = struct.Struct("<IIII")


class PcapWriter:
    """Writes packets to `file` until the next one would not fit into `max_bytes`; counts the further ones."""

    def __init__(self, file: BinaryIO, snap_bytes: int, max_bytes: int) -> None:
        """`snap_bytes` is the most that is kept of a packet. `max_bytes` bounds the whole file."""
        self._file = file
        self._max_bytes = max_bytes
        header = FILE_HEADER.pack(MAGIC_NS, 2, 4, 0, 0, snap_bytes, LINKTYPE_RAW)
        file.write(header)
        self.bytes = len(header)
        self.packets = 0
        self.left_out = 0

    @property
    def full(self) -> bool:
        """Whether a packet did not fit any more."""
        return self.left_out > 0

    def write(self, at_ns: int, packet: bytes, length: int) -> None:
        """Append one packet: `at_ns` since the epoch (UTC), what is kept of it, its whole length in bytes."""
        size = PACKET_HEADER.size + len(packet)
        if self.full or self.bytes + size > self._max_bytes:
            self.left_out += 1  # a file with holes would look like packets that were lost
            return
        self._file.write(PACKET_HEADER.pack(*divmod(at_ns, NS_PER_S), len(packet), length) + packet)
        self.bytes += size
        self.packets += 1
