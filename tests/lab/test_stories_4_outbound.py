"""The story of MaxUserPort, and when it does not matter: each scenario in a short form, its expectation met."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.story import Short, run_short

Require = Callable[[str, bool, str], None]

SHORT = {"load.steady.duration": "3s"}


def test_five_hundred_inbound_sessions_need_no_ephemeral_port(tmp_path: Path, require: Require) -> None:
    _, summary = run_short(Short("inbound-tiny-range"), tmp_path, require)
    assert summary["transfers"]["succeeded"] == 500


def test_passive_ports_of_the_kernels_choice_do_need_one_each(tmp_path: Path, require: Require) -> None:
    short = Short("inbound-tiny-range", "kernel-ports", {}, "inetutils-ftpd")
    _, summary = run_short(short, tmp_path, require)
    assert summary["transfers"]["succeeded"] == 10


def test_so_do_connections_that_the_server_makes_in_active_mode(tmp_path: Path, require: Require) -> None:
    """One session at a time: an active session of pyftpdlib's that ends unregisters the number that its data socket had
    (`_dtp_connector` is kept), and would take its events from another session that has the descriptor by then."""
    load = "{burst: {executor: shared-iterations, sessions: 1, iterations: 500, max_duration: 60s, flow: download}}"
    _, summary = run_short(Short("inbound-tiny-range", "active", {"load": load}, "pyftpdlib"), tmp_path, require)
    assert summary["transfers"]["succeeded"] == 10
    assert {failure["class"]: failure["count"] for failure in summary["failures"]} == {"data-not-established": 490}


def test_a_front_end_serves_as_many_requests_as_it_has_ports_for_its_back_end(tmp_path: Path, require: Require) -> None:
    once = {"load.steady.duration": "1500ms"}  # within one TIME_WAIT of 2 s
    run, summary = run_short(Short("frontend-backend", None, once), tmp_path, require)
    assert summary["transfers"]["succeeded"] == 60
    emulator = next(process for process in run.manifest()["processes"] if process["role"] == "emulator")
    assert emulator["counts"]["backend_connects"] == 60
    assert summary["failures"][0]["control_survived"] == summary["failures"][0]["count"]


@pytest.mark.parametrize(
    "short",
    [
        Short("frontend-backend", "pooled", SHORT),
        Short("frontend-backend", "wider-range", SHORT),
        Short("frontend-backend", "hanging", {"load.steady.duration": "7s"}),
        Short("active-port-reused", None, SHORT, "vsftpd"),
        Short("active-port-reused", "more-ports", SHORT, "vsftpd"),
        Short("active-port-reused", "timestamps", SHORT, "vsftpd"),
        Short("active-port-reused", "passive", SHORT, "vsftpd"),
    ],
    ids=str,
)
def test_a_scenario_of_outbound_ports_ends_as_it_says(short: Short, tmp_path: Path, require: Require) -> None:
    run_short(short, tmp_path, require)


def test_in_active_mode_four_ports_serve_four_transfers_for_each_time_wait(tmp_path: Path, require: Require) -> None:
    once = {"load.steady.duration": "1500ms"}
    _, summary = run_short(Short("active-port-reused", None, once, "vsftpd"), tmp_path, require)
    assert summary["transfers"]["succeeded"] == 4
    assert summary["failures"][0]["example"]["reply"] == "425 Failed to establish connection."
