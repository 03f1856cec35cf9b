"""A lab by hand, inside its private namespace: ``python -m ftpstorm.conduct.lab_session``.

It builds the network, starts the server, runs one command (or waits), and ends all of it. The order comes as one line
of JSON over the inherited channel; afterwards the channel carries signals to pass on, and its end means stop at once.
The terminal and the user's signals are `ftpstorm.conduct.lab_shell`'s, which starts this.

Everything it writes lies on a tmpfs of the namespace: nothing is left, however it ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import sys
import tempfile
import termios
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn

from ftpstorm.channel import ENVIRONMENT_KEY
from ftpstorm.conduct.lab_processes import (
    EMULATOR_PORT,
    Serving,
    apart,
    emulator,
    holder,
    read_message,
    real_server,
    shortened_time_wait,
)
from ftpstorm.errors import EnvironmentUnavailableError, ExitCode, FtpstormError
from ftpstorm.lab import kernel
from ftpstorm.lab.hosts import Host
from ftpstorm.lab.namespaces import exit_status
from ftpstorm.lab.topology import Network, build
from ftpstorm.scenario.lab import Lab
from ftpstorm.scenario.target import Server

SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - covered by a tmpfs of our own before it is used
GRACE_S: Final = 2.0
"""From the end of the session to the end of a command that does not want to end."""
VARIABLE: Final = "FTPSTORM_LAB_"


def run_session(order: Mapping[str, Any], channel: socket.socket) -> int:
    """Build what `order` names, run its command and return its exit status. Raises FtpstormError before that."""
    lab = Lab.model_validate(order["lab"])
    server = Server.model_validate(order["server"]) if order["server"] is not None else None
    with ExitStack() as owned:
        folder = owned.enter_context(_private_folder())
        port = server.port if server is not None else EMULATOR_PORT
        network = owned.enter_context(build(lab, control_port=port))
        holders = {host.name: owned.enter_context(holder(host)) for host in apart(network)}
        owned.enter_context(shortened_time_wait(lab, network))
        serving = None
        if server is not None:
            serving = owned.enter_context(real_server(server, network, folder, order["files"]))
        elif order["emulator"] is not None:
            serving = owned.enter_context(emulator(order["emulator"], network, folder, order["files"]))
        pids = {host.name: holders.get(host.name, holders[network.clients[0].name]) for host in network.hosts}
        hosts = [
            {"name": each.name, "addresses": list(each.addresses), "pid": pids[each.name]} for each in network.hosts
        ]
        if order["mode"] == "up":
            told = {"hosts": hosts, "server": None if serving is None else serving.to_json()}
            settings = {name: dict(values) for name, values in network.settings.items()}
            channel.sendall(json.dumps({"type": "up", **told, "settings": settings}).encode() + b"\n")
            _wait(channel, None)
            return ExitCode.PASS
        host = next((each for each in network.hosts if each.name == order["host"]), None)
        if host is None:
            names = ", ".join(each.name for each in network.hosts)
            raise EnvironmentUnavailableError(f"--host {order['host']}: this lab has {names}")
        environment = {**os.environ, **_variables(network, pids, serving)}
        command = list(order["command"])
        if not command:
            print(_banner(network, pids, serving), flush=True)
            command = _shell(environment, host, folder)
        return _command(command, environment, host, order["terminal"], order["stdin"], channel)


@contextmanager
def _private_folder() -> Iterator[Path]:
    """Give a folder on a tmpfs that this mount namespace alone has; where there is no /dev/shm, a temporary one."""
    if SHARED_MEMORY.is_dir():
        kernel.mount("tmpfs", str(SHARED_MEMORY), "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV)
        SHARED_MEMORY.chmod(0o1777)
        folder = SHARED_MEMORY / "lab"
        folder.mkdir(mode=0o755)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="ftpstorm-lab-") as made:
        yield Path(made)


# --- what the user sees ---------------------------------------------------------------------------------------------


def _variables(network: Network, pids: Mapping[str, int], serving: Serving | None) -> dict[str, str]:
    """Return the FTPSTORM_LAB_* variables; addresses of one host with spaces between."""
    variables = {}
    for host in network.hosts:
        name = host.name.upper().replace("-", "_")
        variables[f"{VARIABLE}{name}"] = " ".join(host.addresses)
        variables[f"{VARIABLE}PID_{name}"] = str(pids[host.name])
    if serving is not None:
        variables |= {
            f"{VARIABLE}SERVER": serving.address,
            f"{VARIABLE}PORT": str(serving.port),
            f"{VARIABLE}USER": serving.user,
            f"{VARIABLE}PASSWORD": serving.password,
            f"{VARIABLE}URL": f"ftp://{_bracketed(serving.address)}:{serving.port}/",
            f"{VARIABLE}LOG": serving.log,
        }
        if serving.ca_file is not None:
            variables[f"{VARIABLE}CA_FILE"] = serving.ca_file
    return variables


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _banner(network: Network, pids: Mapping[str, int], serving: Serving | None) -> str:
    """Return what a shell opens with: each host, how to enter it, and the server."""
    lines = []
    for host in network.hosts:
        first, last = host.addresses[0], host.addresses[-1]
        addresses = first if first == last else f"{first} ... {last} ({len(host.addresses)})"
        lines.append(f"{host.name:<10} {addresses:<28} enter it with: nsenter -t {pids[host.name]} -n")
    if serving is not None:
        what = serving.name if serving.version is None else f"{serving.name} {serving.version}"
        lines.append(f"{what} on ftp://{_bracketed(serving.address)}:{serving.port}/, its log is {serving.log}")
        if serving.files:
            lines.append(f"files: {', '.join(serving.files)}")
    lines.append("`env | grep FTPSTORM_LAB_` shows this again; `exit` takes all of it down")
    return "\n".join(lines)


def _shell(environment: dict[str, str], host: Host, folder: Path) -> list[str]:
    """Return the command of the user's shell, whose prompt names the host."""
    shell = environment.get("SHELL") or "/bin/sh"
    environment["PS1"] = f"(lab {host.name}) \\w \\$ " if Path(shell).name == "bash" else f"(lab {host.name}) $ "
    if Path(shell).name == "bash":  # its startup file would set another prompt
        startup = folder / "bashrc"
        startup.write_text(f'[ -f ~/.bashrc ] && . ~/.bashrc\nPS1="(lab {host.name}) $PS1"\n', encoding="utf-8")
        return [shell, "--rcfile", str(startup), "-i"]
    return [shell, "-i"]


