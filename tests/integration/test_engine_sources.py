"""Where connections come from, in a network namespace of the test's own: ports that are few, addresses that are many.

A body runs as this file's main program inside ``unshare -Urn``, and prints what it found as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import json
import socket
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from ftpstorm.errors import EnvironmentUnavailableError
from ftpstorm.lab.kernel import bring_up_loopback
from support.engine_run import EngineRun, make_scenario, run_engine
from support.scripted_server import Peer

Require = Callable[[str, bool, str], None]

PORTS = 20
DESTINATIONS = 5
SIOCSIFFLAGS = 0x8914
RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


@contextlib.asynccontextmanager
async def many_addresses(release: asyncio.Event, seen: list[tuple[str, str]]) -> AsyncIterator[list[tuple[str, int]]]:
    """Serve DESTINATIONS addresses of 127/8 that keep every control connection until `release`; yields them.

    `seen` gets the peer's address of each control connection, and of its data connections behind it.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        source = writer.get_extra_info("peername")[0]
        with contextlib.suppress(ConnectionError), contextlib.closing(writer):
            await peer.login()
            while line := await peer.command():
                if line == "EPSV":
                    await peer.send(f"229 ok (|||{peer.listen()}|)")
                elif line == "LIST":
                    data = await peer.accept()
                    seen.append((source, data.getpeername()[0]))
                    await peer.send("150 go")
                    data.close()
                    await peer.send("226 done")
                else:
                    await release.wait()
                    await peer.send("200 ok")

    async with contextlib.AsyncExitStack() as servers:
        addresses = [(f"127.0.1.{number}", 2121) for number in range(1, DESTINATIONS + 1)]
        for host, port in addresses:
            server = await asyncio.start_server(serve, host, port, backlog=4096)
            servers.push_async_callback(server.wait_closed)
            servers.callback(server.close)
        yield addresses


async def connect_many(sessions: int, client: dict[str, Any]) -> EngineRun:
    """Hold `sessions` sessions open at one time, over all destinations, until each has connected or failed."""
    release = asyncio.Event()

    async def meanwhile(dispatcher: Any) -> None:
        def settled() -> bool:
            return all(session.login_ns > 0 for session in dispatcher.sessions)

        while dispatcher.work.journal.counts.started < sessions or not settled():
            await asyncio.sleep(0.01)
        release.set()

    async with many_addresses(release, []) as addresses:
        scenario = make_scenario(2121, ["login", "noop"], {"sessions": sessions}, client=client)
        with tempfile.TemporaryDirectory() as folder:
            return await run_engine(scenario, Path(folder), meanwhile=meanwhile, targets=addresses)


def few_ports() -> None:
    bring_up_loopback()
    RANGE.write_text(f"40000 {40000 + PORTS - 1}")


def body_habit(habit: str) -> dict[str, Any]:
    """More sessions than either space has room for, with one habit of binding."""
    few_ports()
    client = {"bind": habit} | ({"source_addresses": ["127.0.0.9"]} if habit != "kernel" else {})
    run = asyncio.run(connect_many(PORTS * DESTINATIONS + 30, client))
    failed = [session for session in run.sessions if session["outcome"] == "failed"]
    return {
        "connected": run.counts.succeeded,
        "classes": sorted({session["class"] for session in failed}),
        "errnos": sorted({session["errno"] for session in failed}),
        "connects": run.counts.connects,
        "balanced": run.counts.started == run.counts.succeeded + run.counts.failed == run.planned,
    }


def body_sources() -> dict[str, Any]:
    """A network of source addresses, data connections from the next one."""
    bring_up_loopback()
    seen: list[tuple[str, str]] = []

    async def run() -> EngineRun:
        release = asyncio.Event()
        release.set()
        async with many_addresses(release, seen) as addresses:
            client = {"source_addresses": ["127.0.2.0/29"], "data_source": "other", "bind": "no-port"}
            scenario = make_scenario(2121, ["login", "list"], {"sessions": 60}, client=client)
            with tempfile.TemporaryDirectory() as folder:
                return await run_engine(scenario, Path(folder), targets=addresses)

    done = asyncio.run(run())
    return {
        "succeeded": done.counts.succeeded,
        "controls": Counter(control for control, _ in seen),
        "shifts": sorted({(int(data.split(".")[3]) - int(control.split(".")[3])) % 6 for control, data in seen}),
        "pairs": len({(session["source"], session["target"]) for session in done.sessions}),
    }


