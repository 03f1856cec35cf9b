"""The clients that take part, and how each is started for a case."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Final

from bench.programs import CACHE, build, certificate
from bench.workloads import Case

PEERS_PYTHON: Final = CACHE / "venv" / "bin" / "python"


@dataclass(frozen=True, slots=True)
class Client:
    """One column of the results."""

    name: str
    program: tuple[str, ...]
    """A Python module and its own options; empty for the C client."""
    workloads: frozenset[str]
    peer: bool = True
    tls: bool = False
    """Whether it does FTPS too."""

    def command(self, case: Case) -> list[str]:
        """Return the command for `case`, the server's port still to be appended."""
        if not self.program:
            words = [str(build("client")), "-w", case.workload, "-c", str(case.sessions), "-n", str(case.operations)]
            words += ["-s", str(case.size)]
            return words + (["-r", str(case.rate)] if case.rate else []) + (["-q"] if self.name == "c-quickack" else [])
        python = str(PEERS_PYTHON) if self.peer else sys.executable
        words = [python, "-m", *self.program, "--workload", case.workload, "--sessions", str(case.sessions)]
        words += ["--operations", str(case.operations), "--size", str(case.size)]
        words += ["--ca-file", str(certificate().certificate)] if case.tls else []
        return words + (["--rate", str(case.rate)] if case.rate else [])


ALL: Final = frozenset({"retr", "stor", "full", "burst", "hold", "greet"})
SMALL: Final = frozenset({"retr", "full"})

OWN: Final = (
    Client("c", (), ALL, peer=False),
    Client("ftpstorm", ("bench.ftpstorm_client",), ALL, peer=False, tls=True),
)
C_QUICKACK: Final = Client("c-quickack", (), SMALL, peer=False)
"""The C client with the one more system call a transfer that the engine makes for servers with Nagle's algorithm."""

BARE_PYTHON: Final = Client("bare-python", ("bench.peers.bare_python",), SMALL, peer=False)
"""The C client's system calls from Python and nothing else: the floor for any client in Python."""

TWO_WORKERS: Final = Client("ftpstorm-2-workers", ("bench.ftpstorm_client", "--workers", "2"), SMALL, peer=False)

PEERS: Final = (
    Client("aioftp-asyncio", ("bench.peers.aioftp_client", "--loop", "asyncio"), ALL - {"greet"}),
    Client("aioftp-uvloop", ("bench.peers.aioftp_client", "--loop", "uvloop"), ALL - {"greet"}),
    Client("ftplib", ("bench.peers.ftplib_threads",), ALL - {"hold", "greet"}),
    Client("pycurl", ("bench.peers.pycurl_multi",), ALL - {"hold", "greet"}, tls=True),
    Client("ftpbench", ("bench.peers.ftpbench_client",), SMALL),
    Client("locust", ("bench.peers.locust_client",), SMALL),
)

ABSENT: Final = {
    "hyperscale": "0.7.2 installs, but its FTP client ignores the port of a URL and, against port 21, raises "
    "ValueError (too many values to unpack) right after it has connected: not one transfer could be made",
}
"""Peers that were tried and cannot take part, and why."""


def peers_missing() -> str | None:
    """Return why the peers cannot run, None where they can."""
    return None if PEERS_PYTHON.exists() else "their environment is not installed: `make bench` installs it"


def takes_part(client: Client, case: Case) -> bool:
    """Tell whether `client` runs `case`: bulk and small transfers share a workload's name, not all clients do both."""
    if case.tls and not client.tls:
        return False
    if client.workloads == SMALL and case.family not in ("W1", "W2"):
        return False
    if client is TWO_WORKERS and case.sessions < 2:
        return False  # one of them would have nothing to do
    return case.workload in client.workloads and (case.peers or not client.peer)
