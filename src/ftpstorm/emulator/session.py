"""One control connection: its streams, its replies, its passive port and the transfer that runs beside it.

What the commands do stands in `ftpstorm.emulator.server`; `connection` is aioftp's own state of the same session, which
the commands inherited from aioftp read and write.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any, Final

from aioftp.common import Connection

from ftpstorm.emulator.dataport import DataPort
from ftpstorm.emulator.files import resolve_path


class Session:
    """State of one control connection. Owned by the task that reads its commands."""

    __slots__ = ("address", "connection", "data_port", "family", "held_until_ns", "reader", "transfer", "writer")

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: Connection) -> None:
        sock: Any = writer.get_extra_info("socket")
        self.reader: Final = reader
        self.writer: Final = writer
        self.connection: Final = connection
        self.family: Final = socket.AddressFamily(sock.family)
        self.address: Final[str] = sock.getsockname()[0]
        """Our own address as this client reached it: where its passive ports listen."""
        self.data_port: DataPort | None = None
        """Asked for by PASV or EPSV and not used by a transfer yet."""
        self.transfer: asyncio.Task[None] | None = None
        """The transfer under way; done or None otherwise."""
        self.held_until_ns = 0
        """Until when, on the server's clock, its last data connection counts as still in use; 0 before it had one."""
        connection.response = self.reply

    @property
    def logged_in(self) -> bool:
        """Whether PASS was answered with 230."""
        return "logged" in self.connection and self.connection.future.logged.done()

    @property
    def user_known(self) -> bool:
        """Whether USER was sent."""
        return "user" in self.connection and self.connection.future.user.done()

    def path(self, argument: str) -> PurePosixPath:
        """Return the absolute path that `argument` means in the session's directory. Needs a login."""
        return resolve_path(self.connection.current_directory, argument)

    def reply(self, code: str, lines: str | Iterable[str] = "", listing: bool = False) -> None:
        """Queue one reply. Several lines make a multi-line reply of RFC 959, 4.2; a `listing` indents those between.

        On a connection that is closing nothing is queued: asyncio would drop it, uvloop raises RuntimeError.

        Positional parameters are those of aioftp's `write_response`, whose inherited commands call this.
        """
        if self.writer.transport.is_closing():
            return
        *body, tail = [lines] if isinstance(lines, str) else lines
        text = ""
        for number, line in enumerate(body):
            text += f" {line}\r\n" if listing and number else f"{code}-{line}\r\n"
        self.writer.write(f"{text}{code} {tail}\r\n".encode())

    def drop_data_port(self) -> None:
        """Close the passive port that no transfer has taken, if there is one."""
        port, self.data_port = self.data_port, None
        if port is not None:
            port.close()

    def take_data_port(self) -> DataPort | None:
        """Hand the passive port over to a transfer."""
        port, self.data_port = self.data_port, None
        return port

    def take_restart_offset(self) -> int:
        """Return the byte that REST asked the next transfer to begin at, and forget it."""
        offset: int = self.connection.restart_offset
        self.connection.restart_offset = 0
        return offset
