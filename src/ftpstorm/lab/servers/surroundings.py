"""The system that a server sees: its own /etc with its own users, its own /run and /var/log, nothing of this host's.

`prepare` writes it into the server's folder; the keeper binds it over the host's, in a mount namespace that only the
server has. So no server reads or writes what belongs to the host, whoever its users are.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ftpstorm.errors import EnvironmentUnavailableError
from ftpstorm.lab.servers.recipe import FTP_GROUP, FTP_USER, NOBODY, Identity

SEEN_AT: Final = ("/srv", "/mnt", "/media", "/opt")
"""Where a server may find its folder: the first of them that exists and hides nothing that the server needs."""
MASKED: Final = ("etc", "run", "var/log")
_SHARED: Final = ("ld.so.cache", "localtime", "ssl/openssl.cnf")
"""Files of /etc that a program needs to start or to tell the time."""


def choose_place(needed: Iterable[Path]) -> Path:
    """Return where the server will see its folder. `needed` are the files it is started from.

    Raises EnvironmentUnavailableError where every place would hide one of them, or where /etc, /run or /var/log does.
    """
    resolved = [path.resolve() for path in needed]
    for masked in MASKED:
        hidden = [path for path in resolved if path.is_relative_to(Path("/", masked).resolve())]
        if hidden:
            raise EnvironmentUnavailableError(
                f"target.server: {hidden[0]} lies below /{masked}, which the server gets anew; "
                "let FTPSTORM_SERVERS name another folder"
            )
    for place in map(Path, SEEN_AT):
        if place.is_dir() and not any(path.is_relative_to(place.resolve()) for path in resolved):
            return place
    raise EnvironmentUnavailableError(
        f"target.server: none of {', '.join(SEEN_AT)} can be lent to the server: each is missing or holds what it needs"
    )


def prepare(folder: Path, seen: Path, identity: Identity, control_port: int) -> list[tuple[str, str]]:
    """Write etc, run and var/log into `folder`; return the mounts that put them, and the folder, in their places."""
    for name in ("run", "var/log", "empty"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    _write_etc(folder / "etc", seen, identity, control_port)
    mounts = [(str(folder), str(seen)), *((str(seen / name), f"/{name}") for name in MASKED)]
    if not Path("/var/run").is_symlink() and Path("/var/run").is_dir():
        mounts.append((str(seen / "run"), "/var/run"))
    system_log = Path("/dev/log")
    if system_log.exists() and not system_log.resolve().is_relative_to("/run"):
        mounts.append(("/dev/null", str(system_log.resolve())))
    return [(source, target) for source, target in mounts if Path(target).exists()]


def _write_etc(etc: Path, seen: Path, identity: Identity, control_port: int) -> None:
    (etc / "pam.d").mkdir(parents=True)
    home = seen / "files"
    texts = {
        "passwd": (
            f"root:x:0:0:root:/:/bin/sh\n"
            f"{FTP_USER}:x:{identity.ftp}:{identity.ftp}:anonymous:{home}:/bin/sh\n"
            f"{NOBODY}:x:{identity.nobody}:{identity.nobody}:nobody:{seen / 'empty'}:/bin/false\n"
        ),
        "group": f"root:x:0:\n{FTP_GROUP}:x:{identity.ftp}:\nnogroup:x:{identity.nobody}:\n",
        "shadow": f"root:*:19000::::::\n{FTP_USER}:*:19000::::::\n",
        "shells": "/bin/sh\n",
        "services": f"ftp-data 20/tcp\nftp {control_port}/tcp\n",
        "protocols": "ip 0 IP\ntcp 6 TCP\n",
        "hosts": "127.0.0.1 localhost\n::1 localhost\n",
        "nsswitch.conf": "".join(
            f"{database}: files\n" for database in ("passwd", "group", "shadow", "hosts", "services", "protocols")
        ),
        "pam.d/other": "".join(
            f"{kind} required pam_permit.so\n" for kind in ("auth", "account", "session", "password")
        ),
    }
    for name, text in texts.items():
        (etc / name).write_text(text, encoding="ascii")
    (etc / "shadow").chmod(0o600)
    for name in _SHARED:
        if (source := Path("/etc", name)).is_file():
            (etc / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(source, etc / name)
