"""Who descends from a process: read from /proc, for whoever must end a server with everything that it started."""

from __future__ import annotations

import os
from pathlib import Path


def parents() -> dict[int, int]:
    """Return the parent of every process that /proc shows (proc_pid_stat(5)); zombies are left out."""
    found = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - names are all that is wanted
        if name.isdigit():
            try:
                stat = Path("/proc", name, "stat").read_bytes()
            except OSError:  # gone since
                continue
            state, parent = stat.rpartition(b")")[2].split()[:2]  # the command's name may hold spaces and brackets
            if state != b"Z":
                found[int(name)] = int(parent)
    return found


def descendants(pid: int) -> list[int]:
    """Return the living descendants of `pid`, each after its parent and children in the order of their pids."""
    children: dict[int, list[int]] = {}
    for child, parent in sorted(parents().items()):
        children.setdefault(parent, []).append(child)
    found: list[int] = []
    wave = [pid]
    while wave:
        wave = [child for parent in wave for child in children.get(parent, ())]
        found += wave
    return found
