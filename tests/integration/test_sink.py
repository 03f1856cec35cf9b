"""The sink answers a plain client, keeps its passive ports apart, and survives clients that vanish."""

from __future__ import annotations

import ftplib
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import IO

import pytest

from ftpstorm.conduct.sink import PAYLOAD
from ftpstorm.ftp.endpoints import parse_epsv


@pytest.fixture
def sink() -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Give the port of a sink and its process."""
    command = [sys.executable, "-m", "ftpstorm.conduct.sink"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["port"], process
        finally:
            process.kill()


def counts(process: subprocess.Popen[str]) -> dict[str, float]:
    said, _ = process.communicate(timeout=30)  # closes stdin: its end is the sink's
    answer: dict[str, float] = json.loads(said)
    return answer


def connect(port: int) -> ftplib.FTP:
    client = ftplib.FTP(timeout=30)  # noqa: S321 - what it is about
    client.connect("127.0.0.1", port)
    client.login()
    return client


def test_a_file_comes_whole_as_often_as_it_is_asked_for(sink: tuple[int, subprocess.Popen[str]]) -> None:
    port, process = sink
    with connect(port) as client:
        for _ in range(3):
            got: list[bytes] = []
            client.retrbinary("RETR any.bin", got.append)
            assert b"".join(got) == PAYLOAD
    assert counts(process)["transfers"] == 3


def test_sessions_at_one_time_have_passive_ports_of_their_own(sink: tuple[int, subprocess.Popen[str]]) -> None:
    port, _ = sink
    with connect(port) as one, connect(port) as other:
        ports = {parse_epsv(client.sendcmd("EPSV").encode()) for client in (one, other, one)}
    assert len(ports) == 2


def test_the_command_may_overtake_the_connection(sink: tuple[int, subprocess.Popen[str]]) -> None:
    import socket

    port, _ = sink
    with connect(port) as client:
        passive = parse_epsv(client.sendcmd("EPSV").encode())
        client.putcmd("RETR early.bin")
        with socket.create_connection(("127.0.0.1", passive), 30) as data:
            file: IO[bytes]
            with data.makefile("rb") as file:
                assert file.read() == PAYLOAD
        assert client.getresp().startswith("150")
        assert client.getresp().startswith("226")


def test_a_client_that_vanishes_leaves_nothing_for_the_next_session(sink: tuple[int, subprocess.Popen[str]]) -> None:
    import socket

    port, process = sink
    client = connect(port)
    passive = parse_epsv(client.sendcmd("EPSV").encode())
    stale = socket.create_connection(("127.0.0.1", passive), 30)
    client.close()
    with stale, connect(port) as after:
        with pytest.raises(ConnectionResetError):
            stale.recv(1)
        got: list[bytes] = []
        after.retrbinary("RETR any.bin", got.append)
        assert b"".join(got) == PAYLOAD
    assert counts(process)["sessions"] == 2


def test_what_it_does_not_know_is_refused(sink: tuple[int, subprocess.Popen[str]]) -> None:
    port, _ = sink
    with connect(port) as client:
        with pytest.raises(ftplib.error_perm, match="502"):
            client.sendcmd("LIST")
        with pytest.raises(ftplib.error_temp, match="425"):
            client.sendcmd("RETR any.bin")
