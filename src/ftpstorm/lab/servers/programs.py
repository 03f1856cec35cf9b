"""Finding a server's program: installed on this system, or unpacked by ``scripts/fetch-servers``; and its version."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from ftpstorm.errors import EnvironmentUnavailableError

FOLDER_KEY: Final = "FTPSTORM_SERVERS"
"""Environment variable with the folder that ``scripts/fetch-servers`` fills."""
SAYS_WITHIN_S: Final = 10.0
_CHECKOUT: Final = Path(__file__).parents[4]
_SYSTEM: Final = ("/usr/local/sbin", "/usr/sbin", "/usr/local/bin", "/usr/bin")
_VERSION: Final = re.compile(r"\d+\.\d+[\w.]*")


@dataclass(frozen=True, slots=True)
class Known:
    """How one server is known to systems and packages."""

    package: str
    """Debian's package, or the name on PyPI."""
    names: tuple[str, ...]
    """What its program may be called; empty for a server in Python."""
    ask: str = "-v"
    """Flag that makes the program say its version and end."""
    says: str = ""
    """What it then says, to tell it from others of its name; case does not matter."""


KNOWN: Final[Mapping[str, Known]] = {
    "vsftpd": Known("vsftpd", ("vsftpd",), says="vsftpd"),
    "proftpd": Known("proftpd-core", ("proftpd",), says="proftpd"),
    "pure-ftpd": Known("pure-ftpd", ("pure-ftpd",), "--help", "pure-ftpd"),
    "inetutils-ftpd": Known("inetutils-ftpd", ("inetutils-ftpd", "in.ftpd", "ftpd"), "--version", "inetutils"),
    "pyftpdlib": Known("pyftpdlib", ()),
    "aioftp": Known("aioftp", ()),
}


@dataclass(frozen=True, slots=True)
class Program:
    """A server that can be started."""

    name: str
    path: Path | None
    """None for a server in Python."""
    libraries: str = ""
    """LD_LIBRARY_PATH for it and for it alone; "" where the system has all its libraries."""
    tree: Path | None = None
    """Where it was unpacked; None where it is installed."""

    def environment(self) -> dict[str, str]:
        """Return the environment to run it in."""
        found = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "FTPSTORM_"))}
        return found | {"LC_ALL": "C"} | ({"LD_LIBRARY_PATH": self.libraries} if self.libraries else {})

    def version(self) -> str | None:
        """Return its version, such as ``3.0.3``, as it says itself; None where it does not say."""
        if self.path is None:
            try:
                return metadata.version(KNOWN[self.name].package)
            except metadata.PackageNotFoundError:
                return None
        found = _VERSION.search(_said(self.path, KNOWN[self.name].ask, self.environment()))
        return found.group() if found else None


def servers_folder() -> Path:
    """Return where fetched servers are: $FTPSTORM_SERVERS, else .cache/servers of here, else of the checkout."""
    if chosen := os.environ.get(FOLDER_KEY):
        return Path(chosen).absolute()
    here = Path(".cache/servers").absolute()
    return here if here.is_dir() else _CHECKOUT / ".cache" / "servers"


def find_program(name: str) -> Program:
    """Return the program of server `name`: installed, else fetched.

    Raises EnvironmentUnavailableError with the package to install where there is neither.
    """
    known = KNOWN[name]
    if not known.names:
        if find_spec(name) is None:
            raise EnvironmentUnavailableError(
                f"target.server: {name} is not installed for {shutil.which('python3') or 'this Python'}; "
                f"`pip install {known.package}` in the environment that ftpstorm runs in"
            )
        return Program(name, None)
    path = os.pathsep.join([os.environ.get("PATH", ""), *_SYSTEM])
    for called in known.names:
        if (found := shutil.which(called, path=path)) is not None:
            program = Program(name, Path(found))
            if known.says in _said(Path(found), known.ask, program.environment()).lower():
                return program
    return _fetched(name, known)


def why_missing(name: str) -> str | None:
    """Return why server `name` cannot be had on this system, None where it can."""
    try:
        find_program(name)
    except EnvironmentUnavailableError as error:
        return str(error)
    return None


def _fetched(name: str, known: Known) -> Program:
    tree = servers_folder() / name
    if not (tree / ".packages").is_file():
        raise EnvironmentUnavailableError(
            f"target.server: there is no {name} on this system, neither installed nor in {tree}; run "
            f"`scripts/fetch-servers {name}` from a checkout, or `apt-get install {known.package}`; "
            f"{FOLDER_KEY} names another folder of fetched servers"
        )
    try:
        binary = (tree / ".binary").read_text(encoding="utf-8").strip()
        libraries = (tree / ".library-path").read_text(encoding="utf-8").strip()
    except OSError as error:
        raise EnvironmentUnavailableError(
            f"target.server: {tree} is incomplete ({error.strerror}: {error.filename}); remove it and run "
            f"`scripts/fetch-servers {name}` again"
        ) from None
    return Program(name, Path(binary), libraries, tree)


def _said(path: Path, flag: str, environment: Mapping[str, str]) -> str:
    """Return what `path flag` writes: to stdout, stderr or, as vsftpd does, to where a client would be."""
    with tempfile.TemporaryFile() as said:
        try:
            subprocess.run(
                [path, flag], stdin=said, stdout=said, stderr=said, env=environment, timeout=SAYS_WITHIN_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        said.seek(0)
        return said.read(4096).decode(errors="replace")
