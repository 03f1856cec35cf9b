"""What a server's processes are given: nothing of the environment on a command line, no password in the environment."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ftpstorm.lab.servers import RunningServer, start_server
from ftpstorm.scenario.target import Server

SERVER = """
import socket, sys
with socket.create_server((sys.argv[1], int(sys.argv[2]))) as listener:
    while True:
        with listener.accept()[0] as client:
            client.sendall(b"220 Here.\\r\\n")
            client.recv(100)
"""
PASSWORD, TOKEN = "the target's password", "a token of somebody else"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@pytest.fixture(params=["own", "aioftp"])
def server(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningServer]:
    monkeypatch.setenv("TARGETS_PASSWORD", PASSWORD)
    monkeypatch.setenv("SOMEBODYS_TOKEN", TOKEN)
    monkeypatch.setenv("LONG", "x" * 100_000)
    monkeypatch.setenv("LONGER", "x" * 100_000)  # one argument may have 128 KiB (MAX_ARG_STRLEN)
    command = {"command": [sys.executable, "-c", SERVER, "{address}", "{port}"]}
    asked = Server.model_validate({"port": free_port(), **(command if request.param == "own" else {"name": "aioftp"})})
    log = tmp_path / "log"
    with start_server(asked, None, "127.0.0.1", tmp_path, {}, log, secrets=("TARGETS_PASSWORD",)) as running:
        yield running


def test_no_command_line_shows_the_environment_and_no_environment_has_the_password(server: RunningServer) -> None:
    keeper = psutil.Process(server._keeper.pid)
    children = keeper.children(recursive=True)
    assert server.pid in [process.pid for process in children]
    for process in (keeper, *children):
        words = "\0".join(process.cmdline())
        assert PASSWORD not in words
        assert TOKEN not in words
        environment = process.environ()
        assert environment["SOMEBODYS_TOKEN"] == TOKEN
        assert "TARGETS_PASSWORD" not in environment
