"""How replies are written, and what a session remembers."""

from __future__ import annotations

import asyncio
import socket

import pytest
from aioftp.common import Connection

from ftpstorm.emulator.session import Session


class Recorder:
    """The part of a StreamWriter that a session uses."""

    def __init__(self) -> None:
        self.written = b""
        self.closing = False
        self.transport = self
        self._sock = socket.socket()

    def is_closing(self) -> bool:
        return self.closing

    def get_extra_info(self, name: str) -> socket.socket:
        assert name == "socket"
        return self._sock

    def write(self, text: bytes) -> None:
        if self.closing:
            raise RuntimeError("the handler is closed")  # as uvloop's transports do
        self.written += text

    def close(self) -> None:
        self._sock.close()


@pytest.mark.parametrize(
    ("code", "lines", "listing", "written"),
    [
        ("200", "Ok.", False, b"200 Ok.\r\n"),
        ("230", ("Hello.", "You."), False, b"230-Hello.\r\n230 You.\r\n"),
        ("211", ("Features:", "SIZE", "End"), True, b"211-Features:\r\n SIZE\r\n211 End\r\n"),
        ("257", '"/\u00e9"', False, '257 "/\u00e9"\r\n'.encode()),
    ],
)
async def test_replies_have_the_form_of_rfc_959(
    code: str, lines: str | tuple[str, ...], listing: bool, written: bytes
) -> None:
    writer = Recorder()
    session = Session(asyncio.StreamReader(), writer, Connection())  # type: ignore[arg-type]
    session.connection.response(code, lines, listing)  # as aioftp's own commands reply
    assert writer.written == written
    writer.close()


async def test_nothing_is_replied_on_a_connection_that_is_closing() -> None:
    writer = Recorder()
    session = Session(asyncio.StreamReader(), writer, Connection())  # type: ignore[arg-type]
    writer.closing = True
    session.reply("226", "Transfer complete.")
    assert writer.written == b""
    writer.close()


async def test_a_restart_offset_counts_once() -> None:
    writer = Recorder()
    session = Session(asyncio.StreamReader(), writer, Connection(restart_offset=7))  # type: ignore[arg-type]
    assert [session.take_restart_offset() for _ in range(2)] == [7, 0]
    writer.close()
