"""`session_hold`: a session's last data connection counts as in use for a while, for that session alone."""

# ruff: noqa: S321 - FTP is what this is about

from __future__ import annotations

import errno
import ftplib
import io
from collections.abc import Callable
from typing import Any

import pytest

from ftpstorm.emulator.backend import BackEnd

SECTION = {"passive_ports": 3, "hold": {"for": "0s"}, "session_hold": "2s", "reply": "425 Try later, in use."}


class HandClock:
    """A clock that stands still until the test moves it."""

    now_ns = 1_000_000_000_000

    def __call__(self) -> int:
        return self.now_ns


def logged_in(emulator: Any) -> ftplib.FTP:
    ftp = ftplib.FTP(timeout=30)
    ftp.connect(emulator.host, emulator.port)
    ftp.login()
    return ftp


def test_the_next_transfer_command_is_refused_until_the_time_is_over(start_emulator: Callable[..., Any]) -> None:
    clock = HandClock()
    emulator = start_emulator(SECTION, clock=clock)
    with logged_in(emulator) as one, logged_in(emulator) as other:
        one.storbinary("STOR first.bin", io.BytesIO(b"x"))
        for command in ("STOR second.bin", "RETR small.bin", "LIST"):
            with pytest.raises(ftplib.error_temp, match=r"^425 Try later, in use\.$"):
                one.ntransfercmd(command)
        other.storbinary("STOR third.bin", io.BytesIO(b"x"))
        clock.now_ns += 2_000_000_000 - 1
        with pytest.raises(ftplib.error_temp):
            one.ntransfercmd("LIST")
        clock.now_ns += 1
        one.storbinary("STOR fourth.bin", io.BytesIO(b"x"))
        assert emulator.ask(lambda server: server.pool.counts(clock())[0]) == 3  # every port is free again


def test_refusals_do_not_lengthen_it_and_unless_asked_for_there_is_none(start_emulator: Callable[..., Any]) -> None:
    emulator = start_emulator({"passive_ports": 3})
    with logged_in(emulator) as ftp:
        for name in ("a", "b", "c", "d"):
            ftp.storbinary(f"STOR {name}.bin", io.BytesIO(b"x"))


def test_it_begins_only_after_a_data_connection(start_emulator: Callable[..., Any]) -> None:
    clock = HandClock()
    emulator = start_emulator(SECTION, clock=clock, data_wait_ns=1_000_000_000)
    with logged_in(emulator) as ftp:
        ftp.makepasv()
        assert ftp.sendcmd("RETR small.bin").startswith("150")
        clock.now_ns += 1_000_000_000
        with pytest.raises(ftplib.error_temp, match=r"^425 Can't open data connection"):
            ftp.getresp()
        ftp.retrbinary("RETR small.bin", lambda _: None)
        with pytest.raises(ftplib.error_temp, match=r"^425 Try later, in use\.$"):
            ftp.ntransfercmd("RETR small.bin")


def test_it_does_not_begin_with_a_transfer_that_the_back_end_made_impossible(
    start_emulator: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    async def ask(self: BackEnd) -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")

    monkeypatch.setattr(BackEnd, "ask", ask)
    emulator = start_emulator({**SECTION, "backend": {"per": "request"}}, clock=HandClock())
    with logged_in(emulator) as ftp:
        with pytest.raises(ftplib.error_temp, match=r"^451 "):
            ftp.ntransfercmd("RETR small.bin")
        ftp.retrbinary("RETR small.bin", lambda _: None)
