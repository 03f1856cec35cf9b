"""A private user, mount, pid and network namespace for one command, gone with its last process.

    caller ── launcher ── PID 1 (reaper) ── the command
    (root namespaces)     (inside)

The launcher unshares; the caller writes its uid and gid maps from outside; PID 1 mounts a private /proc, brings `lo`
up, starts the command and reaps whatever is orphaned. Each dies by SIGKILL when the one to its left does, and when PID
1 dies the kernel kills all that is left inside: kill -9 of any of them leaves nothing behind.

Everything here forks from the calling thread, which must therefore be the main thread of a process without others:
a parent-death signal follows the thread that forked. Topologies of several namespaces are left to the lab proper.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from ftpstorm.errors import EnvironmentUnavailableError
from ftpstorm.lab import kernel

ALL: Final = kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWNET
FORWARDED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
DESCRIPTORS_MAX: Final = 1 << 20
SIGNALLED_BASE: Final = 128
"""A command that a signal ended is reported as this number plus the signal's, as shells do."""


@dataclass(frozen=True, slots=True)
class Command:
    """What to execute. `descriptors` stay open in it under their own numbers; stdin is /dev/null."""

    arguments: Sequence[str]
    environment: Mapping[str, str]
    descriptors: Sequence[int] = ()


class NamespaceRefusedError(EnvironmentUnavailableError):
    """This host does not give the caller a namespace; the message names the step and the errno."""


def start_private(command: Command) -> int:
    """Start `command` inside fresh namespaces, in a session of its own, and return the launcher's pid.

    The launcher ends with the command's exit status, or 128 + N when signal N killed it; the caller waits for it. To
    end everything at once, kill the launcher. Raises NamespaceRefusedError where the kernel says no; nothing is left.
    """
    return _start(lambda: _execute(command))


def start_plain(command: Command) -> int:
    """Start `command` without namespaces, in a session of its own, dying with the caller; return its pid."""
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        with _forked():
            os.setsid()
            kernel.die_with_parent(parent)
            _default_signals()
            _execute(command)
    return pid


def probe() -> str | None:
    """Return why a private namespace cannot be had here, or None when it can. Tries for real and leaves nothing."""
    try:
        pid = _start(lambda: os._exit(0))
    except NamespaceRefusedError as refused:
        return str(refused)
    _, status = os.waitpid(pid, 0)
    return None if status == 0 else f"the first process inside ended with {exit_status(status)}"


def exit_status(wait_status: int) -> int:
    """Return the exit status of a waitpid(2) status, 128 + N where signal N ended the process."""
    code = os.waitstatus_to_exitcode(wait_status)
    return code if code >= 0 else SIGNALLED_BASE - code


# --- the caller -----------------------------------------------------------------------------------------------------


def _start(run: Callable[[], NoReturn]) -> int:
    report_read, report_write = os.pipe()
    mapped_read, mapped_write = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        with _forked():
            os.close(report_read)
            os.close(mapped_write)
            _launch(run, parent, report_write, mapped_read)
    os.close(report_write)
    os.close(mapped_read)
    try:
        with os.fdopen(report_read, encoding="utf-8") as reports:
            refused = _follow(pid, reports, mapped_write)
    finally:
        os.close(mapped_write)
    if refused is not None:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise NamespaceRefusedError(refused)
    return pid


def _follow(pid: int, reports: Any, mapped_write: int) -> str | None:
    """Read the launcher's reports, writing its maps when it asks; return why it failed, or None once all is up."""
    for line in reports:
        report = json.loads(line)
        match report["step"]:
            case "unshared":
                try:
                    _write_maps(pid)
                except OSError as error:
                    return _reason("writing the uid map", error)
                os.write(mapped_write, b"m")
            case "refused":
                return str(report["reason"])
            case "up":
                return None
    return "the launcher ended without a word"


