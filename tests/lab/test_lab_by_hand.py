"""``ftpstorm lab shell``, ``run`` and ``up`` as a user meets them: from the outside, with real namespaces."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.lab_run import lab_refusal
from support.short_run import alive, tree, wait_for, write_scenario

pytestmark = pytest.mark.lab
FTPSTORM = (sys.executable, "-m", "ftpstorm")
WITHIN_S = 60


@pytest.fixture(scope="module")
def refusal() -> str | None:
    """Why this host gives no namespace, None where it does."""
    return lab_refusal()


@pytest.fixture(autouse=True)
def _namespaces(refusal: str | None, require: Callable[[str, bool, str], None]) -> None:
    require("namespaces", refusal is None, str(refusal))


def lab(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([*FTPSTORM, "lab", *arguments], capture_output=True, text=True, timeout=WITHIN_S, input=text)


def test_a_command_gets_stdin_and_gives_its_output_and_exit_status() -> None:
    done = lab("run", "--topology", "pair", "--", "sh", "-c", "cat; echo said >&2; exit 7", text="heard\n")
    assert (done.returncode, done.stdout, done.stderr) == (7, "heard\n", "said\n")


def test_a_command_that_is_not_there_is_127() -> None:
    done = lab("run", "--topology", "pair", "--", "no-such-command")
    assert done.returncode == 127
    assert "no-such-command: No such file" in done.stderr


@pytest.mark.parametrize("host", ["client-0", "server", "router"])
def test_a_command_runs_in_the_host_that_it_names_with_its_sysctls(host: str) -> None:
    show = "readlink /proc/thread-self/ns/net; cat /proc/sys/net/ipv4/ip_local_port_range; ip -br a"
    keys = ["--topology", "routed", "--sysctl", "server.ip_local_port_range=40000 40199", "--host", host]
    done = lab("run", *keys, "--", "sh", "-c", show)
    namespace, ports, addresses = done.stdout.split("\n", 2)
    assert namespace != str(Path("/proc/self/ns/net").readlink())
    assert (ports.split() == ["40000", "40199"]) == (host == "server")
    assert ({"client-0": "10.77.0.1", "server": "10.78.0.1", "router": "10.79.0.1"}[host]) in addresses


def test_a_host_that_the_lab_lacks_is_refused_with_those_it_has() -> None:
    done = lab("run", "--topology", "pair", "--host", "router", "--", "true")
    assert done.returncode == 120
    assert "client-0, server" in done.stderr


def test_the_emulator_of_a_scenario_serves_the_client(tmp_path: Path) -> None:
    path = write_scenario(tmp_path, lab={"topology": "pair"}, files={"small.bin": "3B"})
    fetch = (
        "import ftplib, os; f = ftplib.FTP(); f.connect(os.environ['FTPSTORM_LAB_SERVER'], "
        "int(os.environ['FTPSTORM_LAB_PORT']), timeout=30); f.login(); print(f.nlst())"
    )
    done = lab("run", str(path), "--", sys.executable, "-c", fetch)
    assert done.stdout.strip() == "['small.bin']", done.stderr


def test_a_shortened_time_wait_is_shortened_by_hand_too(tmp_path: Path) -> None:
    path = write_scenario(tmp_path, lab={"topology": "pair", "time_wait": "200ms"})
    wait = """
import os, socket, sys, time
client = socket.create_connection((os.environ["FTPSTORM_LAB_SERVER"], int(os.environ["FTPSTORM_LAB_PORT"])), 30)
client.recv(99)
client.shutdown(socket.SHUT_WR)
while client.recv(99):
    pass
client.close()  # the first to close: TIME_WAIT is here, and for 60 s but for the lab
def waiting():
    return any(line.split()[3] == "06" for line in open("/proc/net/tcp").readlines()[1:])
deadline = time.monotonic() + 30
while waiting():
    assert time.monotonic() < deadline
    time.sleep(0.01)
