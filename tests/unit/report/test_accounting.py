"""The books balance, are not checkable with a reason, or make the run invalid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ftpstorm.errors import ExitCode
from ftpstorm.report.summary import Identity, Summary, exit_code
from ftpstorm.vocabulary import FailureClass, Phase, Verdict
from support.results_folder import Fault, Story

Judge = Callable[[Story], Summary]


def book(summary: Summary, words: str) -> Identity:
    (found,) = (identity for identity in summary.accounting if words in identity.identity)
    return found


def test_every_identity_of_a_sound_run_is_checked_and_holds(judge: Judge) -> None:
    summary = judge(Story(duration_s=2))
    assert [identity.ok for identity in summary.accounting] == [True] * len(summary.accounting)
    assert len(summary.accounting) == 12


@pytest.mark.parametrize("count", ["started", "succeeded", "failed", "dropped", "operations", "connects", "not_due"])
def test_a_worker_that_counted_otherwise_makes_the_run_invalid(judge: Judge, count: str) -> None:
    summary = judge(Story(duration_s=2, counts_off={count: 1}))
    assert summary.verdict is Verdict.INVALID
    assert exit_code(summary) is ExitCode.INVALID_RUN
    assert any("books do not balance" in reason for reason in summary.verdict_reasons)


def test_kernel_opens_are_compared_only_in_a_namespace_of_the_runs_own(judge: Judge) -> None:
    off = {"Tcp.ActiveOpens": 5}
    private = judge(Story(duration_s=2, counters=off))
    shared = judge(Story(duration_s=2, counters=off, private=False))
    assert book(private, "ActiveOpens").ok is False
    assert private.verdict is Verdict.INVALID
    assert book(shared, "ActiveOpens").ok is None
    assert "shared" in (book(shared, "ActiveOpens").reason or "")
    assert shared.verdict is Verdict.PASS


def test_counters_that_were_first_read_after_the_first_connects_are_compared_with_nothing(judge: Judge) -> None:
    off = {"Tcp.ActiveOpens": 5}
    for late in (
        Story(duration_s=2, counters=off, sampled_from_ms=60),
        Story(duration_s=2, counters=off, counters_read_ms=60),
    ):
        line = book(judge(late), "ActiveOpens")
        assert line.ok is None
        assert "first read the counters 60 ms after" in (line.reason or "")
    early = judge(Story(duration_s=2, counters=off, counters_read_ms=-1))
    assert book(early, "ActiveOpens").ok is False


def test_a_cut_short_run_has_no_checkable_counts(judge: Judge) -> None:
    summary = judge(Story(duration_s=4, until_s=2.5, status=None))
    assert {identity.ok for identity in summary.accounting} == {None}
    assert all(identity.reason for identity in summary.accounting)


def test_a_transfer_that_was_given_up_halfway_may_count_on_the_servers_side(judge: Judge) -> None:
    lost = Fault(FailureClass.FINAL_REPLY_TIMEOUT, Phase.FINAL_REPLY)
    story = Story(duration_s=1, ports=200, fault=lambda k, _: lost if k == 5 else None, expect=None)
    assert book(judge(story), "transfers completed").ok is True, "the server did not complete it"
    completed = book(judge(replace(story, server_off={"transfers_completed": 1})), "transfers completed")
    assert completed.ok is None
    assert "given up halfway" in (completed.reason or "")
    assert book(judge(replace(story, server_off={"transfers_completed": 2})), "transfers completed").ok is False


@pytest.mark.parametrize("off", [{"passive_refused": 1}, {"transfers_completed": -1}])
def test_a_server_that_counted_otherwise_makes_the_run_invalid(judge: Judge, off: dict[str, int]) -> None:
    assert judge(Story(duration_s=2, server_off=off)).verdict is Verdict.INVALID


def test_of_a_server_that_is_not_ours_nothing_is_claimed(judge: Judge) -> None:
    summary = judge(Story(duration_s=1, target={"host": "127.0.0.1"}, expect=None))
    assert book(summary, "passive requests refused").ok is None
    assert "not ours" in (book(summary, "transfers completed").reason or "")


def test_sessions_not_yet_due_when_the_run_was_stopped_balance(judge: Judge) -> None:
    summary = judge(Story(duration_s=4, until_s=2.0, status="interrupted"))
    assert summary.sessions.not_due == 194
    assert book(summary, "planned").ok is True
    assert exit_code(summary) is ExitCode.INTERRUPTED
