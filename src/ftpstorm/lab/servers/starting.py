"""Starting a server: its folder and files, its keeper inside the host's network, and the wait for its greeting."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ftpstorm.errors import EnvironmentUnavailableError
from ftpstorm.lab.family import descendants
from ftpstorm.lab.servers import inetutils, own, proftpd, pureftpd, python_servers, vsftpd
from ftpstorm.lab.servers.certificate import make_certificate
from ftpstorm.lab.servers.programs import Program, find_program
from ftpstorm.lab.servers.recipe import PASSWORD, USER, Identity, Place, Recipe, read_identity
from ftpstorm.lab.servers.running import RunningServer, gather_logs
from ftpstorm.lab.servers.surroundings import choose_place, prepare
from ftpstorm.scenario.target import Server

if TYPE_CHECKING:
    from ftpstorm.lab.hosts import Host

GREETS_WITHIN_S: Final = 15.0
"""How long a server may take from its start to a greeting on every address."""
LOG_TAIL_BYTES: Final = 2000
KERNEL_CHOOSES: Final = frozenset({"inetutils-ftpd", "pyftpdlib", "aioftp"})
"""Servers that without a passive range bind port 0: the kernel's ephemeral range is their pool. The others draw at
random from ports of their own choice, also from outside that range."""

_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close(2) sends RST
_POLL_S: Final = 0.01

Written = Callable[[Server, Program, Place], Recipe]
WRITERS: Final[Mapping[str, Written]] = {
    "vsftpd": vsftpd.write,
    "proftpd": proftpd.write,
    "pure-ftpd": pureftpd.write,
    "inetutils-ftpd": inetutils.write,
}


def start_server(
    server: Server,
    host: Host | None,
    address: str,
    folder: Path,
    files: Mapping[str, int],
    log: Path,
    *,
    more_addresses: Sequence[str] = (),
    secrets: Collection[str] = (),
) -> RunningServer:
    """Start `server` in the network of `host` and return once it greets on every address.

    `address` is the one to listen on; with `more_addresses` it listens on all that the host has, and must greet on each
    of these. `host` None means the calling thread's network. A folder for it is made below `folder` and removed by
    `RunningServer.stop`; `files` (name to size in bytes) are made there with the content that the emulator gives them,
    beside a folder ``upload``; its user may write into every folder, but vsftpd's not into the root. What it says goes
    to `log`, appended. Its processes get our environment without the variables that `secrets` names.

    To be called from the main thread: the server dies with the thread that started it. Raises
    EnvironmentUnavailableError where the server cannot be had, cannot run with the uids that there are, or does not
    greet within GREETS_WITHIN_S; nothing of it is left then.
    """
    program = None if server.name is None else find_program(server.name)
    made = Path(tempfile.mkdtemp(prefix="server-", dir=folder))
    made.chmod(0o755)
    try:
        addresses = (address, *more_addresses)
        certificate = make_certificate(made, addresses) if server.tls == "explicit" else None
        identity = read_identity()
        private = program is not None and program.path is not None
        seen = choose_place(_needed(program)) if private else made
        place = Place(
            folder=made,
            seen=seen,
            addresses=addresses,
            ipv6=":" in address,
            port=server.port,
            identity=identity,
            certificate=str(seen / certificate.pair.name) if certificate is not None else None,
        )
        make_files(made / "files", files, identity if private else None)
        if server.name == "vsftpd":
            os.chown(made / "files", 0, 0)  # it refuses an anonymous root that its user can write to
        recipe = _recipe(server, program, place)
        mounts = prepare(made, place.seen, identity, server.port) if recipe.private else []
        keeper = _spawn(recipe, mounts, place, host, log, secrets)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    own_logs = tuple(made / name for name in recipe.logs)
    name = server.name or Path(server.command[0]).name
    try:
        with host.entered() if host is not None else contextlib.nullcontext():
            for each in addresses:
                _await_greeting(keeper, name, each, server.port)
            ephemeral = _ephemeral_range()
        running = RunningServer(
            name=name,
            version=program.version() if program is not None else None,
            addresses=tuple((each, server.port) for each in addresses),
            passive_range=server.passive_range or (ephemeral if server.name in KERNEL_CHOOSES else None),
            pid=_listener(keeper.pid),
            user=USER,
            password=PASSWORD,
            ca_file=certificate.certificate if certificate is not None else None,
            files=made / "files",
            _keeper=keeper,
            _folder=made,
            _own_logs=own_logs,
            _log=log,
        )
        _await_quiet(running.pid)
    except BaseException as error:
        gather_logs(own_logs, log)
        _end(keeper)
        shutil.rmtree(made, ignore_errors=True)
        if isinstance(error, _SilentError):
            tail = _tail(log)
            said = f"; the end of {log}:\n{tail}" if tail else f"; it left no word in {log}"
            raise EnvironmentUnavailableError(f"target.server: {error}{said}") from None
        raise
    return running


def make_files(root: Path, files: Mapping[str, int], identity: Identity | None) -> None:
    """Make `files`, name to size in bytes, and a folder ``upload`` below `root`; let the anonymous user write there.

    The files stay the caller's, readable to all, so that an upload under the same name leaves them as they are.
    Raises ValueError for a name that climbs with ``..``.
    """
    from ftpstorm.emulator.files import content_blocks

    folders = [root, root / "upload"]
    for folder in folders:
        folder.mkdir()
    for name, size_bytes in files.items():
        path = root / name.lstrip("/")
        if ".." in path.parts:
            raise ValueError(f"{name!r} is no name for a file")
        for folder in reversed(path.relative_to(root).parents[:-1]):
            (root / folder).mkdir(exist_ok=True)
            folders.append(root / folder)
        with path.open("wb") as file:
            for block in content_blocks(size_bytes):
                file.write(block)
        path.chmod(0o644)
    for folder in folders:
        folder.chmod(0o755)
        if identity is not None and os.geteuid() == 0:
            os.chown(folder, identity.ftp, identity.ftp)


# --- its process ----------------------------------------------------------------------------------------------------


class _SilentError(Exception):
    """The server does not greet; the message says how that showed."""


def _needed(program: Program | None) -> list[Path]:
    if program is None or program.path is None:
        return []
    libraries = [Path(folder) for folder in program.libraries.split(os.pathsep) if folder]
    return [program.path, *libraries, *([program.tree] if program.tree is not None else [])]


def _recipe(server: Server, program: Program | None, place: Place) -> Recipe:
    if program is None:
        return own.write(server, place)
    if program.path is None:
        return python_servers.write(server, place)
    return WRITERS[program.name](server, program, place)


def _spawn(
    recipe: Recipe,
    mounts: Sequence[tuple[str, str]],
    place: Place,
    host: Host | None,
    log: Path,
    secrets: Collection[str],
) -> subprocess.Popen[bytes]:
    # All users can read a command line, only its owner an environment: the order has what a recipe adds or changes, and
    # not the rest. That much is not for the keeper itself, whose libraries are not the server's.
    wanted = {key: value for key, value in recipe.environment.items() if key not in secrets}
    inherited = {key: value for key, value in os.environ.items() if key in wanted}
    order = {
        "parent": os.getpid(),
        "command": recipe.command,
        "environment": {key: value for key, value in wanted.items() if inherited.get(key) != value},
        "folder": str(place.seen),
        "mounts": mounts,
    }
    command = [sys.executable, "-m", "ftpstorm.lab.keeper", json.dumps(order)]
    log.touch()
    with contextlib.ExitStack() as entered:
        output = entered.enter_context(log.open("ab"))
        client = entered.enter_context(log.open("r+b"))  # vsftpd says what went wrong to descriptor 0
        if host is not None:
            entered.enter_context(host.entered())
        return subprocess.Popen(
            command, stdin=client, stdout=output, stderr=output, env=inherited, start_new_session=True
        )


def _end(keeper: subprocess.Popen[bytes]) -> None:
    keeper.terminate()
    try:
        keeper.wait(GREETS_WITHIN_S)
    except subprocess.TimeoutExpired:
        keeper.kill()
        keeper.wait()


def _listener(keeper: int) -> int:
    """Return the server's first process: the keeper's child, or the daemon that it adopted."""
    return next(iter(descendants(keeper)), keeper)


def _await_greeting(keeper: subprocess.Popen[bytes], name: str, address: str, port: int) -> None:
    deadline = time.monotonic() + GREETS_WITHIN_S
    seen = "nothing"
    while True:
        status = keeper.poll()
        if status is not None:
            raise _SilentError(f"{name} ended with status {status} before it greeted")
        try:
            with socket.create_connection((address, port), timeout=2) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)  # no TIME_WAIT on either side
                greeting = probe.recv(512)
                if greeting.startswith(b"220"):
                    _leave(probe)
                    return
            seen = repr(greeting.decode(errors="replace")) if greeting else "a connection closed without a word"
        except OSError as error:
            seen = str(error)
        if time.monotonic() > deadline:
            raise _SilentError(f"{name} did not greet on {address}:{port} within {GREETS_WITHIN_S:g} s, but: {seen}")
        time.sleep(_POLL_S)


def _leave(probe: socket.socket) -> None:
    """Say QUIT and let the server close first: our RST then meets it in FIN_WAIT_2, where it hurts nobody."""
    with contextlib.suppress(OSError):
        probe.sendall(b"QUIT\r\n")
        while probe.recv(512):
            pass


def _await_quiet(pid: int) -> None:
    """Wait until the sessions that asked for greetings are gone: they must not count against a maximum."""
    deadline = time.monotonic() + 2.0
    while descendants(pid) and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def _ephemeral_range() -> tuple[int, int] | None:
    try:
        first, last = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return None
    return int(first), int(last)


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_TAIL_BYTES))
        return file.read().decode(errors="replace").strip()