def body_range() -> dict[str, Any]:
    """An ephemeral range of the load's own."""
    bring_up_loopback()
    RANGE.write_text("40000 49999")
    found: dict[str, Any] = {}
    run = asyncio.run(connect_many(PORTS * DESTINATIONS + 30, {"port_range": "45000-45019"}))
    ports = {session["local_port"] for session in run.sessions if session["outcome"] == "succeeded"}
    found["inside"] = [run.counts.succeeded, min(ports), max(ports)]
    for outside in ("30000-30019", "39990-40009"):
        try:
            asyncio.run(connect_many(1, {"port_range": outside}))
        except EnvironmentUnavailableError as error:
            found[outside] = str(error)
    try:
        asyncio.run(connect_many(1, {"source_addresses": ["127.0.0.5", "10.9.8.7"]}))
    except EnvironmentUnavailableError as error:
        found["stranger"] = str(error)
    return found


def body_ghost() -> dict[str, Any]:
    """A peer that is gone once the handshake is done: the loopback interface goes down."""
    bring_up_loopback()

    async def meanwhile(dispatcher: Any) -> None:
        while not any(session.connected_ns > 0 for session in dispatcher.sessions):
            await asyncio.sleep(0.005)
        with socket.socket() as sock:
            fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", 0))

    async def run() -> EngineRun:
        with socket.create_server(("127.0.0.1", 2121)):
            client = {"greeting_nudge": "300ms", "timeouts": {"greeting": "900ms"}}
            scenario = make_scenario(2121, ["login"], client=client)
            with tempfile.TemporaryDirectory() as folder:
                return await run_engine(scenario, Path(folder), meanwhile=meanwhile)

    (session,) = asyncio.run(run()).sessions
    return {"class": session["class"], "errno": session["errno"], "connects": session["connects"]}


@pytest.fixture(scope="session")
def namespaces() -> str:
    """Why this host makes no network namespaces, or "" where it does."""
    try:
        tried = subprocess.run(["unshare", "-Urn", "true"], capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        return "unshare(1) is not installed"
    return tried.stderr.strip() or "refused" if tried.returncode else ""


def run_inside(*body: str) -> dict[str, Any]:
    command = ["unshare", "-Urn", sys.executable, __file__, *body]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize(
    ("habit", "room", "number"),
    [
        ("kernel", PORTS * DESTINATIONS, errno.EADDRNOTAVAIL),  # of connect(2)
        ("no-port", PORTS * DESTINATIONS, errno.EADDRNOTAVAIL),
        ("port", PORTS, errno.EADDRINUSE),  # of bind(2)
    ],
)
def test_only_a_port_drawn_at_bind_comes_from_the_port_space(
    require: Require, namespaces: str, habit: str, room: int, number: int
) -> None:
    require("namespaces", not namespaces, namespaces)
    assert run_inside("habit", habit) == {
        "connected": room,
        "classes": ["local-ports-exhausted"],
        "errnos": [number],
        "connects": room,
        "balanced": True,
    }


def test_a_network_of_source_addresses_is_spread_evenly_and_data_may_come_from_the_next(
    require: Require, namespaces: str
) -> None:
    require("namespaces", not namespaces, namespaces)
    assert run_inside("sources") == {
        "succeeded": 60,
        "controls": {f"127.0.2.{number}": 10 for number in range(1, 7)},
        "shifts": [1],
        "pairs": 6 * DESTINATIONS,
    }


def test_a_port_range_of_ones_own_is_obeyed_or_refused_before_the_load(require: Require, namespaces: str) -> None:
    require("namespaces", not namespaces, namespaces)
    found = run_inside("range")
    if "IP_LOCAL_PORT_RANGE" in found.get("30000-30019", ""):
        require("port-range", False, found["30000-30019"])
    connected, lowest, highest = found["inside"]
    assert connected == PORTS * DESTINATIONS
    assert (lowest, highest) == (45_000, 45_019)
    for outside in ("30000-30019", "39990-40009"):
        assert "does not lie inside net.ipv4.ip_local_port_range (40000-49999)" in found[outside]
    assert "10.9.8.7: Cannot assign requested address" in found["stranger"]


def test_a_nudge_that_nobody_acknowledges_tells_a_ghost_from_a_slow_server(require: Require, namespaces: str) -> None:
    require("namespaces", not namespaces, namespaces)
    assert run_inside("ghost") == {"class": "greeting-silent", "errno": errno.ETIMEDOUT, "connects": 1}


if __name__ == "__main__":
    bodies: dict[str, Callable[..., dict[str, Any]]] = {
        "habit": body_habit,
        "sources": body_sources,
        "range": body_range,
        "ghost": body_ghost,
    }
    print(json.dumps(bodies[sys.argv[1]](*sys.argv[2:])))
