"""What the records contradict is not said: a server that is down, a cap, a limit for an address."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ftpstorm.report.summary import Summary
from ftpstorm.units import NS_PER_MS, NS_PER_S
from ftpstorm.vocabulary import FailureClass as F
from ftpstorm.vocabulary import Phase
from support import results_folder
from support.results_folder import Fault, Story

Judge = Callable[[Story], Summary]
REMOTE = {"host": "ftp.example.org:21", "passive_ports": "10000-10099"}
FAR = Story(target=REMOTE, ports=100, rate=20, duration_s=20, hold_s=0, expect=None, thresholds={})
NEAR = replace(FAR, target=None)

LOST = Fault(F.CONTROL_CONNECT_TIMEOUT, Phase.CONTROL_CONNECT, errno=110, after_ns=10 * NS_PER_S)
REFUSED = Fault(F.CONTROL_CONNECT_REFUSED, Phase.CONTROL_CONNECT, errno=111)
CLOSED = Fault(F.GREETING_EOF, Phase.GREETING)


@pytest.fixture
def long_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each session last nearly a second: at 20/s about 20 are open all the time."""
    monkeypatch.setattr(results_folder, "LOGIN_NS", 980 * NS_PER_MS)


def ruled_out(summary: Summary) -> dict[str, list[str]]:
    return {out.cause: out.evidence for out in summary.diagnosis.ruled_out}


def causes(summary: Summary) -> set[str]:
    return {summary.diagnosis.cause, *(other.cause for other in summary.others)}


# --- the server is down -----------------------------------------------------------------------------------------------


def test_a_connect_lost_near_the_end_is_no_server_that_is_down(judge: Judge) -> None:
    """It fails when the load is over: that none was greeted after that says nothing."""
    summary = judge(replace(FAR, fault=lambda k, _: LOST if k == 300 else None))
    assert "server-down" not in causes(summary)
    (why,) = ruled_out(summary)["server-down"]
    assert why == "99 sessions were greeted that started after the first connect without an answer"


def test_a_server_that_falls_silent_is_down_from_the_first_connect_it_left_unanswered(judge: Judge) -> None:
    summary = judge(replace(FAR, fault=lambda k, at_s: LOST if at_s >= 15 else None))
    assert (summary.diagnosis.cause, summary.diagnosis.confidence) == ("server-down", "likely")
    assert "stopped answering 15.0 s into the run (100 x control-connect-timeout)" in summary.headline


def test_a_connect_lost_before_the_server_fell_silent_does_not_hide_that(judge: Judge) -> None:
    summary = judge(replace(FAR, fault=lambda k, at_s: LOST if at_s >= 15 or k == 290 else None))
    assert summary.diagnosis.cause == "server-down"
    assert "stopped answering 15.0 s into the run (100 x control-connect-timeout)" in summary.headline


# --- caps -------------------------------------------------------------------------------------------------------------


def test_one_connection_that_was_closed_without_a_word_shows_no_number(judge: Judge, long_sessions: None) -> None:
    summary = judge(replace(FAR, fault=lambda k, _: CLOSED if k == 200 else None))
    assert (summary.diagnosis.cause, summary.diagnosis.confidence) == ("server-connection-cap", "possible")
    assert "at one time" not in summary.headline


def test_a_number_beyond_which_many_were_greeted_is_no_cap(judge: Judge, long_sessions: None) -> None:
    summary = judge(replace(FAR, fault=lambda k, _: CLOSED if k % 40 == 39 else None))
    assert (summary.diagnosis.cause, summary.diagnosis.confidence) == ("server-connection-cap", "possible")
    assert "at one time" not in summary.headline


def test_refusals_beyond_which_many_were_greeted_show_no_limit_of_an_address(judge: Judge, long_sessions: None) -> None:
    summary = judge(replace(FAR, fault=lambda k, _: REFUSED if k % 40 == 39 else None))
    assert (summary.diagnosis.cause, summary.diagnosis.confidence) == ("per-address-limit", "possible")
    assert "were open" not in summary.headline


def beyond_ten(fault: Fault) -> Callable[[int, float], Fault | None]:
    """Of 20 sessions a second, each nearly a second long, ten are let in and ten are not: a cap of ten."""
    return lambda k, _: fault if k % 20 >= 10 else None


def test_a_cap_that_nobody_passed_keeps_its_number(judge: Judge, long_sessions: None) -> None:
    summary = judge(replace(FAR, fault=beyond_ten(CLOSED)))
    assert (summary.diagnosis.cause, summary.diagnosis.confidence) == ("server-connection-cap", "likely")
    assert "at about 10 sessions at one time" in summary.headline


def test_a_limit_of_an_address_that_nobody_passed_keeps_its_number(judge: Judge, long_sessions: None) -> None:
    summary = judge(replace(FAR, fault=beyond_ten(REFUSED)))
    assert (summary.diagnosis.cause, summary.diagnosis.confidence) == ("per-address-limit", "likely")
    assert "each time about 10 connections of the address were open" in summary.headline


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("530 Sorry, too many users.", "server-connection-cap"),
        ("530 Too many users from your host.", "per-address-limit"),
    ],
)
def test_who_was_greeted_and_turned_away_at_the_login_was_not_let_in(
    judge: Judge, long_sessions: None, text: str, cause: str
) -> None:
    busy = Fault(F.BUSY_AT_LOGIN, Phase.LOGIN, 530, text=text, after_ns=300 * NS_PER_MS)
    summary = judge(replace(FAR, fault=beyond_ten(busy)))
    assert summary.diagnosis.cause == cause
    said = " ".join(summary.diagnosis.evidence)
    assert "each time about 10 " in said or "each time about 9 " in said


# --- a restart --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("story", [FAR, NEAR], ids=["remote", "emulator"])
def test_a_restart_of_the_server_is_no_limit_of_an_address(judge: Judge, story: Story) -> None:
    summary = judge(replace(story, fault=lambda k, at_s: REFUSED if 8 <= at_s < 10 else None))
    assert causes(summary) == {"unknown"}
    (why,) = ruled_out(summary)["per-address-limit"]
    assert why == "no session was greeted that started between the first and the last refused connect"


def test_one_refused_connect_is_no_limit_of_an_address(judge: Judge) -> None:
    summary = judge(replace(FAR, fault=lambda k, _: REFUSED if k == 200 else None))
    assert causes(summary) == {"unknown"}
    assert ruled_out(summary)["per-address-limit"] == ["one refused connect alone shows no limit"]


def test_a_restart_under_long_sessions_is_no_limit_of_an_address(judge: Judge, long_sessions: None) -> None:
    summary = judge(replace(NEAR, fault=lambda k, at_s: REFUSED if 8 <= at_s < 10 else None))
    assert causes(summary) == {"unknown"}


def test_a_limit_of_an_address_that_a_crowd_reached_once_is_one(judge: Judge, long_sessions: None) -> None:
    """Ten were let in and their greetings came when all the others had been refused; nobody came after them."""
    crowd = replace(NEAR, rate=1000, duration_s=1, until_s=0.1, fault=lambda k, _: REFUSED if k >= 10 else None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results_folder, "GREETING_NS", NS_PER_S // 5)
        summary = judge(crowd)
    assert (summary.diagnosis.cause, summary.diagnosis.confidence) == ("per-address-limit", "likely")
