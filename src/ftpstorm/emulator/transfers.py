"""Moving bytes over an accepted data connection. Counts what moves; closing and replies are the server's."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable

from ftpstorm.emulator.counts import Counts
from ftpstorm.emulator.dataport import readable, writable
from ftpstorm.emulator.files import BLOCK_BYTES

_SINK = bytearray(BLOCK_BYTES)
"""Where all uploads of this process are read into, over each other: nobody looks at them."""


async def send(sock: socket.socket, blocks: Iterable[bytes | memoryview], counts: Counts) -> None:
    """Send all blocks. Raises OSError when the client is gone; what the kernel took until then is counted."""
    several = False
    for block in blocks:
        if several:
            await asyncio.sleep(0)  # a fast reader must not keep the loop from the other sessions
        several = True
        rest = memoryview(block)
        while rest:
            try:
                sent = sock.send(rest)
            except (BlockingIOError, InterruptedError):
                await writable(sock)
                continue
            counts.bytes_sent += sent
            rest = rest[sent:]


async def receive(sock: socket.socket, counts: Counts) -> None:
    """Read and discard until the client's end of stream. Raises OSError when it resets the connection instead."""
    blocks = 0
    while True:
        try:
            received = sock.recv_into(_SINK)
        except (BlockingIOError, InterruptedError):
            await readable(sock)
            continue
        if not received:
            return
        counts.bytes_received += received
        blocks += 1
        if blocks % 8 == 0:
            await asyncio.sleep(0)
