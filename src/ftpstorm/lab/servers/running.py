"""A server that greets: what to know about it, and its end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from ftpstorm.lab.keeper import GRACE_S

GONE_WITHIN_S: Final = GRACE_S + 5.0
"""How long the keeper may take to end everything; then it is killed itself."""


@dataclass
class RunningServer:
    """A server of the lab. Ends with `stop`, with its context, or with the process that started it."""

    name: str
    """``vsftpd`` and so on; of a server of the user's own the name of its program."""
    version: str | None
    """As the program says it; None where it does not, and for a server of the user's own."""
    addresses: tuple[tuple[str, int], ...]
    """Hosts and ports where it greets."""
    passive_range: tuple[int, int] | None
    """First and last port that its passive ports are meant to come from: the declared ones, else the kernel's
    ephemeral range where it leaves the choice to the kernel; None where only the server knows."""
    pid: int
    """Of the process that listens, as seen from here."""
    user: str
    password: str
    ca_file: Path | None
    """What clients must trust to talk TLS with it; None without TLS."""
    files: Path
    """What clients see as their root, as seen from here."""
    _keeper: subprocess.Popen[bytes] = field(repr=False)
    _folder: Path = field(repr=False)
    _own_logs: tuple[Path, ...] = field(repr=False)
    _log: Path = field(repr=False)

    @property
    def passive_ports(self) -> list[int] | None:
        """Every port of `passive_range`; None where that is."""
        return None if self.passive_range is None else list(range(self.passive_range[0], self.passive_range[1] + 1))

    def exit_status(self) -> int | None:
        """Return the exit status of a server that ended, 128 + N where signal N ended it; None while it lives."""
        return self._keeper.poll()

    def stop(self) -> int:
        """End the server with all its sessions, gather its logs, remove its folder; return its exit status.

        128 + N where signal N ended it, as TERM does. Stopping twice is allowed.
        """
        if self._keeper.poll() is None:
            self._keeper.send_signal(signal.SIGTERM)
        try:
            status = self._keeper.wait(GONE_WITHIN_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._keeper.pid, signal.SIGKILL)
            status = self._keeper.wait()
        if self._folder.exists():
            gather_logs(self._own_logs, self._log)
            shutil.rmtree(self._folder, ignore_errors=True)
        return status

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def gather_logs(own: tuple[Path, ...], log: Path) -> None:
    """Append what a server wrote into log files of its own to `log`."""
    with log.open("ab") as whole:
        for path in own:
            if path.is_file():
                whole.write(path.read_bytes())
