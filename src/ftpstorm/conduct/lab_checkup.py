"""Can this host build labs? What the kernel refuses, which parts work inside, which FTP servers start.

Two halves: `lab_checks` outside, and this module as a program (``python -m ftpstorm.conduct.lab_checkup``) in a private
namespace, where each part of the lab is tried for real: networks are built, a TIME_WAIT is ended, servers are started.
What fails here keeps no load from being made on loopback, so it is a warning.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, get_args

from ftpstorm.conduct.checkup import Check, find_programs
from ftpstorm.errors import EnvironmentUnavailableError, FtpstormError
from ftpstorm.lab import kernel, links, namespaces, timewait
from ftpstorm.lab.namespaces import Command, start_private
from ftpstorm.scenario.lab import Lab
from ftpstorm.scenario.target import Server, ServerName

ENVIRONMENT_KEY: Final = "FTPSTORM_CHECKUP"
PROGRAMS: Final[Mapping[str, str]] = {"ip": "iproute2", "tc": "iproute2", "nft": "nftables"}
SYS: Final = Path("/proc/sys")
LAB_WHY: Final = "`lab:` scenarios, clean counters, and real servers whose ports run out without touching this host"

ROUTED: Final[Mapping[str, Any]] = {
    "topology": "routed",
    "nat": {"ports": "20000-20099"},
    "firewall": {"allow": ["10000-10019"], "helper": True},
}
"""A lab with all that a router may have."""


def lab_checks() -> list[Check]:
    """Look at everything that only the lab needs. Call it from the main thread of a process without others."""
    checks = [check_namespaces(namespaces.probe()), *find_programs(PROGRAMS, "the lab's network is made with it")]
    if checks[0].status != "ok":
        return checks
    checks += check_links(links.probe_links())
    return [*checks, *_inside()]


def check_namespaces(refused: str | None, sys_folder: Path = SYS) -> Check:
    """Judge why a private namespace was `refused` (None: it was not), and name the setting that is to blame."""
    name = "private namespaces"
    if refused is None:
        who = "root: identity uid map" if os.geteuid() == 0 else "a plain user: one uid inside"
        return Check(name, "ok", f"user, mount, pid and network, as {who}", LAB_WHY)
    return Check(name, "warn", refused, LAB_WHY, "; or ".join(_namespace_remedies(refused, sys_folder)))


def _namespace_remedies(refused: str, sys_folder: Path) -> Iterator[str]:
    settings = (
        ("kernel/unprivileged_userns_clone", "0", "1"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
        ("user/max_user_namespaces", "0", "15000"),
        ("user/max_net_namespaces", "0", "15000"),
    )
    named = False
    for name, bad, good in settings:
        try:
            value = (sys_folder / name).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if value == bad:
            named = True
            yield f"sysctl {name.replace('/', '.')}={good} (it is {value})"
    if "/proc" in refused:
        named = True
        yield (
            "this container hides parts of /proc, so no other can be mounted: start it with "
            "--security-opt systempaths=unconfined, or --privileged"
        )
    if not named:
        yield (
            "no setting of the kernel's is to blame, so a seccomp filter or security module is: run as root, or start "
            "the container with --cap-add SYS_ADMIN --security-opt seccomp=unconfined "
            "--security-opt apparmor=unconfined"
        )


def check_links(found: Mapping[str, str | None]) -> list[Check]:
    """Judge what `links.probe_links` found."""
    names = {"delay": "netem delay", "loss": "netem loss", "rate": "tbf rate"}
    checks = []
    for key, reason in found.items():
        why = f"`lab.link.{key}` shapes what goes over the lab's wires"
        if reason is None:
            checks.append(Check(names[key], "ok", "works", why))
        else:
            mend = f"as root: modprobe {links.MODULES[key]}, or a kernel that has it; without it leave `{key}` out"
            checks.append(Check(names[key], "warn", reason, why, mend))
    return checks


def _inside() -> list[Check]:
    """Run this module's other half in a private namespace and return what it found."""
    reading, writing = os.pipe()
    environment = {**os.environ, ENVIRONMENT_KEY: str(writing)}
    try:
        pid = start_private(Command([sys.executable, "-P", "-m", __name__], environment, [writing]))
    except FtpstormError:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as answers:
        checks = [Check(**json.loads(line)) for line in answers]
    _, status = os.waitpid(pid, 0)
    code = namespaces.exit_status(status)
    if code:
        seen = f"the check-up inside the namespace ended with status {code}"
        checks.append(Check("lab", "unknown", seen, LAB_WHY, "see what it wrote to stderr"))
    return checks


