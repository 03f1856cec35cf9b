"""Build the C yardsticks with the system's compiler: the sink server and the C client."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

from bench.job import HOST
from ftpstorm.lab.servers.certificate import Certificate, make_certificate

SOURCES: Final = Path(__file__).resolve().parent
CACHE: Final = SOURCES.parent / ".cache" / "bench"
FLAGS: Final = ("-std=c99", "-O2", "-Wall", "-Wextra", "-pedantic")


class NoCompilerError(Exception):
    """There is no C compiler, or it refused."""


def compiler() -> str | None:
    """Return the path of the C compiler: $CC, cc, gcc or clang; None where there is none."""
    names = (os.environ.get("CC"), "cc", "gcc", "clang")
    return next((found for name in names if name and (found := shutil.which(name))), None)


def build(name: str) -> Path:
    """Return the built program `name` (sink or client), compiling it if its source or the flags changed.

    Raises NoCompilerError.
    """
    source = SOURCES / f"{name}.c"
    found = compiler()
    if found is None:
        raise NoCompilerError("no C compiler found: install cc, gcc or clang, or set CC")
    digest = hashlib.sha256(b"\0".join((found.encode(), " ".join(FLAGS).encode(), source.read_bytes()))).hexdigest()
    program = CACHE / f"{name}-{digest[:16]}"
    if program.exists():
        return program
    CACHE.mkdir(parents=True, exist_ok=True)
    unfinished = program.with_suffix(f".{os.getpid()}")
    built = subprocess.run([found, *FLAGS, "-o", unfinished, source], capture_output=True, text=True, check=False)
    if built.returncode:
        raise NoCompilerError(f"{found} could not build {source.name}:\n{built.stderr}")
    unfinished.replace(program)
    return program


@cache
def certificate() -> Certificate:
    """Return a certificate for the sink of FTPS, made anew by each process that asks.

    Raises EnvironmentUnavailableError where there is no openssl.
    """
    folder = CACHE / "tls"
    folder.mkdir(parents=True, exist_ok=True)
    return make_certificate(folder, [HOST])


def compiler_version() -> str | None:
    """Return the first line of the compiler's --version, None where there is no compiler."""
    found = compiler()
    if found is None:
        return None
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout.splitlines()
    return said[0] if said else None
