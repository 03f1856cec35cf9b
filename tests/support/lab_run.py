"""Scripts for a lab: each runs in a fresh interpreter that is the command of a private namespace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

from ftpstorm.errors import EnvironmentUnavailableError
from ftpstorm.lab.commands import find_program

DRIVER = """
import os, sys
from ftpstorm.lab import namespaces
command = namespaces.Command([sys.executable, "-c", sys.argv[1]], os.environ)
sys.exit(namespaces.exit_status(os.waitpid(namespaces.start_private(command), 0)[1]))
"""

PLAIN_DRIVER = """
import ctypes, encodings.idna, os, sys, traceback
import ftpstorm.lab.topology, ftpstorm.sampler.conntrack
from ftpstorm.lab import namespaces

def run():  # no new interpreter: it may lie where only root may read
    status = 1
    try:
        exec(compile(sys.argv[1], "script", "exec"), {"__name__": "__main__"})
        status = 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush(); sys.stderr.flush()
    os._exit(status)

os.setgroups([]); os.setgid(NOBODY); os.setuid(NOBODY)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE, as any process is that a plain user started
os.chdir("/")
sys.exit(namespaces.exit_status(os.waitpid(namespaces._start(run), 0)[1]))
"""

PREAMBLE = """
import errno, json, os, socket, sys, time
from ftpstorm.lab.topology import build
from ftpstorm.scenario.lab import Lab

def lab(**keys):
    return build(Lab.model_validate(keys))

def wait_for(fact, what, within_s=30):
    deadline = time.monotonic() + within_s
    while not (value := fact()):
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.005)
    return value
"""

NOBODY = 65_534


def lab_command(script: str, *, plain_user: bool = False) -> list[str]:
    """Return the command line of a process that runs `script` inside a private namespace; kill it to end all."""
    driver = PLAIN_DRIVER.replace("NOBODY", str(NOBODY)) if plain_user else DRIVER
    return [sys.executable, "-c", driver, PREAMBLE + textwrap.dedent(script)]


def lab_drive(script: str, *, plain_user: bool = False, within_s: float = 60, status: int = 0) -> str:
    """Run `script` inside a private namespace, with one user id where `plain_user` (root only); return its stdout.

    It finds ``lab(topology="pair", ...)``, a context manager that gives the Network, and ``wait_for(fact, what)``; the
    modules of `support` can be imported, except by a plain user. Fails unless the script ends with exit status
    `status`.
    """
    done = subprocess.run(
        lab_command(script, plain_user=plain_user),
        capture_output=True,
        text=True,
        timeout=within_s,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    assert done.returncode == status, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def lacks_program(name: str) -> str | None:
    """Return what to install where ``ip``, ``tc`` or ``nft`` is missing, None where it is there."""
    try:
        find_program(name)
    except EnvironmentUnavailableError as missing:
        return str(missing)
    return None


def lab_refusal() -> str | None:
    """Return why this host gives no private namespace, None where it does: for ``require("namespaces", ...)``."""
    probe = "import json; from ftpstorm.lab import namespaces; print(json.dumps(namespaces.probe()))"
    out = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True).stdout
    reason: str | None = json.loads(out)
    return reason
