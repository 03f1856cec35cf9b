"""The story of the 425: each scenario of it in a short form, with its own expectation met."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ftpstorm.records.reader import open_run
from ftpstorm.vocabulary import FailureClass, Operation
from support.story import Short, run_short

Require = Callable[[str, bool, str], None]

QUICK_HOLD = {"target.emulator.hold.for": "2s"}
QUICK_PATIENCE = QUICK_HOLD | {
    "flows.upload.on_failure": "{retry: {on: [425], times: 30, wait: 500ms}}",
}
BUSY = {"load.steady.rate": "60/s", "load.steady.duration": "4s"}
BUSY_FORKS = {"load.steady.rate": "30/s", "load.steady.duration": "5s"}
A_HUNDRED = {"load.steady.rate": "20/s", "load.steady.duration": "5s", "thresholds.transfers": '["count<=300"]'}
FITTING = {"load.steady.duration": "3s", "thresholds.transfers": '["count==165"]'}


@pytest.mark.parametrize(
    "short",
    [
        Short("fifty-uploads"),
        Short("fifty-uploads", "retries", QUICK_PATIENCE),
        Short("fifty-uploads", "wide"),
        Short("fifty-uploads", "short-hold"),
        Short("fifty-uploads", "reuse"),
        Short("every-transfer", None, BUSY),
        Short("every-transfer", "after", {"load.steady.duration": "3s"}),
        Short("every-transfer", "downloads", BUSY),
        Short("one-or-many"),
        Short("one-or-many", "held-one"),
        Short("one-or-many", "busy-many"),
        Short("one-or-many", "busy-one"),
        Short("one-or-many", "own-many"),
        Short("one-or-many", "own-one"),
        Short("kernel-chosen-ports", None, BUSY_FORKS, "inetutils-ftpd"),
        Short("kernel-chosen-ports", "uploads", {"load.steady.duration": "3s"}, "inetutils-ftpd"),
        Short("kernel-chosen-ports", "reuseaddr", {"load.steady.duration": "3s"}, "vsftpd"),
        Short("ports-and-minutes", None, A_HUNDRED, "inetutils-ftpd"),
        Short("ports-and-minutes", "more-ports", FITTING, "inetutils-ftpd"),
        Short("twenty-real-ports", None, {}, "vsftpd"),
        Short("twenty-real-ports", "wide", {}, "vsftpd"),
        Short("twenty-real-ports", "proftpd", {}, "proftpd"),
        Short("twenty-real-ports", "pyftpdlib", {}, "pyftpdlib"),
        Short("twenty-real-ports", "pure-ftpd", {}, "pure-ftpd"),
        Short("blocked-data-ports", None, {}, "vsftpd"),
        Short("blocked-data-ports", "no-helper", {}, "vsftpd"),
        Short("blocked-data-ports", "reject", {}, "vsftpd"),
        Short("blocked-data-ports", "tls", {}, "vsftpd"),
        Short("blocked-data-ports", "tls-declared", {}, "vsftpd"),
    ],
    ids=str,
)
def test_a_scenario_of_the_425_ends_as_it_says(short: Short, tmp_path: Path, require: Require) -> None:
    run_short(short, tmp_path, require)


def test_of_fifty_files_twenty_are_stored_and_the_thirty_refused_keep_their_control_connection(
    tmp_path: Path, require: Require
) -> None:
    _, summary = run_short(Short("fifty-uploads"), tmp_path, require)
    (failure,) = summary["failures"]
    assert (summary["transfers"]["succeeded"], failure["count"], failure["control_survived"]) == (20, 30, 30)
    assert failure["example"]["reply"] == "425 Try later, data connection in use."


def test_every_kind_of_transfer_is_refused_alike(tmp_path: Path, require: Require) -> None:
    run, _ = run_short(Short("every-transfer", None, BUSY), tmp_path, require)
    operations = open_run(run.results()).operations.data
    refused = operations[operations["class"] == FailureClass.PASSIVE_EXHAUSTED]["operation"]
    for kind in (Operation.STOR, Operation.RETR, Operation.LIST):
        # a third of 240 each; whoever wins, no kind gets more than the 40 ports that come free in 4 s
        assert (refused == kind).sum() >= 40


def test_the_session_that_is_told_to_try_later_keeps_its_control_connection(tmp_path: Path, require: Require) -> None:
    """Between its tries it thinks, which says nothing about control; the next answer does."""
    _, summary = run_short(Short("one-or-many", "own-one"), tmp_path, require)
    (failure,) = summary["failures"]
    assert (failure["class"], failure["code"]) == ("data-not-established", 425)
    assert failure["control_survived"] == failure["count"] >= 20
