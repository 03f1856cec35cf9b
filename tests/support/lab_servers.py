"""Real servers in a lab, and the engine against them: for scripts that `support.lab_run.lab_drive` runs."""

from __future__ import annotations

import asyncio
import contextlib
import ftplib
import json
import resource
import socket
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ftpstorm.lab.hosts import Host
from ftpstorm.lab.servers import RunningServer, start_server
from ftpstorm.lab.topology import Network
from ftpstorm.sampler.procnet import NetFiles
from ftpstorm.scenario.target import Server
from support.engine_run import EngineRun, make_scenario, run_engine

PATIENT = {"connect": "30s", "greeting": "30s", "reply": "30s", "data": "30s"}


@contextlib.contextmanager
def served(network: Network, document: Mapping[str, Any], files: Mapping[str, int] | None = None) -> Iterator[Any]:
    """Run the server of a `target.server` section on the server host."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        server = Server.model_validate(document)
        addresses = network.server.addresses
        with start_server(
            server, network.server, addresses[0], folder, files or {"small.bin": 1024}, folder / "server.log",
            more_addresses=addresses[1:],
        ) as running:  # fmt: skip
            yield running


def engine(
    server: RunningServer,
    steps: list[Any],
    load: dict[str, Any] | None = None,
    timeouts: dict[str, str] = PATIENT,
    **keys: Any,
) -> EngineRun:
    """Run `steps` from the namespace of the caller against `server`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    host, port = server.addresses[0]
    target = {"host": host, "user": server.user, **keys.pop("target", {})}
    if server.passive_range is not None:
        target["passive_ports"] = "{}-{}".format(*server.passive_range)
    if server.ca_file is not None:
        target["tls"] = {"mode": "explicit", "ca_file": str(server.ca_file), **keys.pop("tls", {})}
    client = {"timeouts": timeouts, **keys.pop("client", {})}
    scenario = make_scenario(port, steps, load, target=target, client=client, **keys)
    with tempfile.TemporaryDirectory() as folder:
        run = asyncio.run(run_engine(scenario, Path(folder), password=server.password))
    assert run.watched_left == run.sessions_left == 0
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return run


def tell(run: EngineRun, **more: Any) -> None:
    """Print for the test what it asks about: sessions and operations by class, and failures with all that is known."""
    failed = [
        {
            "class": row["class"],
            "phase": row["phase"],
            "code": row["code"],
            "survived": row["control_survived"],
            "reply": run.texts.get(row["text"], ""),
        }
        for row in [*run.sessions, *run.operations]
        if row["class"] != "none"
    ]
    answer = {
        "sessions": Counter(row["class"] for row in run.sessions),
        "operations": run.classes(),
        "ports": [row["passive_port"] for row in run.operations],
        "failed": failed,
        **more,
    }
    print(json.dumps(answer), flush=True)


class Occupants:
    """Logged-in clients beside the engine's, each with a passive port that it does not use."""

    def __init__(self, server: RunningServer) -> None:
        self._server = server
        self.clients: list[ftplib.FTP] = []
        self.ports: set[int] = set()

    def come_in(self) -> ftplib.FTP:
        """Log in."""
        client = ftplib.FTP()  # noqa: S321 - that is what is tested
        client.connect(*self._server.addresses[0], timeout=30)
        client.login(self._server.user, self._server.password)
        self.clients.append(client)
        return client

    def take_port(self) -> None:
        """Log in and take a passive port; a server that draws at random may have to be asked often."""
        for _ in range(1000):
            client = self.come_in()
            try:
                self.ports.add(client.makepasv()[1])
            except (EOFError, ftplib.Error):
                self.clients.remove(client)
                client.close()
            else:
                return
        raise AssertionError(f"no passive port beside {sorted(self.ports)} in a thousand sessions")

    def leave(self) -> None:
        """Close all connections, and with them all passive ports."""
        while self.clients:
            self.clients.pop().close()


def listeners(host: Host, address: str, ports: range) -> contextlib.ExitStack:
    """Take `ports` on `host` for something that is no FTP server; close what is returned to give them back."""
    taken = contextlib.ExitStack()
    with host.entered():
        for port in ports:
            taken.enter_context(socket.create_server((address, port)))
    return taken


def counters(host: Host) -> NetFiles:
    """Open the counters of `host`."""
    with host.entered():
        return NetFiles()
