"""Namespaces for real: each test drives a fresh interpreter, since only a process without threads may fork."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from ftpstorm.lab.namespaces import exit_status
from support.short_run import alive, members, network_namespace, tree, wait_for

DRIVER = """
import json, os, sys
from ftpstorm.lab import namespaces
from ftpstorm.lab.namespaces import Command

def run(script, start=namespaces.start_private, keep=()):
    pid = start(Command([sys.executable, "-c", script], os.environ, keep))
    return namespaces.exit_status(os.waitpid(pid, 0)[1])
"""

NOBODY = 65_534
PR_SET_DUMPABLE = 4


def drive(script: str, inner: str = "") -> str:
    """Run a driver script to its end; return its stdout. It finds `inner`, a script to run inside, under that name."""
    driver = f"{DRIVER}\ninner = {textwrap.dedent(inner)!r}\n{textwrap.dedent(script)}"
    arguments = [sys.executable, "-c", driver]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def probed() -> str | None:
    """Why this host gives no namespace, None where it does."""
    reason: str | None = json.loads(drive("print(json.dumps(namespaces.probe()))"))
    return reason


@pytest.fixture(autouse=True)
def _namespaces(probed: str | None, require: Callable[[str, bool, str], None]) -> None:
    require("namespaces", probed is None, str(probed))


def test_the_command_is_the_first_child_of_the_first_process_and_sees_only_its_own() -> None:
    out = drive(
        """
        run('import os; print(os.getpid(), os.getppid(), *sorted(int(n) for n in os.listdir("/proc") if n.isdigit()))')
        """
    )
    assert out.split() == ["2", "1", "1", "2"]


def test_loopback_is_up_and_the_network_is_private() -> None:
    out = drive(
        """
        print(os.readlink("/proc/self/ns/net"), flush=True)
        run(inner)
        """,
        """
        import os, socket
        server = socket.create_server(("127.0.0.1", 0))
        socket.create_connection(server.getsockname()).close()
        print(os.readlink("/proc/self/ns/net"), [name for _, name in socket.if_nameindex()])
        """,
    )
    outside, inside = out.splitlines()
    assert inside.endswith("['lo']")
    assert outside not in inside


def test_ids_inside_are_those_outside_for_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("root: this test is about root's map")
    ranges = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    out = drive("""run('print(open("/proc/self/uid_map").read())')""")
    assert [line.split() for line in out.splitlines() if line] == [[first, first, n] for first, _, n in ranges]


def test_a_plain_user_gets_one_id_and_the_same_walls() -> None:
    if os.geteuid() != 0:
        pytest.skip("root: only root can become another user; the other tests have shown it for this one")
    out = drive(
        f"""
        import ctypes
        os.setgroups([])
        os.setgid({NOBODY})
        os.setuid({NOBODY})
        ctypes.CDLL(None).prctl({PR_SET_DUMPABLE}, 1, 0, 0, 0)  # as any process is that a plain user started
        os.chdir("/")
        command = Command(["/bin/sh", "-c", "id -u; cat /proc/self/uid_map; echo $$"], os.environ)
        os.waitpid(namespaces.start_private(command), 0)
        """
    )
    assert out.split() == ["0", "0", str(NOBODY), "1", "2"]


def test_the_exit_status_is_the_commands() -> None:
    assert drive("print(run('raise SystemExit(105)'))").split() == ["105"]


def test_a_command_that_a_signal_ended_is_reported_as_shells_do() -> None:
    assert drive("print(run('import os; os.kill(os.getpid(), 9)'))").split() == ["137"]
    assert exit_status(signal.SIGTERM) == 128 + signal.SIGTERM


def test_orphans_inside_are_reaped_and_end_with_the_command() -> None:
    out = drive(
        "print(run(inner))",
        """
        import os, time
        if os.fork() == 0:
            if os.fork() == 0:
                time.sleep(600)
            os._exit(0)
        os.wait()
        """,
    )
    assert out.split() == ["0"]


def test_the_peer_of_a_kept_descriptor_reads_eof_when_the_command_is_gone() -> None:
    out = drive(
        """
        import socket
        ours, theirs = socket.socketpair()
        pid = namespaces.start_private(Command(
            [sys.executable, "-c", f"import socket; socket.socket(fileno={theirs.fileno()}).send(b'here')"],
            os.environ, [theirs.fileno()]))
        theirs.close()
        print(ours.recv(10), ours.recv(10))
        os.waitpid(pid, 0)
        """
    )
    assert out.strip() == "b'here' b''"


def test_a_signal_to_the_first_process_is_passed_on() -> None:
    out = drive(
        "run(inner)",
        """
        import os, signal
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        os.kill(1, signal.SIGTERM)
        print(signal.sigtimedwait([signal.SIGTERM], 30).si_pid)
        """,
    )
    assert out.split() == ["1"]


@pytest.mark.parametrize("start", ["start_private", "start_plain"])
def test_the_command_has_a_session_of_its_own(start: str) -> None:
    out = drive(
        f"""
        import socket
        ours, theirs = socket.socketpair()
        script = f"import socket; s = socket.socket(fileno={{theirs.fileno()}}); s.send(b'up'); s.recv(1)"
        pid = namespaces.{start}(Command([sys.executable, "-c", script], os.environ, [theirs.fileno()]))
        theirs.close()
        ours.recv(2)
        print(os.getsid(pid) == pid)
        ours.close()
        os.waitpid(pid, 0)
        """
    )
    assert out.split() == ["True"]


def test_a_refusal_is_an_error_with_the_step_and_leaves_nothing() -> None:
    script = """
    import errno
    from ftpstorm.lab import kernel
    def refuse(flags):
        raise OSError(errno.EPERM, "no")
    kernel.unshare = refuse
    print(namespaces.probe())
    try:
        os.waitpid(-1, 0)
    except ChildProcessError:
        print("nothing left")
    """
    reason, left = drive(script).splitlines()
    assert reason == "no private namespace here: unshare failed with EPERM (Operation not permitted)"
    assert left == "nothing left"


def test_a_refused_mount_is_told_from_a_refused_unshare() -> None:
    script = """
    import errno
    from ftpstorm.lab import kernel
    def refuse(*arguments):
        raise OSError(errno.EPERM, "no")
    kernel.mount = refuse
    print(namespaces.probe())
    """
    assert "mounting a private /proc failed with EPERM" in drive(script)


SLEEPER = """
import os, subprocess, sys, time
inner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print("up", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("victim", ["caller", "launcher", "first", "command"])
def test_kill_9_of_any_link_of_the_chain_ends_everything(victim: str) -> None:
    driver = DRIVER + f"run({SLEEPER!r})"
    with subprocess.Popen([sys.executable, "-c", driver], stdout=subprocess.PIPE, text=True) as caller:
        try:
            assert caller.stdout is not None
            assert caller.stdout.readline() == "up\n"
            chain = [caller.pid]
            while len(chain) < 4:  # caller, launcher, PID 1, command: each the first child of the one before
                chain.append(min(pid for pid in tree(chain[-1]) if _parent(pid) == chain[-1]))
            below = wait_for(lambda: below if len(below := tree(caller.pid)) == 4 else None, "four processes below")
            inside = network_namespace(chain[2])
            assert inside is not None
            os.kill(chain[["caller", "launcher", "first", "command"].index(victim)], signal.SIGKILL)
            wait_for(lambda: not members(inside), "an empty namespace")
            wait_for(lambda: not alive(below), f"all gone: {below}")
        finally:
            caller.kill()


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
