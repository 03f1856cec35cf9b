"""Run iproute2's and nftables' programs inside hosts of the lab, and keep what was run.

What to say to them is left to `topology`, `links` and `firewall`; each host gets one process for a whole batch.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from ftpstorm.errors import EnvironmentUnavailableError
from ftpstorm.lab.hosts import Host

PACKAGES: Final = {"ip": "iproute2", "tc": "iproute2", "nft": "nftables"}
"""Program to the Debian package that has it."""
PLACES: Final = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
"""Where they lie even where a plain user's PATH does not say so."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines for one program in one host. `descriptors` stay open in it, under their own numbers."""

    host: Host
    program: str
    """``ip``, ``tc`` or ``nft``."""
    text: str
    descriptors: tuple[int, ...] = ()


@dataclass(slots=True)
class Commands:
    """Runs batches; `log` holds all of them in order, the way a person would type them."""

    log: list[str] = field(default_factory=list)

    def run(self, batches: Sequence[Batch]) -> None:
        """Run `batches` at the same time, each in its host, and return when all have ended.

        The calling thread visits the hosts. Raises EnvironmentUnavailableError where a program is missing, naming its
        package, or fails, with its own words.
        """
        running = [(batch, self._start(batch)) for batch in batches if batch.text]
        complaints = []
        for batch, process in running:
            _, complaint = process.communicate(batch.text)
            if process.returncode != 0:
                complaints.append(_failed(batch, process.returncode, complaint))
        if complaints:
            raise EnvironmentUnavailableError("\n".join(complaints))

    def _start(self, batch: Batch) -> subprocess.Popen[str]:
        path = find_program(batch.program)
        arguments = [path, "-f", "-"] if batch.program == "nft" else [path, "-batch", "-"]
        self.log.append(f"{batch.host.name}# {batch.program} {' '.join(arguments[1:])} <<.\n{batch.text}.\n")
        with batch.host.entered():
            return subprocess.Popen(
                arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                pass_fds=batch.descriptors,
                env={"PATH": PLACES, "LC_ALL": "C"},
            )


def find_program(name: str) -> str:
    """Return the path of ``ip``, ``tc`` or ``nft``; raise EnvironmentUnavailableError naming the package without it."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":" + PLACES)
    if path is None:
        raise EnvironmentUnavailableError(
            f"the lab needs `{name}`, which was not found in PATH or {PLACES}: install the package {PACKAGES[name]}"
        )
    return path


def _failed(batch: Batch, status: int, complaint: str) -> str:
    """Return the message for a batch that failed: the program's first complaint and the line it is about."""
    said = next((line.strip() for line in complaint.splitlines() if line.strip()), "nothing")
    where = complaint.rpartition("-:")[2].strip() if batch.program != "nft" else ""
    line = f"; at: {batch.text.splitlines()[int(where) - 1]}" if where.isdigit() else ""
    return f"lab: {batch.program} on {batch.host.name} ended with {status} and said: {said}{line}"
