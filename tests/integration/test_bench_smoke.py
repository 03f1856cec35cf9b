"""The bench's sink, its C client and our engine agree on what a workload is. Nothing here is timed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.books import complaints  # noqa: E402 - bench is a folder of the checkout, not an installed package
from bench.clients import BARE_PYTHON, OWN, Client, takes_part  # noqa: E402
from bench.host import Quiet  # noqa: E402
from bench.programs import build, compiler  # noqa: E402
from bench.records import measure_records  # noqa: E402
from bench.run import check_tls, tls_sink  # noqa: E402
from bench.workloads import CASES as BENCH_CASES  # noqa: E402
from bench.workloads import GOALS, Case  # noqa: E402

WITHIN_S = 60
CASES = (
    Case("W1", "transfers on kept connections", "retr", 4, 40),
    Case("W2", "a session for each transfer", "full", 4, 20),
    Case("W3", "a burst", "burst", 30, 30),
    Case("W4", "an upload in several pieces", "stor", 1, 1, 3_000_000),
)
C_CLIENT, ENGINE = OWN


@pytest.fixture(autouse=True)
def _compiler(require: Any) -> None:
    require("cc", compiler() is not None, "no C compiler to build the bench's programs with")


@contextmanager
def sink(*, tls: bool = False) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run the sink on a loopback port that the kernel chooses."""
    command = tls_sink() if tls else [str(build("sink"))]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert server.stdout is not None
        yield server, json.loads(server.stdout.readline())["port"]
    finally:
        server.kill()
        server.communicate()


@cache
def run(client: Client, case: Case) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the client and the sink said about one case."""
    with sink(tls=case.tls) as (server, port):
        done = subprocess.run(
            [*client.command(case), str(port)], cwd=ROOT, capture_output=True, text=True, timeout=WITHIN_S, check=False
        )
        assert done.returncode == 0, done.stderr
        server.terminate()
        served, _ = server.communicate(timeout=WITHIN_S)
    return json.loads(done.stdout), json.loads(served)


@pytest.mark.parametrize("client", [C_CLIENT, ENGINE], ids=lambda client: client.name)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_books_of_client_and_sink_balance(client: Client, case: Case) -> None:
    answer, served = run(client, case)
    assert complaints(case.workload, case.operations, case.sessions, case.size, answer, served) == []


def test_the_floor_in_python_does_the_work_of_the_yardstick() -> None:
    cases = [case for case in CASES if takes_part(BARE_PYTHON, case)]
    assert {case.workload for case in cases} == {"retr", "full"}
    for case in cases:
        answer, served = run(BARE_PYTHON, case)
        assert complaints(case.workload, case.operations, case.sessions, case.size, answer, served) == []


def test_a_client_that_does_less_than_it_says_is_found_out() -> None:
    case = CASES[1]
    answer, served = run(C_CLIENT, case)
    assert complaints(case.workload, case.operations + 1, case.sessions, case.size, answer, served)
    lost = answer | {"bytes": answer["bytes"] - 1}
    assert complaints(case.workload, case.operations, case.sessions, case.size, lost, served) == [
        f"bytes the client counted: {case.payload - 1}, not {case.payload}"
    ]


def test_both_clients_make_the_server_do_the_same_work() -> None:
    for case in CASES:
        _, by_c = run(C_CLIENT, case)
        _, by_engine = run(ENGINE, case)
        for count in ("sessions", "transfers", "sent", "received"):
            assert by_c[count] == by_engine[count], f"{case.name}: {count}"


@pytest.mark.parametrize("workload", ["stor", "full"])
def test_the_books_of_ftps_balance_and_every_data_connection_resumes(require: Any, workload: str) -> None:
    require("openssl", shutil.which("openssl") is not None, "no openssl to make a certificate with")
    case = Case("W1-tls", "transfers over TLS", workload, 2, 6, 300_000, tls=True)
    answer, served = run(ENGINE, case)
    assert complaints(case.workload, case.operations, case.sessions, case.size, answer, served) == []
    assert answer["data_handshakes"] == answer["data_resumed"] == 6


def test_a_kept_run_is_a_results_folder_whose_report_can_be_made(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    answer, _ = run(replace(ENGINE, program=(*ENGINE.program, "--keep", str(folder))), CASES[0])
    measured = measure_records(folder, pictures=False)
    assert measured["operations"] == answer["operations"] == 48, "login, ten RETRs and quit of four sessions"
    assert measured["parquet_bytes"] > 0
    assert measured["report_s"] is not None
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["transfers"]["succeeded"] == 40
    assert [line["identity"] for line in summary["accounting"] if line["ok"] is False] == []


def test_the_bench_s_own_processes_are_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as child:
        try:
            busy = psutil.Process(child.pid)
            while sum(busy.cpu_times()[:2]) == 0:
                pass
            monkeypatch.setattr(psutil, "process_iter", lambda: iter([psutil.Process(), busy]))
            assert Quiet._read_used_s() == 0
            monkeypatch.setattr(psutil.Process, "children", lambda self, recursive: [])
            assert Quiet._read_used_s() > 0, "of a process that is not the bench's it would count"
        finally:
            child.kill()


def test_goals_and_the_sum_of_tls_name_cases_that_there_are() -> None:
    names = {case.name for case in BENCH_CASES}
    assert {goal.case for goal in GOALS} <= names
    figures = {name: {"ftpstorm": {"cpu_us_per_op": 30.0 if name.endswith("-tls") else 10.0}} for name in names}
    assert check_tls(figures)["ratio_to_plain"] == {name: 3.0 for name in names if name.endswith("-tls")}
    assert check_tls({})["says"] == "not in this run"
