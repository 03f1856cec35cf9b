"""How runs end that nobody lets finish: stopped, killed, deserted by their server. Nothing hangs, nothing is left."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ftpstorm.errors import ExitCode
from ftpstorm.records.reader import open_run
from support.short_run import RunningCommand, alive, members, network_namespace, scenario_of, wait_for, write_scenario

LONG = {"steady": scenario_of()["load"]["steady"] | {"duration": "300s", "graceful_stop": "5s"}}
THINKING = {
    "load": {"steady": LONG["steady"] | {"rate": "20/s"}},
    "flows": {"download": {"steps": ["login", {"think": "120s"}, "quit"]}},
}
TIMEOUTS = {"timeouts": {"connect": "1s", "greeting": "1s", "reply": "1s", "data": "1s"}}


def recorded(folder: Path) -> int:
    """Return the operations that can be read back from a results folder."""
    return len(open_run(folder).operations)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_request_drains_and_the_run_is_interrupted(tmp_path: Path, number: signal.Signals) -> None:
    with RunningCommand(tmp_path, "run", str(write_scenario(tmp_path, load=LONG)), "-q", "--no-plots") as run:
        folder = run.wait_for_load()
        below = run.descendants()
        run.request_stop(number)
        assert run.end() == ExitCode.INTERRUPTED, run.stderr
        summary, manifest = run.summary(), run.manifest()
        assert not alive(below)
    assert summary["status"] == manifest["status"] == "interrupted"
    assert summary["sessions"]["not_due"] > 0
    assert summary["sessions"]["interrupted"] == 0
    assert recorded(folder) > 0


def test_a_second_request_stops_at_once_and_the_records_are_whole(tmp_path: Path) -> None:
    with RunningCommand(tmp_path, "run", str(write_scenario(tmp_path, **THINKING)), "-q", "--no-plots") as run:
        folder = run.wait_for_load()  # logins: the sessions now think for two minutes
        below = run.descendants()
        run.request_stop(signal.SIGINT)
        run.request_stop(signal.SIGTERM)
        assert run.end() == ExitCode.INTERRUPTED, run.stderr
        summary = run.summary()
        assert not alive(below)
    assert summary["status"] == "interrupted"
    assert summary["sessions"]["interrupted"] > 0
    assert [line["identity"] for line in summary["accounting"] if line["ok"] is False] == []
    assert recorded(folder) > 0


def test_a_request_before_the_start_ends_the_run_with_nothing_sent(tmp_path: Path) -> None:
    arguments = ("run", str(write_scenario(tmp_path)), "--start-at", "2099-01-01T00:00:00Z")
    with RunningCommand(tmp_path, *arguments) as run:
        wait_for(lambda: "waiting for the start" in run.stdout, "the announcement")
        below = run.descendants()
        run.request_stop()
        assert run.end() == ExitCode.INTERRUPTED
        assert "nothing was sent" in run.stderr
        assert run.manifest()["status"] == "interrupted"
        assert not alive(below)


@pytest.mark.parametrize("victim", ["ftpstorm.conduct", "supervisor"])
def test_kill_9_from_above_leaves_nothing_alive_and_records_that_read_back(tmp_path: Path, victim: str) -> None:
    with RunningCommand(tmp_path, "run", str(write_scenario(tmp_path, load=LONG)), "-q", "--no-plots") as run:
        folder = run.wait_for_load()
        below = run.descendants()
        inside = network_namespace(run.find("ftpstorm.engine"))
        assert inside is not None
        private = inside != network_namespace(os.getpid())
        os.kill(run.process.pid if victim == "supervisor" else run.find(victim), signal.SIGKILL)
        code = run.end()
        wait_for(lambda: not alive(below), f"all gone of {below}")
        wait_for(lambda: not private or not members(inside), "an empty namespace")
        if victim != "supervisor":
            assert code == ExitCode.INTERNAL_ERROR
            assert f"ftpstorm report {folder}" in run.stderr
    assert recorded(folder) > 0
    with RunningCommand(tmp_path, "report", str(folder), "--no-plots") as report:
        assert report.end() == ExitCode.INVALID_RUN, report.stderr
        assert "cut" in report.stdout
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == "cut-short"
    assert (folder / "report.html").is_file()


@pytest.mark.parametrize(
    ("module", "role"),
    [("ftpstorm.engine", "worker-0"), ("ftpstorm.emulator", "emulator"), ("ftpstorm.sampler", "sampler")],
)
def test_kill_9_of_a_child_cuts_the_run_short_and_the_others_finish(tmp_path: Path, module: str, role: str) -> None:
    scenario = write_scenario(tmp_path, load=LONG, client=TIMEOUTS)
    with RunningCommand(tmp_path, "run", str(scenario), "-q", "--no-plots") as run:
        folder = run.wait_for_load()
        below = run.descendants()
        os.kill(run.find(module), signal.SIGKILL)
        assert run.end() == ExitCode.INVALID_RUN, run.stderr
        manifest, summary = run.manifest(), run.summary()
        assert not alive(below)
    assert manifest["status"] == summary["status"] == "cut-short"
    assert role in manifest["stop_reason"]
    by_role = {process["role"]: process for process in manifest["processes"]}
    assert "SIGKILL" in by_role[role]["error"]
    assert all(process["counts"] is not None for name, process in by_role.items() if name != role)
    assert recorded(folder) > 0


def test_one_dead_worker_of_two_does_not_take_the_other_with_it(tmp_path: Path) -> None:
    with RunningCommand(
        tmp_path, "run", str(write_scenario(tmp_path, load=LONG)), "-q", "--no-plots", "--workers", "2"
    ) as run:
        run.wait_for_load()
        victim = next(pid for pid, line in run.descendants().items() if "-m ftpstorm.engine" in line)
        os.kill(victim, signal.SIGKILL)
        assert run.end() == ExitCode.INVALID_RUN, run.stderr
        manifest = run.manifest()
    workers = [process for process in manifest["processes"] if process["role"].startswith("worker")]
    assert sorted(process["counts"] is None for process in workers) == [False, True]


# --- servers that misbehave -----------------------------------------------------------------------------------------


@contextmanager
def server(serve: Callable[[socket.socket], None] | None) -> Iterator[tuple[int, Callable[[], None]]]:
    """Listen on loopback; each connection is given to `serve`. Yields the port and what makes the server die."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    connections: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connections.append(connection)
            if serve is not None:
                threading.Thread(target=_quietly, args=(serve, connection), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()

    def die() -> None:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for connection in connections:
            if connection.fileno() >= 0:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()

    dead = False

    def die_once() -> None:
        nonlocal dead
        if not dead:
            dead = True
            die()

    try:
        yield listener.getsockname()[1], die_once
    finally:
        die_once()


def _quietly(serve: Callable[[socket.socket], None], connection: socket.socket) -> None:
    try:
        serve(connection)
    except OSError:
        return


def answer_everything(connection: socket.socket) -> None:
    """An FTP server without data connections."""
    connection.sendall(b"220 ready\r\n")
    replies = {b"USER": b"331 password", b"PASS": b"230 in", b"QUIT": b"221 bye"}
    buffer = b""
    while data := connection.recv(4096):
        *lines, buffer = (buffer + data).split(b"\r\n")
        for line in lines:
            verb = line[:4].upper()
            connection.sendall(replies.get(verb, b"200 fine") + b"\r\n")
            if verb == b"QUIT":
                connection.close()
                return


def against(port: int, **sections: object) -> dict[str, Any]:
    load = {"steady": scenario_of()["load"]["steady"] | {"duration": "1s", "graceful_stop": "5s"}}
    return {
        "target": {"host": "127.0.0.1", "port": port},
        "flows": {"download": {"steps": ["login", "noop", "quit"]}},
        "client": TIMEOUTS,
        "load": load,
        "files": {},
    } | sections


def failures(summary: dict[str, Any]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for failure in summary["failures"]:
        counts[failure["class"]] = counts.get(failure["class"], 0) + failure["count"]
    return counts


def test_a_server_that_refuses_is_data_and_the_run_goes_to_its_end(tmp_path: Path) -> None:
    with server(None) as (port, die):
        die()
        with RunningCommand(tmp_path, "run", str(write_scenario(tmp_path, **against(port))), "-q", "--no-plots") as run:
            assert run.end() == ExitCode.PASS, run.stderr
            summary = run.summary()
    assert summary["status"] == "completed"
    assert failures(summary) == {"control-connect-refused": 50}


def test_a_server_that_refuses_ends_a_run_whose_stop_rule_says_so(tmp_path: Path) -> None:
    with server(None) as (port, die):
        die()
        scenario = write_scenario(tmp_path, **against(port, load=LONG, stop={"unreachable_sessions": 20}))
        with RunningCommand(tmp_path, "run", str(scenario), "-q", "--no-plots") as run:
            run.end()
            summary = run.summary()
    assert summary["status"] == "stopped-early"
    assert "got no greeting" in summary["stop_reason"]


def test_a_server_that_never_greets_costs_each_session_its_timeout_and_no_more(tmp_path: Path) -> None:
    with (
        server(None) as (port, _),
        RunningCommand(tmp_path, "run", str(write_scenario(tmp_path, **against(port))), "-q", "--no-plots") as run,
    ):
        assert run.end() == ExitCode.PASS, run.stderr
        summary = run.summary()
    assert failures(summary) == {"greeting-silent": 50}


def test_a_generator_out_of_files_is_named_and_makes_the_run_invalid(tmp_path: Path) -> None:
    """Sessions think, so that they pile up; preflight warned of it, and EMFILE ends nothing but them."""
    steady = scenario_of()["load"]["steady"] | {"rate": "200/s", "duration": "500ms"}
    flows = {"download": {"steps": ["login", {"think": "600ms"}, "quit"]}}
    with server(answer_everything) as (port, _):
        scenario = write_scenario(tmp_path, **against(port, load={"steady": steady}, flows=flows))
        with RunningCommand(tmp_path, "run", str(scenario), "-q", "--no-plots") as run:
            resource.prlimit(run.process.pid, resource.RLIMIT_NOFILE, (80, 80))
            assert run.end() == ExitCode.INVALID_RUN, run.stderr
            summary, manifest = run.summary(), run.manifest()
    (failed,) = failures(summary).items()
    assert failed[0] == "local-files-exhausted"
    assert failed[1] + summary["sessions"]["succeeded"] == 100
    assert summary["diagnosis"]["cause"] == "client-files"
    assert any("open files" in warning for warning in summary["warnings"])
    worker = next(process["counts"] for process in manifest["processes"] if process["role"] == "worker-0")
    assert (worker["open_files_left"], worker["sessions_left"]) == (0, 0)


def test_a_server_that_dies_in_the_middle_leaves_a_run_that_ends(tmp_path: Path) -> None:
    with server(answer_everything) as (port, die):
        scenario = write_scenario(tmp_path, **against(port, load=LONG, stop={"unreachable_sessions": 20}))
        with RunningCommand(tmp_path, "run", str(scenario), "-q", "--no-plots") as run:
            run.wait_for_load()
            die()
            run.end()
            summary = run.summary()
    assert summary["status"] == "stopped-early"
    assert summary["sessions"]["succeeded"] > 0
    assert failures(summary)["control-connect-refused"] > 0


def test_max_duration_bounds_a_run_that_would_go_on(tmp_path: Path) -> None:
    scenario = write_scenario(tmp_path, load=LONG, stop={"max_duration": "1s"})
    with RunningCommand(tmp_path, "run", str(scenario), "-q", "--no-plots") as run:
        run.end()
        summary = run.summary()
    assert summary["status"] == "stopped-early"
    assert "max_duration" in summary["stop_reason"]


# --- secrets --------------------------------------------------------------------------------------------------------


def echo_the_password(connection: socket.socket) -> None:
    """A server that says the password in its refusal, as some do."""
    connection.sendall(b"220 ready\r\n")
    buffer = b""
    while data := connection.recv(4096):
        *lines, buffer = (buffer + data).split(b"\r\n")
        for line in lines:
            if line.startswith(b"PASS"):
                connection.sendall(b"530 no entry with " + line[5:] + b"\r\n")
            else:
                connection.sendall(b"331 password\r\n" if line.startswith(b"USER") else b"221 bye\r\n")


@pytest.mark.parametrize("source", ["password_env", "password_file"])
def test_the_password_is_in_no_file_of_the_run_and_in_no_output(tmp_path: Path, source: str) -> None:
    secret = "hunter2-correct-horse"
    (tmp_path / "secret").write_text(secret + "\n")
    value = "SECRET_OF_THIS_TEST" if source == "password_env" else str(tmp_path / "secret")
    with server(echo_the_password) as (port, _):
        target = {"host": "127.0.0.1", "port": port, "user": "me", source: value}
        scenario = write_scenario(tmp_path, **against(port, target=target))
        environment = {"SECRET_OF_THIS_TEST": secret}
        with RunningCommand(tmp_path, "run", str(scenario), environment=environment) as run:
            assert run.end() == ExitCode.PASS, run.stderr
            folder, output = run.results(), run.stdout + run.stderr
            assert failures(run.summary()) == {"auth-failed": 50}
    assert secret not in output
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 5
    assert [path.name for path in files if secret.encode() in path.read_bytes()] == []
