"""Counters in a network namespace of the test's own: they count its connections and nobody else's.

A body runs as this file's main program inside ``unshare -Urn``, and prints what it found as JSON.
"""

from __future__ import annotations

import fcntl
import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from ftpstorm.sampler.census import CensusTaker, Watch
from ftpstorm.sampler.sources import Source
from ftpstorm.vocabulary import Side, TcpState

Require = Callable[[str, bool, str], None]

CONNECTS = 23
SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1
CLONE_NEWNET = 0x40000000


def loopback_up() -> None:
    with socket.socket() as sock:
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def connect_and_close(times: int, first: str) -> int:
    """Make `times` connections, closed by ``server`` or ``client`` first; return the listener's port."""
    with socket.create_server(("127.0.0.1", 0), backlog=times) as listener:
        address = listener.getsockname()
        for _ in range(times):
            client = socket.create_connection(address, 10)
            server, _ = listener.accept()
            one, other = (server, client) if first == "server" else (client, server)
            one.close()
            assert other.recv(1) == b""
            other.close()
        return int(address[1])


def body_counters() -> dict[str, Any]:
    loopback_up()
    with Source("host") as source:
        before = source.read_counters()
        port = connect_and_close(CONNECTS, "server")
        after = source.read_counters()
        taker = CensusTaker(Watch(frozenset({port}), frozenset(), source.port_range))
        deadline = time.monotonic() + 10
        while True:
            census = source.take_census(taker)
            if census.sockets == census.states[Side.SERVER].get(TcpState.TIME_WAIT, 0) or time.monotonic() > deadline:
                break
            time.sleep(0.01)
        return {
            "missing": source.missing,
            "opens": after["Tcp.ActiveOpens"] - before["Tcp.ActiveOpens"],
            "accepts": after["Tcp.PassiveOpens"] - before["Tcp.PassiveOpens"],
            "time_wait": census.states[Side.SERVER].get(TcpState.TIME_WAIT, 0),
            "sockets": census.sockets,
            "sockstat_tw": source.read_sockstat()["tw"],
        }


def body_foreign() -> dict[str, Any]:
    """Open a source in a thread that enters another namespace, then read it from the main thread."""
    import ctypes

    loopback_up()
    libc = ctypes.CDLL(None, use_errno=True)
    found: dict[str, Any] = {}
    listening, measured = threading.Event(), threading.Event()

    def inside() -> None:
        assert libc.unshare(CLONE_NEWNET) == 0
        loopback_up()
        found["source"] = Source("client", fall_back=False)
        connect_and_close(CONNECTS, "client")
        listening.set()
        measured.wait(30)

    thread = threading.Thread(target=inside)
    thread.start()
    assert listening.wait(30)
    connect_and_close(2, "client")
    with found["source"] as foreign, Source("host") as own:
        client = CensusTaker(Watch(port_range=(1, 65_535)), Side.CLIENT)
        result = {
            name: {
                "opens": source.read_counters()["Tcp.ActiveOpens"],
                "time_wait": source.take_census(client).states[Side.CLIENT].get(TcpState.TIME_WAIT, 0),
            }
            for name, source in (("foreign", foreign), ("own", own))
        }
    measured.set()
    thread.join(30)
    return result


@pytest.fixture(scope="session")
def namespaces() -> str:
    """Why this host makes no network namespaces, or "" where it does."""
    try:
        tried = subprocess.run(["unshare", "-Urn", "true"], capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        return "unshare(1) is not installed"
    return tried.stderr.strip() or "refused" if tried.returncode else ""


def run_inside(body: str) -> dict[str, Any]:
    command = ["unshare", "-Urn", sys.executable, __file__, body]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_active_opens_are_the_connects_that_were_made(require: Require, namespaces: str) -> None:
    require("namespaces", not namespaces, namespaces)
    assert run_inside("counters") == {
        "missing": {},
        "opens": CONNECTS,
        "accepts": CONNECTS,
        "time_wait": CONNECTS,
        "sockets": CONNECTS,
        "sockstat_tw": CONNECTS,
    }


def test_a_source_goes_on_reading_the_namespace_it_was_opened_in(require: Require, namespaces: str) -> None:
    require("namespaces", not namespaces, namespaces)
    assert run_inside("foreign") == {
        "foreign": {"opens": CONNECTS, "time_wait": CONNECTS},
        "own": {"opens": 2, "time_wait": 2},
    }


if __name__ == "__main__":
    print(json.dumps({"counters": body_counters, "foreign": body_foreign}[sys.argv[1]]()))
