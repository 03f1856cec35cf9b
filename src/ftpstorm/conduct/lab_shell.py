"""A lab to look around in by hand: ``ftpstorm lab shell``, ``lab run`` and ``lab up``.

This is the outer half, which owns the terminal and its signals: it turns the options into an order, starts
`ftpstorm.conduct.lab_session` in a private namespace, gives an interactive command a terminal of its own (so that job
control and Ctrl-C belong to that command), and waits. When it ends, however it ends, the kernel removes the lab.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args

from pydantic import ValidationError

from ftpstorm.channel import ENVIRONMENT_KEY
from ftpstorm.conduct.supervisor import noted_signals
from ftpstorm.conduct.terminal import Relay
from ftpstorm.errors import UsageError
from ftpstorm.lab.namespaces import Command, exit_status, start_private
from ftpstorm.scenario.gallery import find_scenario
from ftpstorm.scenario.lab import Lab, Topology
from ftpstorm.scenario.loader import dump_scenario, load_scenario
from ftpstorm.scenario.target import Server, ServerName
from ftpstorm.scenario.wording import closest

SESSION: Final = "ftpstorm.conduct.lab_session"
DEFAULT_FILES: Final = {"small.bin": 1024, "large.bin": 10 * 1024 * 1024}
"""What the server of a lab without a scenario offers, by name and bytes."""
SIDES: Final = ("client", "server", "router")
KILL_AFTER: Final = 3
"""The third INT, TERM or HUP kills what the first two did not end."""

Mode = Literal["shell", "run", "up"]
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class LabOptions:
    """The options of the three commands, as text where the user gave text."""

    scenario: str | None = None
    """A file or a part of a gallery name: its `lab`, `target` and `files`."""
    overrides: Sequence[str] = ()
    variant: str | None = None
    topology: str | None = None
    """In place of a scenario: `loopback`, `pair` or `routed`."""
    server: str | None = None
    """In place of a scenario: the name of a real server."""
    sysctls: Sequence[str] = ()
    """``[client.|server.|router.]name=value``; without a host, of client and server."""
    host: str = "client-0"
    """Where the command runs."""


def open_lab(options: LabOptions, mode: Mode, command: Sequence[str] = ()) -> int:
    """Build the lab and run `command` in it (`shell`: the user's shell; `up`: nothing) until that ends.

    Returns the command's exit status, 128 + N where signal N ended it. Raises UsageError, ScenarioError, and
    NamespaceRefusedError where this host gives no namespace.
    """
    order = {**plan_order(options), "mode": mode, "command": list(command)}
    interactive = mode != "up" and all(os.isatty(number) for number in (0, 1, 2))
    ours, theirs = socket.socketpair()
    with ExitStack() as owned:
        owned.enter_context(ours)
        signals = owned.enter_context(noted_signals())
        relay = owned.enter_context(Relay()) if interactive else None
        given: list[int] = []
        order |= {"terminal": None, "stdin": None}
        if relay is not None:
            order["terminal"] = relay.inner
            given.append(relay.inner)
        elif mode != "up":
            order["stdin"] = os.dup(0)
            given.append(order["stdin"])
        environment = {**os.environ, ENVIRONMENT_KEY: str(theirs.fileno())}
        inner = Command([sys.executable, "-P", "-m", SESSION], environment, [theirs.fileno(), *given])
        sys.stdout.flush()
        try:
            pid = start_private(inner)
        finally:
            theirs.close()
            for descriptor in given:
                os.close(descriptor)
        ours.sendall(json.dumps(order).encode() + b"\n")
        _Following(pid, ours, signals, relay, mode).run()
        _, status = os.waitpid(pid, 0)
        return exit_status(status)


def plan_order(options: LabOptions) -> dict[str, Any]:
    """Return the order for the session inside: lab, server or emulator, files, host."""
    if options.scenario is None and options.topology is None:
        raise UsageError("name a scenario, or give --topology loopback, pair or routed")
    if options.scenario is not None and options.topology is not None:
        raise UsageError("--topology stands in place of a scenario; to change one, use --set lab.topology=...")
    server: Server | None = None
    emulator: str | None = None
    files: Mapping[str, int] = DEFAULT_FILES
    lab = Lab()
    if options.scenario is not None:
        path = find_scenario(options.scenario)
        scenario = load_scenario(path, overrides=options.overrides, variant=options.variant).scenario
        if scenario.lab is not None:
            lab = scenario.lab
        server, files = scenario.target.server, dict(scenario.files)
        if scenario.target.emulator is not None:
            emulator = dump_scenario(scenario)
        elif server is None:
            raise UsageError(
                f"{path}: its target is {scenario.target.host}, which no lab reaches; "
                "give `target.server`, `target.emulator`, or --topology alone"
            )
        if options.server is not None:
            raise UsageError("--server goes with --topology; of a scenario change it with --set target.server.name=...")
    elif options.overrides or options.variant is not None:
        raise UsageError("--set and --variant change a scenario: name one")
    elif options.server is not None:
        _one_of("--server", options.server, get_args(ServerName), "servers")
        server = _validated("--server", lambda: Server.model_validate({"name": options.server}))
    lab = _changed(lab, options)
    return {
        "lab": lab.model_dump(mode="json"),
        "server": None if server is None else server.model_dump(mode="json"),
        "emulator": emulator,
        "files": dict(files),
        "host": "client-0" if options.host == "client" else options.host,
    }


def _changed(lab: Lab, options: LabOptions) -> Lab:
    """Return `lab` with --topology and --sysctl in it."""
    fields = lab.model_dump(mode="json", exclude_unset=True)
    if options.topology is not None:
        _one_of("--topology", options.topology, get_args(Topology), "topologies")
        fields["topology"] = options.topology
    sysctls: dict[str, dict[str, str]] = {side: dict(values) for side, values in fields.get("sysctls", {}).items()}
    for text in options.sysctls:
        name, equals, value = text.partition("=")
        side, dot, rest = name.partition(".")
        if not equals or not name:
            raise UsageError(f"--sysctl {text}: write tcp_tw_reuse=0, or client.tcp_tw_reuse=0")
        named = [side] if dot and side in SIDES else ["client", "server"]
        for each in named:
            sysctls.setdefault(each, {})[rest if dot and side in SIDES else name] = value
    if sysctls:
        fields["sysctls"] = sysctls
    return _validated("--topology and --sysctl", lambda: Lab.model_validate(fields))


def _one_of(option: str, value: str, known: Sequence[str], kind: str) -> None:
    if value not in known:
        meant = closest(value, known)
        hint = f"did you mean {meant!r}? " if meant is not None else ""
        raise UsageError(f"{option} {value}: there is none of this name; {hint}{kind}: {', '.join(known)}")


def _validated(option: str, make: Callable[[], Made]) -> Made:
    try:
        return make()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        told = str(first["msg"]).removeprefix("Value error, ")
        raise UsageError(f"{option}: {where}: {told}" if where else f"{option}: {told}") from None


class _Following:
    """The wait for the session inside: terminal relayed, signals passed on, what `up` has to say printed."""

    def __init__(
        self, pid: int, channel: socket.socket, signals: socket.socket, relay: Relay | None, mode: Mode
    ) -> None:
        self._pid = pid
        self._channel = channel
        self._signals = signals
        self._relay = relay
        self._mode = mode
        self._asked = 0
        self._told = b""
        self._poll = select.poll()

    def run(self) -> None:
        """Return at the session's end of the channel."""
        watched = [self._channel.fileno(), self._signals.fileno()]
        if self._relay is not None:
            watched += self._relay.descriptors
        elif self._mode == "up" and _can_end(0):
            watched.append(0)
        for descriptor in watched:
            self._poll.register(descriptor, select.POLLIN)
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor == self._channel.fileno():
                    if not self._on_word():
                        return
                elif descriptor == self._signals.fileno():
                    for number in self._signals.recv(64):
                        self._on_signal(number)
                else:
                    self._on_input(descriptor)

    def _on_word(self) -> bool:
        """Take what the session says; False at its end."""
        data = _received(self._channel)
        self._told += data
        if data and self._told.endswith(b"\n"):
            print(json.dumps(_entrances(json.loads(self._told), self._pid), indent=2), flush=True)
            self._told = b""
        if not data and self._relay is not None:
            self._relay.drain()
        return bool(data)

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGWINCH:
            if self._relay is not None:
                self._relay.resize()
            return
        self._asked += 1
        if self._asked >= KILL_AFTER:
            os.kill(self._pid, signal.SIGKILL)
        else:
            _pass_on(self._channel, number)

    def _on_input(self, descriptor: int) -> None:
        if self._relay is not None:
            if not self._relay.move(descriptor):
                self._poll.unregister(descriptor)
        elif not os.read(descriptor, 4096):
            self._poll.unregister(descriptor)
            self._channel.shutdown(socket.SHUT_WR)


def _received(channel: socket.socket) -> bytes:
    try:
        return channel.recv(1 << 20)
    except ConnectionError:
        return b""


def _pass_on(channel: socket.socket, number: int) -> None:
    try:
        channel.sendall(bytes([number]))
    except ConnectionError:
        return  # it is gone; its exit status says how


def _can_end(descriptor: int) -> bool:
    """Tell whether the end of this input means something: a pipe or a terminal, not /dev/null or a file."""
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(descriptor)


def _entrances(told: dict[str, Any], launcher: int) -> dict[str, Any]:
    """Return what `lab up` prints: each host with its pid as seen from out here, and how to enter it."""
    outer = _outer_pids(launcher)
    hosts = []
    for host in told["hosts"]:
        pid = outer.get(host["pid"])
        enter = None if pid is None else f"nsenter -t {pid} --user --preserve-credentials --mount --pid --net"
        hosts.append({**host, "pid": pid, "enter": enter})
    return {"hosts": hosts, "server": told["server"], "settings": told["settings"]}


def _outer_pids(launcher: int) -> dict[int, int]:
    """Return the pid out here of each process below `launcher`, by its pid in there (NSpid of proc_pid_status(5))."""
    parents: dict[int, int] = {}
    inner: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            lines = (entry / "status").read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        fields = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
        parents[int(entry.name)] = int(fields["PPid"][0])
        if len(fields.get("NSpid", ())) > 1:
            inner[int(entry.name)] = int(fields["NSpid"][-1])
    found = {}
    for pid, inside in inner.items():
        above = pid
        while above in parents and above != launcher:
            above = parents[above]
        if above == launcher:
            found[inside] = pid
    return found
