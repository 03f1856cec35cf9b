"""``ftpstorm sample --netns``: another process's network, watched from outside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ftpstorm.conduct.standalone import sample_kernel
from ftpstorm.errors import UsageError
from ftpstorm.records.reader import open_run
from support.lab_run import lab_refusal

NO_PROCESS = 2**22 + 1
"""Above the kernel's highest process id (PID_MAX_LIMIT)."""


@pytest.fixture
def inhabitant(require: Callable[[str, bool, str], None]) -> Iterator[int]:
    """A process in a user and a network namespace of its own."""
    refusal = lab_refusal()
    require("namespaces", refusal is None, str(refusal))
    command = ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", "echo up; exec cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"up\n"
        yield process.pid
        process.stdin.close()


def sample_inside(inhabitant: int, pid: int, out: Path) -> subprocess.CompletedProcess[str]:
    """Sample the network of `pid` as the owner of the inhabitant's user namespace, from the network of the tests."""
    rights = ["nsenter", "--target", str(inhabitant), "--user", "--preserve-credentials"]
    words = ["sample", "--netns", str(pid), "--duration", "100ms", "--every", "20ms", "--out", str(out)]
    return subprocess.run([*rights, sys.executable, "-m", "ftpstorm", *words], capture_output=True, text=True)


def test_the_counters_are_those_of_the_other_network(inhabitant: int, tmp_path: Path) -> None:
    done = sample_inside(inhabitant, inhabitant, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    # nobody has ever connected from there
    assert counts["counters_start"]["Tcp.ActiveOpens"] == counts["counters_end"]["Tcp.ActiveOpens"] == 0
    assert len(open_run(tmp_path / "out").samples) == counts["samples"] > 0


def test_a_network_that_is_closed_to_us_says_how_to_get_in_and_leaves_no_folder(
    inhabitant: int, tmp_path: Path
) -> None:
    done = sample_inside(inhabitant, os.getpid(), tmp_path / "out")
    assert done.returncode == 120
    assert f"--netns {os.getpid()}: " in done.stderr
    assert "nsenter" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_process_that_is_not_there_is_a_wrong_argument(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"there is no process {NO_PROCESS}"):
        sample_kernel(tmp_path / "out", "100ms", "1s", "1s", (), None, NO_PROCESS)
