"""The bench's sink, its C client and our engine agree on what a workload is. Nothing here is timed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.books import complaints  # noqa: E402 - bench is a folder of the checkout, not an installed package
from bench.clients import OWN, Client  # noqa: E402
from bench.programs import build, compiler  # noqa: E402
from bench.workloads import Case  # noqa: E402

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
def sink() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run the sink on a loopback port that the kernel chooses."""
    server = subprocess.Popen([build("sink")], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield server, json.loads(server.stdout.readline())["port"]
    finally:
        server.kill()
        server.communicate()


def run(client: Client, case: Case) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the client and the sink said about one case."""
    with sink() as (server, port):
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
