"""The process above a real server: gives it a mount namespace, adopts what it leaves behind, and ends all of it.

    python -m ftpstorm.lab.keeper ORDER

ORDER is one JSON object: `parent` (pid of whoever started this), `command`, `environment` (what the server has beside
or instead of the keeper's own; no secrets, since all users can read a command line), `folder` (working directory) and
`mounts` ([[source, target], ...], bound in this order in a mount namespace of the server's own; none where empty).

Servers fork, leave their session and become daemons; as a child subreaper the keeper stays the ancestor of all of
them. TERM ends the descendants, those that do not go within GRACE_S by SIGKILL. The keeper ends
when none is left, with the exit status of the server: of the process it executed, or of the daemon that this became.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

from ftpstorm.lab import kernel
from ftpstorm.lab.family import descendants

GRACE_S: Final = 2.0
"""How long the server and its sessions have between TERM and KILL."""
SIGNALLED_BASE: Final = 128
CANNOT_START: Final = 125
"""Exit status of a keeper that could not start its server; the reason is on stderr."""

_WATCHED: Final = {signal.SIGTERM, signal.SIGCHLD}


def main(order: Mapping[str, Any]) -> NoReturn:
    """Keep one server from its start to its end."""
    kernel.die_with_parent(order["parent"])
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # an ignored signal is never delivered to sigtimedwait
    try:
        kernel.become_subreaper()
        if order["mounts"]:
            _mount(order["mounts"])
    except OSError as error:
        sys.exit(_complain(f"cannot give the server files of its own: {error}"))
    keeper = os.getpid()
    server = os.fork()
    if server == 0:
        try:
            kernel.die_with_parent(keeper)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.chdir(order["folder"])
            environment = {**os.environ, **order["environment"]}
            os.execve(order["command"][0], order["command"], environment)  # noqa: S606 - no shell wanted
        except OSError as error:
            os._exit(_complain(f"cannot execute {order['command'][0]}: {error}"))
    os._exit(_watch(server))


def _complain(what: str) -> int:
    os.write(2, f"keeper: {what}\n".encode(errors="replace"))
    return CANNOT_START


def _mount(mounts: Sequence[tuple[str, str]]) -> None:
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    for source, target in mounts:
        kernel.mount(source, target, None, kernel.MS_BIND | kernel.MS_REC)


def _watch(server: int) -> int:
    """Reap until nobody is left; return the exit status of the server.

    A server that becomes a daemon ends as the process we started, with status 0; which of the others it has become is
    looked up when all of them are told to end, for then it has long settled.
    """
    status = 0
    gone = False
    deadline: float | None = None
    while True:
        with contextlib.suppress(InterruptedError):
            received = signal.sigtimedwait(_WATCHED, 3600.0 if deadline is None else 0.05)
            if received is not None and received.si_signo == signal.SIGTERM and deadline is None:
                deadline = time.monotonic() + GRACE_S
                alive = descendants(os.getpid())
                if alive and server not in alive:
                    server = alive[0]
                _signal_all(signal.SIGTERM)
        try:
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == server or (gone and deadline is None):
                    status = _exit_status(ended[1])
                    gone = True
        except ChildProcessError:
            return status
        if deadline is not None and time.monotonic() > deadline:
            _signal_all(signal.SIGKILL)


def _signal_all(number: int) -> None:
    for pid in descendants(os.getpid()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _exit_status(wait_status: int) -> int:
    code = os.waitstatus_to_exitcode(wait_status)
    return code if code >= 0 else SIGNALLED_BASE - code


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
