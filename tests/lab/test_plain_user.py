"""Whole runs in labs by a user without rights: the same networks, and a reason where a server needs more."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ftpstorm.errors import ExitCode
from ftpstorm.lab.servers import why_missing
from ftpstorm.lab.servers.programs import servers_folder
from support.lab_run import NOBODY, lab_refusal
from support.short_run import write_scenario

Require = Callable[[str, bool, str], None]

LAB = {"topology": "routed", "nat": {"ports": "40000-40999"}, "time_wait": "1s"}


@pytest.fixture
def folder(require: Require) -> Iterator[Path]:
    """Give a folder that everybody may write to, unlike pytest's own."""
    refused = lab_refusal()
    require("lab", refused is None, refused or "")
    if os.geteuid() != 0:
        pytest.skip("these tests are a plain user's already: all other ones of the lab show it")
    with tempfile.TemporaryDirectory(prefix="plain-user-") as made:
        Path(made).chmod(0o777)
        yield Path(made)


def closed_above(path: Path) -> Path | None:
    """Return the outermost folder on the way to `path` that others may not enter, None where they get there."""
    return next((above for above in reversed(path.parents) if not above.stat().st_mode & 0o001), None)


def opened(paths: Iterable[Path], places: Path) -> str:
    """Return shell commands that, in a mount namespace of one's own, let everybody get to `paths`.

    Each is kept at `places`, what closes the way is covered by an empty folder, and the path is put back into it.
    """
    kept = {path: places / str(number) for number, path in enumerate(paths) if closed_above(path) is not None}
    lines = ["mount --make-rprivate /"]
    lines += [f"mkdir -p {place} && mount --bind {shlex.quote(str(path))} {place}" for path, place in kept.items()]
    lines += [
        f"mount -t tmpfs -o mode=755 covered {shlex.quote(str(closed))}"
        for closed in sorted({str(closed_above(path)) for path in kept})
    ]
    for path, place in kept.items():
        lines.append(f"mkdir -p {shlex.quote(str(path))} && mount --bind {place} {shlex.quote(str(path))}")
    return "\n".join(lines)


def run_as_nobody(folder: Path, server: str) -> subprocess.CompletedProcess[str]:
    """Do ``ftpstorm run`` of a short scenario against `server`, as user and group nobody."""
    target: dict[str, Any] = {"server": {"name": server}}
    load = {"all": {"executor": "burst", "sessions": 20, "flow": "download"}}
    scenario = write_scenario(folder, target=target, lab=LAB, load=load)
    needed = (Path(sys.base_prefix), Path(sys.prefix), Path(__file__).parents[2], servers_folder().resolve())
    script = f'set -e\n{opened(needed, folder / "kept")}\ncd {folder}\nexec "$@"'
    become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    command = [sys.executable, "-m", "ftpstorm", "run", str(scenario), "-q", "--no-plots", "--out", str(folder / "out")]
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", *become, *command],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(folder), "TMPDIR": str(folder), "FTPSTORM_SERVERS": str(servers_folder())},
    )


def test_a_plain_user_has_the_whole_lab(folder: Path, require: Require) -> None:
    missing = why_missing("vsftpd")
    require("vsftpd", missing is None, str(missing))
    done = run_as_nobody(folder, "vsftpd")
    assert done.returncode == ExitCode.PASS, done.stdout + done.stderr
    (results,) = (folder / "out").iterdir()
    assert results.stat().st_uid == NOBODY
    summary = json.loads((results / "summary.json").read_text())
    manifest = json.loads((results / "manifest.json").read_text())
    assert summary["transfers"]["succeeded"] == 20
    assert [line for line in summary["accounting"] if line["ok"] is False] == []
    hosts = {host["name"]: host for host in manifest["lab"]["hosts"]}
    assert list(hosts) == ["client-0", "router", "server"]
    assert hosts["router"]["settings"]["net.ipv4.ip_forward"] == "1"
    assert hosts["server"]["time_wait_s"] == 1
    assert summary["ports"]["router"]["in_use_peak"] > 0


def test_a_server_that_needs_more_than_one_user_is_refused_with_the_reason(folder: Path, require: Require) -> None:
    missing = why_missing("pure-ftpd")
    require("pure-ftpd", missing is None, str(missing))
    done = run_as_nobody(folder, "pure-ftpd")
    assert done.returncode == ExitCode.ENVIRONMENT, done.stdout + done.stderr
    assert "pure-ftpd cannot run here" in done.stderr
    assert "start ftpstorm as root, or take another server" in done.stderr