def _command(
    command: Sequence[str],
    environment: Mapping[str, str],
    host: Host,
    terminal: int | None,
    stdin: int | None,
    channel: socket.socket,
) -> int:
    """Run `command` in `host` to its end, or to the channel's; return its exit status, 128 + N after signal N."""
    parent = os.getpid()
    sys.stdout.flush()
    with host.entered():
        pid = os.fork()
        if pid == 0:
            try:
                _become(command, environment, parent, terminal, stdin)
            finally:
                os._exit(127)
    for descriptor in (terminal, stdin):
        if descriptor is not None:
            os.close(descriptor)
    return _wait(channel, pid)


def _become(
    command: Sequence[str], environment: Mapping[str, str], parent: int, terminal: int | None, stdin: int | None
) -> NoReturn:
    kernel.die_with_parent(parent)
    os.setsid()
    if terminal is not None:
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
        for standard in range(3):
            os.dup2(terminal, standard)
    elif stdin is not None:
        os.dup2(stdin, 0)
    os.closerange(3, 1 << 20)
    try:
        os.execvpe(command[0], list(command), dict(environment))  # noqa: S606 - no shell wanted
    except OSError as error:
        os.write(2, f"error: {command[0]}: {error.strerror}\n".encode())
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)


def _wait(channel: socket.socket, pid: int | None) -> int:
    """Pass signals on to `pid` until it ends, and return its status; without one, wait for the channel's end."""
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    pidfd = None
    if pid is not None:
        pidfd = os.pidfd_open(pid)
        poll.register(pidfd, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        if pidfd is not None and pid is not None and pidfd in ready:
            os.close(pidfd)
            return exit_status(os.waitpid(pid, 0)[1])
        data = channel.recv(4096)
        for number in data:  # one byte a signal
            if pid is None:
                return ExitCode.PASS
            _signal(pid, number)
        if not data:
            if pid is None or pidfd is None:
                return ExitCode.PASS
            _signal(pid, signal.SIGHUP)
            ending = select.poll()
            ending.register(pidfd, select.POLLIN)
            if not ending.poll(GRACE_S * 1000):
                _signal(pid, signal.SIGKILL)
            return exit_status(os.waitpid(pid, 0)[1])


def _signal(pid: int, number: int) -> None:
    """Signal the process group of `pid`, its own session's first."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return


def main() -> int:
    """Take the order, do it, and report what went wrong as the command line does."""
    channel = socket.socket(fileno=int(os.environ.pop(ENVIRONMENT_KEY)))
    order = read_message(channel)
    if not order:
        return ExitCode.INTERNAL_ERROR
    try:
        return run_session(order, channel)
    except FtpstormError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