# --- inside the private namespace -----------------------------------------------------------------------------------


def _checks_inside() -> Iterator[Check]:
    yield check_time_wait(timewait.probe())
    yield _try_lab("lab: pair", {"topology": "pair"}, "client and server as two hosts joined by a wire")
    yield _try_lab("lab: routed", ROUTED, "NAT, firewall and the FTP helper on a router between them")
    yield from _try_servers()


def check_time_wait(refused: str | None) -> Check:
    """Judge what `timewait.probe` found."""
    why = "`lab.time_wait` gives hosts a TIME_WAIT shorter than the kernel's 60 s"
    if refused is None:
        return Check("SOCK_DESTROY", "ok", "ends TIME_WAIT", why)
    mend = "a kernel with CONFIG_INET_DIAG_DESTROY; without it leave `lab.time_wait` out"
    if "CAP_NET_ADMIN" in refused:
        mend = "a security profile that leaves CAP_NET_ADMIN in namespaces; without it leave `lab.time_wait` out"
    return Check("SOCK_DESTROY", "warn", refused, why, mend)


def _try_lab(name: str, keys: Mapping[str, Any], what: str) -> Check:
    from ftpstorm.lab.topology import build

    began = time.monotonic()
    try:
        # in a process of its own: `build` turns the calling one into a client host, once
        status, said = _forked(lambda: _build_once(build, Lab.model_validate(keys)))
    except OSError as error:
        return Check(name, "unknown", str(error), what)
    if status:
        mend = "see what it says; `ftpstorm lab run --topology pair -- true` tries it alone"
        return Check(name, "warn", said or f"ended with status {status}", what, mend)
    return Check(name, "ok", f"up and down in {time.monotonic() - began:.2f} s", what)


def _build_once(build: Any, lab: Lab) -> None:
    kernel.unshare(kernel.CLONE_NEWNET)  # what an earlier lab left in this one may still be on its way out
    kernel.bring_up_loopback()
    with build(lab):
        pass


def _try_servers() -> Iterable[Check]:
    from ftpstorm.lab.servers import find_program, start_server

    why = "`target.server` runs it in the lab"
    for name in get_args(ServerName):
        try:
            program = find_program(name)
        except EnvironmentUnavailableError as error:
            text = _without_place(str(error))
            yield Check(name, "warn", "not here", why, text)
            continue
        where = "a Python package" if program.path is None else f"installed as {program.path}"
        if program.tree is not None:
            where = "from scripts/fetch-servers"

        def start(name: str = name) -> None:
            with tempfile.TemporaryDirectory(prefix="ftpstorm-checkup-") as folder:
                log = Path(folder, "server.log")
                log.touch()
                server = Server(name=name, port=2121)
                with start_server(server, None, "127.0.0.1", Path(folder), {"small.bin": 1024}, log):
                    pass

        status, said = _forked(start)
        version = program.version() or "version unknown"
        if status:
            reason = _without_place(said) or f"ended with status {status}"
            mend = "use another server, or see its log with: ftpstorm lab shell --topology pair --server " + name
            yield Check(name, "warn", f"{version}, {where}, does not start here: {reason}", why, mend)
        else:
            yield Check(name, "ok", f"{version}, {where}; starts and greets", why)


def _without_place(text: str) -> str:
    return re.sub(r"^(target\.server|lab[.a-z_]*): ", "", text)


def _forked(act: Any) -> tuple[int, str]:
    """Do `act` in a fork, with a FtpstormError as its last word; return exit status and word."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(reading)
            act()
            status = 0
        except FtpstormError as error:
            os.write(writing, str(error).encode())
        except BaseException as error:
            os.write(writing, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8", errors="replace") as words:
        said = words.read()
    _, status = os.waitpid(pid, 0)
    return namespaces.exit_status(status), said


def main() -> None:
    """Check everything inside; one JSON line a check, as soon as it is known."""
    with os.fdopen(int(os.environ.pop(ENVIRONMENT_KEY)), "w", encoding="utf-8", buffering=1) as out:
        for check in _checks_inside():
            out.write(json.dumps(check.to_json()) + "\n")


if __name__ == "__main__":
    main()
