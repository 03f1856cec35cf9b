"""The process above a server: it adopts daemons, ends everything, and says how the server ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ftpstorm.lab.family import descendants

DAEMON = "import os; os.fork() and os._exit(0); os.setsid(); os.execvp('sleep', ['sleep', '600'])"
STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.fork()
open("ready", "a").write("x")
time.sleep(600)
"""


@pytest.fixture
def keep(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Give ``keep(*command)``: a keeper above that command. Whatever is left of it fails the test."""
    keepers: list[subprocess.Popen[bytes]] = []

    def start(*command: str, **more: Any) -> subprocess.Popen[bytes]:
        order = {"parent": os.getpid(), "command": command, "environment": {}, "mounts": []}
        order |= {"folder": str(tmp_path), **more}
        words = [sys.executable, "-m", "ftpstorm.lab.keeper", json.dumps(order)]
        pipe = subprocess.PIPE
        keepers.append(subprocess.Popen(words, start_new_session=True, stdout=pipe, stderr=pipe))
        return keepers[-1]

    yield start
    for keeper in keepers:
        left = [] if keeper.poll() is not None else [keeper.pid, *descendants(keeper.pid)]
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        keeper.communicate()
        assert not left


def wait_for(fact: Callable[[], Any], within_s: float = 30) -> Any:
    deadline = time.monotonic() + within_s
    while not (value := fact()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return value


def command_line(pid: int) -> bytes:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def test_it_ends_with_the_exit_status_of_its_server(keep: Callable[..., subprocess.Popen[bytes]]) -> None:
    assert keep("/bin/sh", "-c", "exit 7").wait(30) == 7
    assert keep("/bin/sh", "-c", "kill -9 $$").wait(30) == 128 + 9


def test_a_daemon_of_the_servers_own_making_is_adopted_and_ended(keep: Callable[..., subprocess.Popen[bytes]]) -> None:
    keeper = keep(sys.executable, "-c", DAEMON)
    (daemon,) = wait_for(lambda: [pid for pid in descendants(keeper.pid) if command_line(pid).startswith(b"sleep\0")])
    keeper.terminate()
    assert keeper.wait(30) == 128 + signal.SIGTERM
    assert not Path(f"/proc/{daemon}").exists()


def test_who_ignores_term_is_killed_with_its_children(
    keep: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    keeper = keep(sys.executable, "-c", STUBBORN)
    wait_for(lambda: (tmp_path / "ready").exists() and (tmp_path / "ready").read_text() == "xx")
    family = descendants(keeper.pid)
    assert len(family) == 2
    keeper.terminate()
    assert keeper.wait(30) == 128 + signal.SIGKILL
    assert not any(Path(f"/proc/{pid}").exists() for pid in family)


def test_a_server_that_cannot_be_executed_is_told(keep: Callable[..., subprocess.Popen[bytes]]) -> None:
    keeper = keep("/no/such/server")
    _, said = keeper.communicate(timeout=30)
    assert keeper.returncode == 125
    assert b"cannot execute /no/such/server: [Errno 2]" in said


def test_its_server_has_its_own_environment_and_what_is_ordered_beside(
    keep: Callable[..., subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INHERITED", "one")
    monkeypatch.setenv("CHANGED", "two")
    said, _ = keep("/usr/bin/env", environment={"CHANGED": "three", "ADDED": "four"}).communicate(timeout=30)
    assert {b"INHERITED=one", b"CHANGED=three", b"ADDED=four"} <= set(said.splitlines())