def _write_maps(pid: int) -> None:
    """Give the namespace of `pid` the caller's ids as they are; a plain user, or a bounded root, gets one id: 0.

    user_namespaces(7): a map of more than one id needs CAP_SETUID over the parent namespace; a plain user must give up
    setgroups(2) first.
    """
    process = Path(f"/proc/{pid}")
    try:
        for kind in ("uid_map", "gid_map"):
            lines = [line.split() for line in Path(f"/proc/self/{kind}").read_text().splitlines()]
            _write(process / kind, "".join(f"{inside} {inside} {count}\n" for inside, _, count in lines))
    except PermissionError:
        with contextlib.suppress(PermissionError):  # the uid map may stand already
            _write(process / "uid_map", f"0 {os.geteuid()} 1\n")
        _write(process / "setgroups", "deny")
        _write(process / "gid_map", f"0 {os.getegid()} 1\n")


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())  # the kernel takes a map in one write(2) only
    finally:
        os.close(descriptor)


# --- the launcher ---------------------------------------------------------------------------------------------------


def _launch(run: Callable[[], NoReturn], parent: int, report: int, mapped: int) -> NoReturn:
    os.setsid()
    for number in FORWARDED:  # requests travel on the command's own channel; the launcher only waits
        signal.signal(number, signal.SIG_IGN)
    with _refusal(report, "unshare"):
        kernel.unshare(ALL)
    kernel.die_with_parent(parent)  # after unshare: a change of credentials clears the setting
    _say(report, step="unshared")
    if os.read(mapped, 1) != b"m":
        os._exit(1)
    alive_read, alive_write = (
        os.pipe()
    )  # its writing end is the launcher's alone: hung up means that the launcher is gone
    pid = os.fork()
    if pid == 0:
        with _forked():
            os.close(alive_write)
            _be_first(run, report, alive_read)
    _close_all_but_standard(keep=alive_write)
    _, status = os.waitpid(pid, 0)
    os._exit(exit_status(status))


# --- PID 1 inside ---------------------------------------------------------------------------------------------------


def _be_first(run: Callable[[], NoReturn], report: int, alive: int) -> NoReturn:
    """Set up the namespace from within, start the command and reap everything until it has ended."""
    kernel.die_with_parent(0)
    poll = select.poll()
    poll.register(alive, select.POLLHUP)
    if poll.poll(0):  # the launcher died before the line above: seen from in here its pid is 0, dead or alive
        os._exit(1)
    with _refusal(report, "mounting a private /proc"):
        kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
        kernel.mount("proc", "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
    with _refusal(report, "bringing up lo"):
        kernel.bring_up_loopback()
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)  # until there is somebody to forward to
    command = os.fork()
    if command == 0:
        with _forked():
            kernel.die_with_parent(1)
            _default_signals()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
            os.close(report)
            run()
    for number in FORWARDED:
        signal.signal(number, lambda number, _: _forward(command, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
    _say(report, step="up")
    _close_all_but_standard()
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == command:
            os._exit(exit_status(status))  # PID 1 is gone: the kernel kills whoever is left


def _forward(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


# --- all of them ----------------------------------------------------------------------------------------------------


def _close_all_but_standard(keep: int = DESCRIPTORS_MAX) -> None:
    """Close what the command got: its peers must see EOF when the command is gone."""
    os.closerange(3, keep)
    os.closerange(keep + 1, DESCRIPTORS_MAX)


def _execute(command: Command) -> NoReturn:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    for descriptor in command.descriptors:
        os.set_inheritable(descriptor, True)
    os.execve(command.arguments[0], list(command.arguments), dict(command.environment))  # noqa: S606 - no shell wanted


def _default_signals() -> None:
    for number in (*FORWARDED, signal.SIGPIPE, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)


def _say(report: int, **fields: Any) -> None:
    os.write(report, json.dumps(fields).encode() + b"\n")


def _reason(step: str, error: OSError) -> str:
    name = errno.errorcode.get(error.errno or 0, str(error.errno))
    return f"no private namespace here: {step} failed with {name} ({os.strerror(error.errno or 0)})"


class _refusal:  # noqa: N801 - reads as a statement
    """Turn an OSError of one step into a report to the caller, and end this process."""

    def __init__(self, report: int, step: str) -> None:
        self.report = report
        self.step = step

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            _say(self.report, step="refused", reason=_reason(self.step, error))
            os._exit(1)


class _forked:  # noqa: N801 - reads as a statement
    """The body of a forked child: it never runs on into its parent's code, and its signals are not its parent's."""

    def __enter__(self) -> None:
        signal.set_wakeup_fd(-1)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> NoReturn:
        if error is not None:
            os.write(2, f"error: {error}\n".encode(errors="replace"))
        os._exit(1)
