"""The pcap file: its header, its packets, and where it ends."""

from __future__ import annotations

import io
import struct

from ftpstorm.sampler.pcap import PcapWriter


def test_a_file_says_nanoseconds_and_packets_that_begin_with_ip() -> None:
    file = io.BytesIO()
    PcapWriter(file, 120, 1024)
    assert struct.unpack("<IHHiIII", file.getvalue()) == (0xA1B23C4D, 2, 4, 0, 0, 120, 101)


def test_a_packet_keeps_its_instant_and_its_whole_length() -> None:
    file = io.BytesIO()
    writer = PcapWriter(file, 120, 1024)
    writer.write(1_700_000_000_123_456_789, b"abcd", 1500)
    assert file.getvalue()[24:] == struct.pack("<IIII", 1_700_000_000, 123_456_789, 4, 1500) + b"abcd"
    assert (writer.packets, writer.bytes, writer.full) == (1, 44, False)


def test_a_full_file_ends_there_and_counts_what_is_missing() -> None:
    file = io.BytesIO()
    writer = PcapWriter(file, 120, 24 + 2 * 20)
    for packet in (b"aaaa", b"bbbb", b"cccc", b"d"):
        writer.write(0, packet, 4)
    assert (writer.packets, writer.left_out, writer.full) == (2, 2, True)
    assert len(file.getvalue()) == writer.bytes == 64
    smaller = PcapWriter(io.BytesIO(), 120, 24 + 20)
    smaller.write(0, b"aaaaa", 5)
    smaller.write(0, b"a", 1)  # it would fit, and a file with a hole would look like lost packets
    assert (smaller.packets, smaller.left_out) == (0, 2)
