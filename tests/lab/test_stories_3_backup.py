"""The story of the backup that runs dry: each scenario of it in a short form, with its own expectation met."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.story import Short, run_short

Require = Callable[[str, bool, str], None]


def asked(rate: int, duration: str) -> dict[str, str]:
    """Return settings for so many sessions a second from the start on. Less than one TIME_WAIT of 3 s: what there is
    of ports is all that is served."""
    return {"load.agents.stages": f"[{{duration: 0s, target: {rate}/s}}, {{duration: {duration}, target: {rate}/s}}]"}


def row(summary: dict[str, Any], quantity: str) -> dict[str, Any]:
    found: dict[str, Any] = next(row for row in summary["agreement"] if row["quantity"] == quantity)
    return found


def test_uploads_run_dry_after_as_many_as_the_client_has_ports(tmp_path: Path, require: Require) -> None:
    _, summary = run_short(Short("backup-uploads", None, asked(20, "2s")), tmp_path, require)
    # 31 ports: one for the control connection of the moment, which TIME_WAIT does not keep, so an upload may have it
    assert 28 <= summary["transfers"]["succeeded"] <= 31
    assert row(summary, "transfers succeeded")["verdict"] == "agrees"
    assert summary["ports"]["client"]["time_wait_peak"] >= 28


@pytest.mark.parametrize(
    "short",
    [
        Short("backup-uploads", "ports", asked(29, "3s")),
        Short("backup-uploads", "both", asked(8, "2s")),
    ],
    ids=str,
)
def test_uploads_with_the_settings_changed_end_as_they_say(short: Short, tmp_path: Path, require: Require) -> None:
    run_short(short, tmp_path, require)


def test_sixteen_times_the_ports_store_sixteen_times_the_files(tmp_path: Path, require: Require) -> None:
    _, summary = run_short(Short("backup-uploads", "ports", asked(40, "2s")), tmp_path, require)
    assert 470 <= summary["transfers"]["succeeded"] <= 481


def test_restores_run_dry_after_as_many_as_the_server_has_ports(tmp_path: Path, require: Require) -> None:
    short = Short("backup-restores", None, asked(9, "2s"), "inetutils-ftpd")
    _, summary = run_short(short, tmp_path, require)
    assert summary["transfers"]["succeeded"] == 30
    (failure,) = summary["failures"]
    assert failure["example"]["reply"] == "425 Can't open passive connection: Address already in use."


def test_restores_with_both_settings_changed_do_not_fail(tmp_path: Path, require: Require) -> None:
    run_short(Short("backup-restores", "both", asked(3, "2s"), "inetutils-ftpd"), tmp_path, require)


QUICK_LEAK = {"target.emulator.passive_ports": "20", "load.steady.duration": "3s"}


def test_a_leak_ends_all_transfers_for_good_and_is_told_from_time_wait(tmp_path: Path, require: Require) -> None:
    _, summary = run_short(Short("close-wait-leak", None, QUICK_LEAK), tmp_path, require)
    assert summary["transfers"]["succeeded"] == 200  # each tenth of them keeps one of the twenty ports
    assert summary["ports"]["server"]["close_wait_peak"] == 20
    assert [fix["host"] for fix in summary["diagnosis"]["fixes"]] == ["server"]


@pytest.mark.parametrize(
    "short",
    [
        Short("close-wait-leak", "shorter-time-wait", QUICK_LEAK),
        Short("close-wait-leak", "wider-range", {"load.steady.duration": "2s"}),
        Short("close-wait-leak", "closed", {"load.steady.duration": "2s"}),
    ],
    ids=str,
)
def test_no_setting_cures_a_leak_and_a_close_does(short: Short, tmp_path: Path, require: Require) -> None:
    run_short(short, tmp_path, require)
