"""What every kind of server is started from: where it lives, whom it runs as, and the recipe that its module writes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ftpstorm.errors import EnvironmentUnavailableError

USER: Final = "anonymous"
PASSWORD: Final = "ftpstorm@"  # noqa: S105 - of the anonymous user of a server that lives for one run
PASSWORD_HASH: Final = (
    "$6$ftpstorm$YsF.MepumK24yN4vycQzpvZMARzBk6bJPM0AIiiVh2S8QnF8Vb19KiGVuQ8X1Rub8/gM0455b0Jwpzh//fiGY1"  # noqa: S105 - of PASSWORD
)
"""crypt(3) of PASSWORD."""

FTP_USER: Final = "ftp"
FTP_GROUP: Final = "ftp"
NOBODY: Final = "nobody"
"""Users and groups in the passwd file that a server gets of its own."""

FTP_ID: Final = 65_533
"""uid and gid that sessions run with where the user namespace maps them: nobody's files, nobody else's processes."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which uids a server can change to."""

    single: bool
    """The user namespace maps one id only: setgroups(2) and any other uid are refused."""
    ftp: int
    """uid and gid of the anonymous user; 0 where there is no other."""
    nobody: int


def read_identity(uid_map: str | None = None) -> Identity:
    """Return what the user namespace allows; `uid_map` is the text of /proc/self/uid_map, read where it is None."""
    text = Path("/proc/self/uid_map").read_text(encoding="ascii") if uid_map is None else uid_map
    ranges = [(int(first), int(count)) for first, _, count in (line.split() for line in text.splitlines())]
    if sum(count for _, count in ranges) <= 2:
        return Identity(single=True, ftp=0, nobody=0)

    def highest(limit: int) -> int:
        return max(min(first + count - 1, limit) for first, count in ranges if first <= limit)

    ftp = highest(FTP_ID)
    return Identity(single=False, ftp=ftp, nobody=highest(ftp - 1))


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of one server, and what it must listen on."""

    folder: Path
    """Its folder as we see it."""
    seen: Path
    """The same folder as the server sees it: a short path that any user may enter."""
    addresses: tuple[str, ...]
    """Where clients will come to: with one it listens there alone, with several on every address of the host."""
    ipv6: bool
    port: int
    identity: Identity
    certificate: str | None = None
    """PEM file with key and certificate, as the server sees it; None without TLS."""

    @property
    def address(self) -> str | None:
        """The one address to listen on; None for every address of the host."""
        return self.addresses[0] if len(self.addresses) == 1 else None

    @property
    def wildcard_or_address(self) -> str:
        """What bind(2) takes."""
        return self.address or ("::" if self.ipv6 else "0.0.0.0")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to start a server whose files are written."""

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    """All of it. What differs from this process's own is seen by all users of the system: put no secret there."""
    private: bool = True
    """Give it a mount namespace with /etc, /run and /var/log of its own, and its folder at `Place.seen`."""
    logs: tuple[str, ...] = ()
    """Names in its folder of log files that it writes itself."""


def refuse(name: str, why: str) -> EnvironmentUnavailableError:
    """Return the error that `name` cannot run in this user namespace."""
    return EnvironmentUnavailableError(
        f"target.server: {name} cannot run here: {why}; start ftpstorm as root, or take another server "
        "(vsftpd, proftpd, inetutils-ftpd, pyftpdlib and aioftp run for a plain user)"
    )
