"""One measurement: a fresh network namespace, a fresh sink server on one core, one client on another.

`python -m bench.arena` reads a job as JSON from stdin, {"server": [...], "client": [...], "server_core": 1,
"client_cores": [0], "within_s": 120}, unshares, starts both and prints one JSON line: what the client and the server
said, and which of the conditions the host allowed. The client's command gets the server's port as its last argument.
The namespace ends with this process and its children; each dies with its parent.

As root the namespaces are made without a user namespace, so that rps_cpus of the namespace's `lo` can be set: all
receive work then runs on the server's core, for every client alike. Without root a user namespace is made and that
setting is refused, which the answer says.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from ftpstorm.lab import kernel

PASSIVE_PORTS: Final = "2200-15999"
"""Below the ephemeral range, so that the server's listeners and the client's connections never compete."""

SYSCTLS: Final = {
    "ipv4/ip_local_port_range": "16000 65535",
    "ipv4/tcp_tw_reuse": "1",
    "ipv4/tcp_max_syn_backlog": "65535",
    "core/somaxconn": "65535",
}
"""Of the namespace alone: enough ports and backlog that no limit but the CPU is met."""

LONGEST_WORD: Final = 2_000
"""Characters of a failed client's stderr that are kept."""


@dataclass
class Conditions:
    """What the host allowed; each is True, or a text that says why not."""

    namespace: bool | str = True
    user_namespace: bool = False
    rps: bool | str = "not tried"
    pinned: bool | str = True
    sysctls: dict[str, bool | str] = field(default_factory=dict)


def enter_namespace(conditions: Conditions) -> None:
    """Unshare the network (and, to see its /sys, the mounts); note what was refused."""
    flags = kernel.CLONE_NEWNET | kernel.CLONE_NEWNS
    uid, gid = os.getuid(), os.getgid()
    try:
        if uid == 0:
            kernel.unshare(flags)
        else:
            kernel.unshare(flags | kernel.CLONE_NEWUSER)
            conditions.user_namespace = True
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
            Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    except OSError as error:
        conditions.namespace = f"shared with the host: {error}"
        return
    kernel.bring_up_loopback()
    for name, value in SYSCTLS.items():
        try:
            Path("/proc/sys/net", name).write_text(value)
            conditions.sysctls[name] = True
        except OSError as error:
            conditions.sysctls[name] = str(error)


def steer_receiving(core: int, conditions: Conditions) -> None:
    """Have the namespace's loopback do its receive work on `core` (Documentation/networking/scaling.rst, RPS)."""
    if conditions.namespace is not True:
        conditions.rps = "only done in a namespace of one's own"
        return
    try:
        kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
        kernel.mount("sysfs", "/sys", "sysfs", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
        Path("/sys/class/net/lo/queues/rx-0/rps_cpus").write_text(f"{1 << core:x}")
        conditions.rps = True
    except OSError as error:
        conditions.rps = str(error)


@contextlib.contextmanager
def process(command: Sequence[str], cores: Sequence[int], **streams: Any) -> Iterator[subprocess.Popen[str]]:
    """Run `command` on `cores` alone; it is killed when the block ends, and when this process does."""
    parent = os.getpid()

    def prepare() -> None:
        kernel.die_with_parent(parent)
        os.sched_setaffinity(0, cores)

    running = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, preexec_fn=prepare, **streams
    )
    try:
        yield running
    finally:
        running.kill()
        running.wait()


def measure(job: dict[str, Any], conditions: Conditions) -> dict[str, Any]:
    """Run server and client; return what both said, or the client's error."""
    if job["server_core"] in job["client_cores"]:
        conditions.pinned = "server and client share the only core"
    with process([*job["server"], "-r", PASSIVE_PORTS], [job["server_core"]]) as server:
        assert server.stdout is not None
        port = json.loads(server.stdout.readline())["port"]
        with process([*job["client"], str(port)], job["client_cores"], stderr=subprocess.PIPE) as client:
            try:
                said, complained = client.communicate(timeout=job["within_s"])
            except subprocess.TimeoutExpired:
                return {"error": f"not done within {job['within_s']} s"}
            if client.returncode:
                return {"error": f"exit status {client.returncode}: {complained.strip()[-LONGEST_WORD:]}"}
        server.terminate()
        served, _ = server.communicate(timeout=10)
    return {"client": json.loads(said.splitlines()[-1]), "server": json.loads(served.splitlines()[-1])}


def main() -> None:
    """Do one job from stdin."""
    if platform.system() != "Linux":
        raise SystemExit("the bench needs Linux")
    job = json.load(sys.stdin)
    conditions = Conditions()
    enter_namespace(conditions)
    steer_receiving(job["server_core"], conditions)
    print(json.dumps({**measure(job, conditions), "conditions": asdict(conditions)}), flush=True)


if __name__ == "__main__":
    main()
