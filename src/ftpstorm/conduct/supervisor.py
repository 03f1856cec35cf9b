"""The process that the user started: thin, single-threaded, and owner of the terminal's signals.

It starts the conductor in a session of its own, inside private namespaces where the run may have them, hands it the
RunRequest, and passes INT, TERM and HUP on as requests: the first means drain, the second stop at once, the third kill.
What the run does, and all that is printed about it, is the conductor's.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from ftpstorm.channel import ENVIRONMENT_KEY
from ftpstorm.conduct.metrics import ENVIRONMENT_KEY as METRICS_KEY
from ftpstorm.conduct.request import RunRequest
from ftpstorm.errors import ExitCode
from ftpstorm.lab.namespaces import (
    SIGNALLED_BASE,
    Command,
    NamespaceRefusedError,
    exit_status,
    start_plain,
    start_private,
)
from ftpstorm.records.manifest import NamespaceRecord

REQUESTS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ECHO_S: Final = 0.1
"""The same signal again within this time is the same request: timeout(1) signals its child, then its child's group."""

CONDUCTOR: Final = ("-P", "-m", "ftpstorm.conduct")  # -P: no module of the folder that the user stands in
SHOW_CURSOR: Final = "\x1b[?25h"
REPORT_PHASE: Final = "report"
HOW_TO_ENABLE: Final = (
    "as root, `sysctl -w user.max_user_namespaces=15000`, and where the system has them "
    "`kernel.unprivileged_userns_clone=1` and `kernel.apparmor_restrict_unprivileged_userns=0`; "
    "in a container, start it with --privileged"
)


class Ended(NamedTuple):
    """How a supervised run ended."""

    code: int
    """For the shell."""
    folder: Path | None
    """Where its results are; None where it never came to that."""
    stop: bool = False
    """Somebody asked for an end while its report was made: no further run is wanted."""


def supervise(
    request: RunRequest,
    *,
    private: bool,
    conductor: Sequence[str] = CONDUCTOR,
    metrics: socket.socket | None = None,
) -> Ended:
    """Run `request` to its end and tell how that was.

    With `private` the run gets a network namespace of its own where this host gives one; where it does not, the run
    takes the host's loopback, and the manifest says why. `conductor` is what the interpreter executes. `metrics` is a
    listening socket of this network namespace that the conductor answers on. A run in a lab has no way out onto the
    host's loopback: it raises NamespaceRefusedError.
    """
    ours, theirs = socket.socketpair()
    with ours, noted_signals() as signals:
        with theirs:
            pid, request = _start(request, theirs, private, conductor, metrics)
        _send(ours, {"type": "request", "request": request.model_dump(mode="json")})
        return _Supervision(pid, ours).follow(signals)


def _start(
    request: RunRequest,
    theirs: socket.socket,
    private: bool,
    conductor: Sequence[str],
    metrics: socket.socket | None,
) -> tuple[int, RunRequest]:
    environment = {**os.environ, ENVIRONMENT_KEY: str(theirs.fileno())}
    descriptors = [theirs.fileno()]
    if metrics is not None:
        environment[METRICS_KEY] = str(metrics.fileno())
        descriptors.append(metrics.fileno())
    command = Command([sys.executable, *conductor], environment, descriptors)
    sys.stdout.flush()
    sys.stderr.flush()
    if private or request.has_lab:
        try:
            pid = start_private(command)
        except NamespaceRefusedError as refused:
            if request.has_lab:
                raise NamespaceRefusedError(f"{refused}; a lab needs one: {HOW_TO_ENABLE}") from None
            print(f"warning: {refused}; the run uses the host's loopback", file=sys.stderr)
            return start_plain(command), request.model_copy(
                update={"namespace": NamespaceRecord(private=False, reason=str(refused))}
            )
        return pid, request.model_copy(update={"namespace": NamespaceRecord(private=True)})
    return start_plain(command), request


class _Supervision:
    """State of one supervised run: its process, its channel, and what was asked of it."""

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self.pid = pid
        self.channel = channel
        self.folder: str | None = None
        self.phase = ""
        self.requests = 0
        self.requests_in_report = 0
        self.killed = False
        self._buffer = b""
        self._last: tuple[int, float] = (0, 0.0)

    def follow(self, signals: socket.socket) -> Ended:
        """Serve signals and the conductor's messages until the conductor is gone; tell how it ended."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.channel, selectors.EVENT_READ)
            selector.register(signals, selectors.EVENT_READ)
            connected = True
            while connected:
                for key, _ in selector.select():
                    if key.fileobj is signals:
                        for number in signals.recv(64):
                            self._on_signal(number)
                    else:
                        connected = self._on_readable()
        _, status = os.waitpid(self.pid, 0)
        code = self._exit_code(exit_status(status))
        return Ended(code, Path(self.folder) if self.folder else None, self.requests_in_report > 0)

    def _on_readable(self) -> bool:
        try:
            data = self.channel.recv(65536)
        except ConnectionError:
            return False
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            self.folder = message.get("folder", self.folder)
            self.phase = message.get("phase", self.phase)
        return bool(data)

    def _on_signal(self, number: int) -> None:
        if number not in REQUESTS:
            return
        now = time.monotonic()
        last_number, last_at = self._last
        self._last = (number, now)
        if number == last_number and now - last_at < ECHO_S:
            return
        if self.phase == REPORT_PHASE:
            self.requests_in_report += 1
            if self.requests_in_report == 1:
                print(
                    "the run is over and recorded; the report is being made (once more to do without it)",
                    file=sys.stderr,
                )
            else:
                self._kill()
            return
        self.requests += 1
        if self.requests > 2:
            self._kill()
        else:
            _send(self.channel, {"type": "stop", "how": "drain" if self.requests == 1 else "now"})

    def _kill(self) -> None:
        """End everything below at once: each process there dies with the one above it."""
        self.killed = True
        os.kill(self.pid, signal.SIGKILL)

    def _exit_code(self, status: int) -> int:
        if status < SIGNALLED_BASE:
            return status
        name = signal.Signals(status - SIGNALLED_BASE).name
        if sys.stdout.isatty():
            sys.stdout.write(SHOW_CURSOR)  # the live view had hidden it
            sys.stdout.flush()
        print(f"error: the run was cut short: its conductor was ended by {name}", file=sys.stderr)
        if self.folder:
            print(f"what was recorded is in {self.folder}; see it with: ftpstorm report {self.folder}", file=sys.stderr)
        return ExitCode.INTERRUPTED if self.killed else ExitCode.INTERNAL_ERROR


def _send(channel: socket.socket, message: dict[str, Any]) -> None:
    try:
        channel.sendall(json.dumps(message).encode() + b"\n")
    except ConnectionError:
        return  # the conductor is gone; its exit status says how


@contextmanager
def noted_signals() -> Iterator[socket.socket]:
    """Turn REQUESTS into bytes on the socket yielded; put everything back afterwards. A run under nohup(1) has HUP
    ignored, and stays so."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    previous = {number: signal.getsignal(number) for number in REQUESTS}
    if previous[signal.SIGHUP] is signal.SIG_IGN:
        del previous[signal.SIGHUP]
    previous_wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    for number in previous:
        signal.signal(number, lambda *_: None)
    try:
        with reader, writer:
            yield reader
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(previous_wakeup)
