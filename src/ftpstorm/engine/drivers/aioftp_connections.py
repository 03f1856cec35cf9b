"""aioftp's connections as the records want them: what moved, when, between which ports; and every command told."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

import aioftp

from ftpstorm.engine.control import Owner
from ftpstorm.records.schema import ABSENT

if TYPE_CHECKING:
    from ftpstorm.engine.drivers.aioftp_driver import AioftpSession


class AioftpControl:
    """What the records and the session want to know of a control connection that aioftp owns."""

    __slots__ = ("_writer", "broken", "local_port", "owner")

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.local_port = _local_port(writer)
        self.broken = False
        """It cannot be used any more, whether or not it is closed."""
        self.owner: Owner | None = None

    @property
    def open(self) -> bool:
        """Whether commands can be sent as far as this side knows."""
        return not self.broken and not self._writer.is_closing()

    def close(self) -> None:
        """Close it; closing twice is allowed."""
        self.broken = True
        self._writer.close()


class AioftpData:
    """Stamps and bytes of one data connection, as the records have them."""

    __slots__ = ("bytes", "connected_ns", "end_ns", "first_byte_ns", "local_port", "writer")

    def __init__(self, writer: asyncio.StreamWriter, now: int) -> None:
        self.writer = writer
        self.local_port = _local_port(writer)
        self.connected_ns = now
        self.first_byte_ns = self.end_ns = ABSENT
        self.bytes = 0

    def count(self, size: int, now: int) -> None:
        """Note payload that moved."""
        if not self.bytes:
            self.first_byte_ns = now
        self.bytes += size

    def close(self) -> None:
        """Close it; closing twice is allowed."""
        self.writer.close()


class RecordingClient(aioftp.Client):
    """aioftp.Client that tells its session of every command, reply and connection."""

    def __init__(self, session: AioftpSession, **settings: Any) -> None:
        super().__init__(**settings)
        self._session = session
        self._at_start = False

    async def _open_connection(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await self._session.open_connection(super()._open_connection, host, port, first=self._stream is None)

    async def parse_response(self) -> tuple[Any, list[str]]:
        self._at_start = True
        return await super().parse_response()

    async def parse_line(self) -> tuple[Any, str]:
        code, rest = await super().parse_line()
        # aioftp would read on until some line has a code, and take the rest for that reply's text.
        at_start, self._at_start = self._at_start, False
        if at_start and not code.isdigit():
            raise ValueError(f"{code}{rest}")
        return code, rest

    async def command(  # type: ignore[override]  # aioftp declares overloads for the forms that never return a reply
        self,
        command: str | None = None,
        expected_codes: str | tuple[str, ...] = (),
        wait_codes: str | tuple[str, ...] = (),
        censor_after: int | None = None,
    ) -> tuple[Any, list[str]] | None:
        def send() -> Awaitable[tuple[Any, list[str]] | None]:
            return super(RecordingClient, self).command(command, expected_codes, wait_codes, censor_after)

        return await self._session.command(command, send)


def _local_port(writer: asyncio.StreamWriter) -> int:
    name = writer.get_extra_info("sockname")
    return int(name[1]) if name else 0


def errno_of(error: OSError) -> int:
    """Return the errno; asyncio wraps those of several addresses, or of a bind, in its own texts."""
    if error.errno:
        return error.errno
    return errno.EADDRINUSE if "address already in use" in str(error).lower() else 0
