"""Short scenarios, and `ftpstorm run` as a real process that a test can watch, signal and search for leftovers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

DEADLINE_S = 60.0


def scenario_of(**sections: object) -> dict[str, Any]:
    """Return a scenario of one second: four passive ports held half a second, fifty downloads a second."""
    scenario: dict[str, Any] = {
        "version": 1,
        "name": "short",
        "target": {"emulator": {"passive_ports": 4, "hold": {"for": "500ms"}}},
        "flows": {"download": {"steps": ["login", {"retr": "small.bin"}, "quit"]}},
        "files": {"small.bin": "1KiB"},
        "load": {"steady": {"executor": "constant-arrival-rate", "rate": "50/s", "duration": "1s", "flow": "download"}},
        "sampling": {"every": "100ms", "ports_every": "500ms", "cool_down": "100ms"},
    }
    return scenario | sections


def write_scenario(folder: Path, **sections: object) -> Path:
    """Write the scenario as a file; JSON is YAML."""
    path = folder / "short.yaml"
    path.write_text(json.dumps(scenario_of(**sections)))
    return path


def wait_for(fact: Callable[[], Any], what: str, within_s: float = DEADLINE_S) -> Any:
    """Wait until `fact()` is true and return it; fail with `what` after `within_s`."""
    deadline = time.monotonic() + within_s
    while not (value := fact()):
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        time.sleep(0.02)
    return value


class RunningCommand:
    """``ftpstorm ARGUMENTS`` as a process, in a session of its own so that nothing it leaves is ours."""

    def __init__(self, folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.out = folder / "results"
        self._stdout = (folder / "stdout.txt").open("w+b")
        self._stderr = (folder / "stderr.txt").open("w+b")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ftpstorm", *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=self._stdout,
            stderr=self._stderr,
            env={**os.environ, **(environment or {})},
        )

    def __enter__(self) -> RunningCommand:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._stdout.close()
        self._stderr.close()

    @property
    def stdout(self) -> str:
        return (self.folder / "stdout.txt").read_text()

    @property
    def stderr(self) -> str:
        return (self.folder / "stderr.txt").read_text()

    def end(self, within_s: float = DEADLINE_S) -> int:
        """Wait for the end and return the exit code."""
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running; {tree(self.process.pid)}\n{self.stdout}\n{self.stderr}") from None

    def request_stop(self, number: signal.Signals = signal.SIGINT) -> None:
        self.process.send_signal(number)

    def results(self) -> Path:
        """Return the run's folder, once it is there."""
        folder: Path = wait_for(self._results, f"a results folder; stderr: {self.stderr}")
        return folder

    def _results(self) -> Path | None:
        assert self.process.poll() is None or self.out.is_dir(), self.stdout + self.stderr
        folders = sorted(self.out.iterdir()) if self.out.is_dir() else []
        return folders[0] if folders else None

    def wait_for_load(self) -> Path:
        """Wait until the first worker has written operations; return the run's folder."""
        folder = self.results()

        def loaded() -> bool:
            assert self.process.poll() is None, f"ended before any load:\n{self.stdout}\n{self.stderr}"
            spool = folder / "spool" / "worker-0.operations.spool"
            return spool.exists() and spool.stat().st_size > 4096

        wait_for(loaded, f"operations in {folder}")
        return folder

    def summary(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.results() / "summary.json").read_text())
        return value

    def manifest(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.results() / "manifest.json").read_text())
        return value

    def descendants(self) -> dict[int, str]:
        """Return the command lines of all processes below this one, by pid as this test sees it."""
        return tree(self.process.pid)

    def find(self, module: str) -> int:
        """Return the pid of the only descendant that executes `module`."""
        found = [pid for pid, line in self.descendants().items() if f"-m {module}" in line]
        # PID 1 and the launcher are forks of the supervisor and show its command line
        assert len(found) == 1, self.descendants()
        return found[0]


def tree(root: int) -> dict[int, str]:
    """Return pid to command line of all descendants of `root`."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
    below = {root}
    while grown := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= grown
    lines: dict[int, str] = {}
    for pid in below - {root}:
        try:
            lines[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return lines


def network_namespace(pid: int) -> str | None:
    """Return what names the network namespace of a process, None when it is gone."""
    try:
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    except OSError:
        return None


def members(namespace: str) -> list[int]:
    """Return the pids of all processes in a network namespace."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if network_namespace(pid) == namespace]


def alive(pids: Mapping[int, str]) -> list[int]:
    """Return those of `pids` that still run the same command; a zombie does not run."""
    found = []
    for pid, line in pids.items():
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            if state != "Z" and Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode() == line:
                found.append(pid)
        except OSError:
            continue
    return found