"""
    assert lab("run", str(path), "--", sys.executable, "-c", wait).returncode == 0


@contextlib.contextmanager
def kept_up(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, object]]]:
    """Run `lab up`; give the process and what it printed."""
    command = [*FTPSTORM, "lab", "up", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            text = ""
            while not text.endswith("\n}\n"):
                line = process.stdout.readline()
                assert line, "lab up ended before it was up"
                text += line
            yield process, json.loads(text)
        finally:
            process.kill()


def pids(told: dict[str, object]) -> list[int]:
    hosts = told["hosts"]
    assert isinstance(hosts, list)
    return [host["pid"] for host in hosts]


def test_up_names_a_process_in_each_host_and_how_to_enter_it() -> None:
    with kept_up("--topology", "routed") as (process, told):
        networks = {Path(f"/proc/{pid}/ns/net").readlink() for pid in pids(told)}
        assert len(networks | {Path("/proc/self/ns/net").readlink()}) == 4
        hosts = told["hosts"]
        assert isinstance(hosts, list)
        if os.geteuid() == 0:
            enter = next(host["enter"] for host in hosts if host["name"] == "server")
            shown = subprocess.run([*enter.split(), "ip", "-br", "a"], capture_output=True, text=True, timeout=WITHIN_S)
            assert "10.78.0.1" in shown.stdout
        process.communicate(timeout=WITHIN_S)  # the end of its stdin
        assert process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_takes_it_down_in_order(number: signal.Signals) -> None:
    with kept_up("--topology", "pair") as (process, told):
        process.send_signal(number)
        assert process.wait(WITHIN_S) == 0
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids(told)), "the hosts' processes to go")


def test_kill_9_leaves_no_process_behind() -> None:
    with kept_up("--topology", "pair") as (process, _):
        below = tree(process.pid)
        assert len(below) > 3
        process.kill()
        process.wait()
        wait_for(lambda: not alive(below), "every process of the lab to go")


def test_a_signal_reaches_the_command() -> None:
    command = [
        "run",
        "--topology",
        "pair",
        "--",
        "sh",
        "-c",
        "trap 'exit 9' INT; echo up; while :; do sleep 0.05; done",
    ]
    with subprocess.Popen([*FTPSTORM, "lab", *command], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(WITHIN_S) == 9


class Typist:
    """A user at a terminal."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.seen = b""

    def read_until(self, text: bytes) -> bytes:
        deadline = time.monotonic() + WITHIN_S
        while text not in self.seen:
            ready, _, _ = select.select([self.fd], [], [], deadline - time.monotonic())
            assert ready, f"not within {WITHIN_S} s: {text!r}; seen: {self.seen!r}"
            self.seen += os.read(self.fd, 4096)
        before, _, self.seen = self.seen.partition(text)
        return before

    def type(self, text: bytes) -> None:
        os.write(self.fd, text)


def test_a_shell_has_job_control_its_variables_and_a_prompt_that_says_where_it_is() -> None:
    pid, fd = pty.fork()
    if pid == 0:
        environment = {**os.environ, "SHELL": "/bin/sh", "ENV": "", "TERM": "dumb"}
        os.execve(sys.executable, [*FTPSTORM, "lab", "shell", "--topology", "pair"], environment)  # noqa: S606
    user = Typist(fd)
    try:
        banner = user.read_until(b"(lab client-0) $ ")
        assert b"10.78.0.1" in banner
        assert b"nsenter -t" in banner
        user.type(b"echo $FTPSTORM_LAB_SERVER-$(tty | cut -c1-5)\n")
        user.read_until(b"10.78.0.1-/dev/")
        user.type(b"echo be''gun; exec 3>&1; cat\n")
        user.read_until(b"begun")
        user.type(b"heard\n")
        user.read_until(b"heard\r\n")  # what the terminal echoes
        user.read_until(b"heard\r\n")  # what `cat` says: it runs, and has the terminal
        user.type(b"\x03")  # Ctrl-C ends `cat`, not the shell and not the lab; what was typed with it would be flushed
        user.read_until(b"$ ")
        user.type(b"echo sur''vived\n")
        user.read_until(b"survived")
        user.type(b"exit 5\n")
        with contextlib.suppress(OSError):  # EIO: the terminal's other end is gone
            while os.read(fd, 4096):
                pass
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
        pid = 0
    finally:
        os.close(fd)
        if pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
