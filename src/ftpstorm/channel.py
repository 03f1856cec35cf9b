"""JSON lines over a socketpair: how the conductor talks with its workers, its sampler and its emulator.

A message is one JSON object with a `type`. The conductor sends `hello` (what to do), `start_at`, `stop` and `finish`;
a child sends `ready`, `progress`, `done` and `error`. EOF on either side means stop: nobody outlives the run.

The child's end arrives as an inherited descriptor whose number stands in the environment variable FTPSTORM_CHANNEL.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from typing import Any, Final

ENVIRONMENT_KEY: Final = "FTPSTORM_CHANNEL"
MESSAGE_LIMIT_BYTES: Final = 64 * 1024 * 1024
"""The longest message; a plan with a long replay list is the largest there is."""

Message = dict[str, Any]


class _Reader(asyncio.StreamReader):
    """Gives out what has come before it tells of a reset: a peer that ends with a message of ours unread resets."""

    def set_exception(self, exc: Exception) -> None:
        if isinstance(exc, OSError):
            self.feed_eof()
        else:
            super().set_exception(exc)


class Channel:
    """One end of a conversation. Reading returns None at EOF, writing after EOF is dropped: the peer is gone."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, sock: socket.socket) -> Channel:
        """Wrap one end of a connected AF_UNIX stream socketpair; takes the socket over."""
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        reader = _Reader(limit=MESSAGE_LIMIT_BYTES, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.create_unix_connection(lambda: protocol, sock=sock)
        return cls(reader, asyncio.StreamWriter(transport, protocol, reader, loop))

    @classmethod
    async def inherited(cls) -> Channel:
        """Open the end that the parent process left to this one. Raises RuntimeError when there is none."""
        number = os.environ.pop(ENVIRONMENT_KEY, None)
        if number is None:
            raise RuntimeError(f"{ENVIRONMENT_KEY} is not set: this module is started by the conductor, not by hand")
        return await cls.open(socket.socket(fileno=int(number)))

    def send(self, kind: str, /, **fields: Any) -> None:
        """Queue one message ``{"type": kind, **fields}``; never blocks, never raises for a peer that is gone."""
        if not self._writer.is_closing():
            self._writer.write(json.dumps({"type": kind, **fields}, separators=(",", ":")).encode() + b"\n")

    async def drain(self) -> None:
        """Wait until queued messages have left this process, or the peer is gone."""
        try:
            await self._writer.drain()
        except (ConnectionError, OSError):
            return

    async def receive(self) -> Message | None:
        """Return the next message, or None at EOF. Raises ValueError for a line that is no object with a `type`."""
        try:
            line = await self._reader.readline()
        except (ConnectionError, OSError):
            return None
        if not line.endswith(b"\n"):
            return None  # EOF, also in the middle of a line: the peer died while writing
        message = json.loads(line)
        if not isinstance(message, dict) or "type" not in message:
            raise ValueError(f"not a message: {line[:200]!r}")
        return message

    def close(self) -> None:
        """Close this end; the peer reads EOF."""
        self._writer.close()
