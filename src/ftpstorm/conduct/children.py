"""The conductor's child processes: start, listen to, bound and bury them. Nothing started here is left behind.

A child is spawned from the main thread with a parent-death signal, deaf to INT and TERM (it obeys its channel), its
stderr in a log file of the run. One task a child reads its messages; a pidfd tells when it is gone.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from ftpstorm.channel import ENVIRONMENT_KEY, Channel, Message
from ftpstorm.errors import EnvironmentUnavailableError, ExitCode, FtpstormError
from ftpstorm.lab.hosts import Host
from ftpstorm.lab.kernel import die_with_parent
from ftpstorm.records.manifest import ProcessRecord

READY_WITHIN_S: Final = 30.0
"""How long a child may take from its start to `ready`; an interpreter on a busy machine takes seconds."""
GONE_WITHIN_S: Final = 5.0
"""How long a child may take from EOF on its channel to its end."""
LOG_TAIL_BYTES: Final = 2000


class ChildError(FtpstormError):
    """A child process could not do its part; the message holds the end of its stderr."""

    exit_code = ExitCode.INTERNAL_ERROR


class Child:
    """One child process, as the conductor sees it. `changed` is called whenever something below changed."""

    def __init__(
        self, role: str, process: subprocess.Popen[bytes], channel: Channel, log: Path, changed: Callable[[], None]
    ) -> None:
        self.role = role
        """Such as ``worker-0``; also the writer name of its spools."""
        self.log = log
        self.ready: Message | None = None
        self.progress: Message | None = None
        """The latest progress message."""
        self.counts: dict[str, Any] | None = None
        """What it said when it was done; None until then."""
        self.error: str | None = None
        """Why it is no use any more; None while it is well."""
        self.gone = asyncio.Event()
        """Set when the process has ended and is reaped."""
        self._process = process
        self._channel = channel
        self._changed = changed
        self._complained = False
        self._exited = asyncio.Event()
        self._pidfd = os.pidfd_open(process.pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._on_exit)
        self._following = asyncio.create_task(self._follow(), name=f"follow {role}")

    @property
    def pid(self) -> int:
        """Process id, in the conductor's pid namespace."""
        return self._process.pid

    @property
    def finished(self) -> bool:
        """It said `done`, or it never will."""
        return self.counts is not None or self.error is not None or self.gone.is_set()

    @property
    def exit_code(self) -> int | None:
        """Exit status, -N where signal N ended it, None while it lives."""
        return self._process.returncode

    def send(self, kind: str, /, **fields: Any) -> None:
        """Send one message; a child that is gone does not get it."""
        self._channel.send(kind, **fields)

    def kill(self, why: str) -> None:
        """End it with SIGKILL; `why` becomes its error unless it has one."""
        if not self.gone.is_set():
            self.error = self.error or why
            self._process.kill()

    async def bury(self) -> None:
        """Close the channel, which tells it to end, and wait until it has; kill it when it does not."""
        self._channel.close()
        await self._following

    def record(self) -> ProcessRecord:
        """Return the line of the manifest about it."""
        return ProcessRecord(
            role=self.role, pid=self.pid, counts=self.counts, exit_code=self.exit_code, error=self.error
        )

    def log_tail(self) -> str:
        """Return the end of its stderr, "" when it wrote nothing."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - LOG_TAIL_BYTES))
                return file.read().decode(errors="replace").strip()
        except OSError:
            return ""

    def failure(self) -> FtpstormError:
        """Return its error as an exception: what it said itself is about this host, a silent end is our bug."""
        if self._complained:
            return EnvironmentUnavailableError(f"{self.role}: {self.error}")
        tail = self.log_tail()
        told = f"; its last words:\n{tail}" if tail else f"; it left no word in {self.log}"
        return ChildError(f"{self.role} {self.error or 'ended'}{told}")

    async def _follow(self) -> None:
        """Read to the end of the channel and wait for the end of the process: each soon follows the other."""
        reading = asyncio.create_task(self._read())
        exiting = asyncio.create_task(self._exited.wait())
        await asyncio.wait({reading, exiting}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({reading, exiting}, timeout=GONE_WITHIN_S)
        if not exiting.done():
            self.kill(f"did not end within {GONE_WITHIN_S:g} s after its channel")
            await exiting
        reading.cancel()
        if self.counts is None and self.error is None:  # only now: its last messages are read
            self.error = f"{_ending(self._process.returncode)} without having finished"
        self.gone.set()
        self._changed()

    async def _read(self) -> None:
        try:
            while (message := await self._channel.receive()) is not None:
                self._take(message)
                self._changed()
        except ValueError as error:
            self.kill(f"sent what is no message: {error}")

    def _take(self, message: Message) -> None:
        match message["type"]:
            case "ready":
                self.ready = message
            case "progress":
                self.progress = message
            case "done":
                self.counts = message.get("counts", {})
            case "error":
                self._complained = True
                self.error = str(message.get("message", "gave up without saying why"))

    def _on_exit(self) -> None:
        if self._process.poll() is not None:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._exited.set()


def _ending(returncode: int) -> str:
    return f"was ended by {signal.Signals(-returncode).name}" if returncode < 0 else f"exited with {returncode}"


class Crew:
    """All children of one run; leaving the context buries whoever is left."""

    def __init__(self, log_of: Callable[[str], Path], environment: Mapping[str, str]) -> None:
        """`log_of` names the log file of a role; `environment` is what the children get."""
        self.children: list[Child] = []
        self.changed = asyncio.Event()
        """Set at every message and every death; `wait` clears it."""
        self._log_of = log_of
        self._environment = dict(environment)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            for child in self.children:
                child.kill("killed: the run failed")
        await asyncio.gather(*(child.bury() for child in self.children))

    async def wait(self, within_s: float) -> None:
        """Wait until something changed (a message, a death, a request), but no longer than `within_s` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self.changed.wait()
        self.changed.clear()

    async def start(
        self, role: str, arguments: Sequence[str], *, host: Host | None = None, descriptors: Sequence[int] = ()
    ) -> Child:
        """Start ``arguments`` as child `role`; only in the main thread, whose life the parent-death signal follows.

        In a lab it lives on `host`. `descriptors` stay open in it under their own numbers.
        """
        ours, theirs = socket.socketpair()
        log = self._log_of(role)
        parent = os.getpid()

        def prepare() -> None:
            die_with_parent(parent)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)

        place = host.entered() if host is not None else nullcontext()
        with theirs, log.open("ab") as stderr, place:
            process = subprocess.Popen(  # noqa: ASYNC220 - a fork of milliseconds, before the load begins
                list(arguments),
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                pass_fds=[theirs.fileno(), *descriptors],
                env={**self._environment, ENVIRONMENT_KEY: str(theirs.fileno())},
                preexec_fn=prepare,
            )
        child = Child(role, process, await Channel.open(ours), log, self.changed.set)
        self.children.append(child)
        return child
