"""The processes of a lab by hand: one asleep in each host, the one that shortens TIME_WAIT, and the server.

Each is a context manager that ends what it started, and each process dies with the session in any case. What is done in
the lab meanwhile is `ftpstorm.conduct.lab_session`'s.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ftpstorm.channel import ENVIRONMENT_KEY
from ftpstorm.errors import EnvironmentUnavailableError
from ftpstorm.lab import kernel
from ftpstorm.lab.hosts import Host
from ftpstorm.lab.topology import Network
from ftpstorm.scenario.lab import Lab
from ftpstorm.scenario.target import Server
from ftpstorm.vocabulary import Side

EMULATOR_PORT: Final = 21
READY_WITHIN_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Serving:
    """The server of the lab, as its clients need to know it."""

    name: str
    version: str | None
    address: str
    port: int
    user: str
    password: str
    ca_file: str | None
    files: tuple[str, ...]
    log: str

    def to_json(self) -> dict[str, Any]:
        """Return it for `lab up`: a password of the lab's own is no secret."""
        return {
            "name": self.name,
            "version": self.version,
            "address": self.address,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "ca_file": self.ca_file,
            "files": list(self.files),
            "log": self.log,
        }


def apart(network: Network) -> Sequence[Host]:
    """Return one host for each network namespace."""
    alone = network.server.netns == network.clients[0].netns
    return [host for host in network.hosts if not (alone and host.side is Side.SERVER)]


@contextmanager
def holder(host: Host) -> Iterator[int]:
    """Keep a process asleep in `host`, so that there is a pid to enter it by; give that pid."""
    parent = os.getpid()
    with host.entered():
        pid = os.fork()
        if pid == 0:
            try:
                kernel.die_with_parent(parent)
                os.closerange(0, 1 << 20)
                while True:
                    signal.pause()
            finally:
                os._exit(1)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@contextmanager
def shortened_time_wait(lab: Lab, network: Network) -> Iterator[None]:
    """Shorten TIME_WAIT where the lab asks for it, by the process that does so in a run."""
    lengths = {Side.CLIENT: lab.time_wait.client, Side.SERVER: lab.time_wait.server}
    hosts = [
        {"name": host.name, "netns": host.netns, "time_wait_ns": length}
        for host in apart(network)
        if (length := lengths.get(host.side)) is not None
    ]
    if not hosts:
        yield
        return
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "ftpstorm.lab.reaper"],
                pass_fds=[theirs.fileno(), *(host["netns"] for host in hosts)],  # type: ignore[list-item]
                env={**os.environ, ENVIRONMENT_KEY: str(theirs.fileno())},
                preexec_fn=_dying_with(os.getpid()),
            )
        ours.sendall(json.dumps({"type": "hello", "hosts": hosts}).encode() + b"\n")
        with process:
            try:
                answer = read_message(ours)
                if answer.get("type") != "ready":
                    raise EnvironmentUnavailableError(str(answer.get("message", "lab.time_wait: nothing shortens it")))
                yield
            finally:
                process.kill()


@contextmanager
def real_server(server: Server, network: Network, folder: Path, files: Mapping[str, int]) -> Iterator[Serving]:
    """Run `server` on all addresses of the server's host, its files and its log in `folder`."""
    from ftpstorm.lab.servers import start_server

    log = folder / "server.log"
    log.touch()
    first, *more = network.server.addresses
    with start_server(server, network.server, first, folder, files, log, more_addresses=more) as running:
        yield Serving(
            name=running.name,
            version=running.version,
            address=first,
            port=server.port,
            user=running.user,
            password=running.password,
            ca_file=None if running.ca_file is None else str(running.ca_file),
            files=tuple(files),
            log=str(log),
        )


@contextmanager
def emulator(scenario: str, network: Network, folder: Path, files: Mapping[str, int]) -> Iterator[Serving]:
    """Serve the emulator of the `scenario` (YAML text) on the server's first address, as ``ftpstorm serve`` does."""
    file, log = folder / "scenario.yaml", folder / "emulator.log"
    file.write_text(scenario, encoding="utf-8")
    address = network.server.addresses[0]
    serve = ["serve", str(file), "--host", address, "--port", str(EMULATOR_PORT), "--log", str(log)]
    with network.server.entered():
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "ftpstorm", *serve],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=_dying_with(os.getpid()),
        )
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()  # printed once it listens
            if not line.startswith("ftp://"):
                raise EnvironmentUnavailableError(f"the emulator did not start on {address}; see above")
            yield Serving(
                name="emulator",
                version=None,
                address=address,
                port=EMULATOR_PORT,
                user="anonymous",
                password="ftpstorm@",  # noqa: S106 - any will do
                ca_file=None,
                files=tuple(files),
                log=str(log),
            )
        finally:
            process.kill()


def _dying_with(parent: int) -> Any:
    return lambda: kernel.die_with_parent(parent)


def read_message(channel: socket.socket) -> dict[str, Any]:
    """Return the next message, {} where the peer is gone or silent."""
    channel.settimeout(READY_WITHIN_S)
    data = b""
    try:
        while not data.endswith(b"\n"):
            more = channel.recv(65_536)
            if not more:
                return {}
            data += more
    except TimeoutError:
        return {}
    finally:
        channel.settimeout(None)
    message: dict[str, Any] = json.loads(data)
    return message
