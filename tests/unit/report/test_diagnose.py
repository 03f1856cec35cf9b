"""Each story is named by its cause, with evidence, and with confidence that its witnesses bear."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ftpstorm.report.finding import Finding, Sign
from ftpstorm.report.summary import Summary
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import FailureClass as F
from ftpstorm.vocabulary import Phase
from support.results_folder import Fault, Story

Judge = Callable[[Story], Summary]
REMOTE = {"host": "127.0.0.1", "port": 2121, "passive_ports": "10000-10019"}
WIDE = Story(duration_s=3, ports=1000, expect=None)


def always(fault: Fault) -> Callable[[int, float], Fault]:
    return lambda k, at_s: fault


def from_second(second: float, fault: Fault) -> Callable[[int, float], Fault | None]:
    return lambda k, at_s: fault if at_s >= second else None


def test_the_demo_is_a_passive_pool_with_the_server_as_witness(judge: Judge) -> None:
    diagnosis = judge(Story(duration_s=8)).diagnosis
    assert (diagnosis.cause, diagnosis.confidence) == ("server-passive-pool", "certain")
    assert diagnosis.first_at_s == pytest.approx(0.207, abs=0.001)
    assert any("425 Try later" in line for line in diagnosis.evidence)
    assert "425 began 0.01 s after the 20th port was given out, at 0.20 s" in diagnosis.evidence
    assert any("law N/(H + C)" in line for line in diagnosis.evidence)
    assert "passive_ports=195" in diagnosis.fixes[0].command
    assert {out.cause for out in diagnosis.ruled_out} >= {"client-ephemeral-ports", "generator"}


def test_the_headline_says_what_when_and_what_lifts_it(judge: Judge) -> None:
    assert judge(Story(duration_s=8)).headline == (
        "The server's 20 passive ports ran out 0.21 s into the run: each held 2 s after use, they carry 10/s, and 97/s "
        "were asked for; 195 ports or more, or a shorter hold, would lift it."
    )


def test_a_pool_that_nobody_published_is_likely_not_certain(judge: Judge) -> None:
    diagnosis = judge(Story(duration_s=8, target=REMOTE, expect=None)).diagnosis
    assert (diagnosis.cause, diagnosis.confidence) == ("server-passive-pool", "likely")
    assert diagnosis.would_settle


def test_nothing_failed_is_none(judge: Judge) -> None:
    summary = judge(WIDE)
    assert (summary.diagnosis.cause, summary.diagnosis.confidence) == ("none", "certain")
    assert summary.headline.startswith("Nothing ran out: all 291 transfers succeeded")


def test_dropped_sessions_are_told_in_the_headline(judge: Judge) -> None:
    summary = judge(replace(WIDE, dropped=frozenset(range(10, 20))))
    assert summary.diagnosis.cause == "none"
    assert summary.diagnosis.confidence == "likely"
    assert "10 planned sessions never started" in summary.headline


def test_a_server_that_stops_answering_is_down(judge: Judge) -> None:
    refused = Fault(F.CONTROL_CONNECT_REFUSED, Phase.CONTROL_CONNECT, errno=111)
    summary = judge(replace(WIDE, fault=from_second(1.0, refused)))
    assert (summary.diagnosis.cause, summary.diagnosis.confidence) == ("server-down", "likely")
    assert "stopped answering 1.00 s into the run" in summary.headline


def test_refusals_between_successes_are_not_a_server_that_is_down(judge: Judge) -> None:
    refused = Fault(F.CONTROL_CONNECT_REFUSED, Phase.CONTROL_CONNECT, errno=111)
    summary = judge(replace(WIDE, fault=lambda k, at_s: refused if k % 3 == 0 else None))
    assert summary.diagnosis.cause == "per-address-limit"
    ruled_out = {out.cause: out.evidence for out in summary.diagnosis.ruled_out}
    assert "server-down" in ruled_out
    assert "Linux" in ruled_out["backlog-syn-refused"][0]


def test_a_server_that_never_greets_and_whose_backlog_is_fine_is_down(judge: Judge) -> None:
    silent = Fault(F.GREETING_SILENT, Phase.GREETING, after_ns=5 * NS_PER_S)
    assert judge(replace(WIDE, fault=always(silent))).diagnosis.cause == "server-down"


def test_silence_with_an_overflowed_accept_queue_is_a_ghost(judge: Judge) -> None:
    silent = Fault(F.GREETING_SILENT, Phase.GREETING, after_ns=5 * NS_PER_S)
    story = replace(
        WIDE,
        fault=lambda k, at_s: silent if k > 100 else None,
        counters={"TcpExt.ListenOverflows": 190, "TcpExt.SyncookiesSent": 400},
    )
    diagnosis = judge(story).diagnosis
    assert (diagnosis.cause, diagnosis.confidence) == ("backlog-ghost", "certain")
    assert "ListenOverflows +190" in diagnosis.evidence[1]


def test_sessions_turned_away_with_421_are_a_connection_cap(judge: Judge) -> None:
    busy = Fault(F.BUSY_AT_GREETING, Phase.GREETING, 421, text="421 Too many connections")
    diagnosis = judge(replace(WIDE, fault=lambda k, _: busy if k % 2 else None)).diagnosis
    assert diagnosis.cause == "server-connection-cap"
    assert "421 Too many connections" in diagnosis.evidence[0]


def test_a_local_error_that_names_no_address_is_a_server_without_ports_of_its_own(judge: Judge) -> None:
    text = "451 Local error, no connection to the back end: Cannot assign requested address."
    refused = Fault(F.TRANSFER_ABORTED, Phase.FINAL_REPLY, 451, text=text)
    summary = judge(replace(WIDE, fault=lambda k, _: refused if k % 2 else None))
    assert summary.diagnosis.cause == "server-ephemeral-ports"
    assert "Cannot assign requested address" in summary.diagnosis.evidence[0]
    assert {fix.host for fix in summary.diagnosis.fixes} == {"server"}


def test_another_local_error_is_not_taken_for_a_lack_of_ports(judge: Judge) -> None:
    refused = Fault(F.TRANSFER_ABORTED, Phase.FINAL_REPLY, 451, text="451 Local error: no space left on device.")
    assert judge(replace(WIDE, fault=lambda k, _: refused if k % 2 else None)).diagnosis.cause == "unknown"


def test_refused_logins_are_named_with_the_user_but_no_password(judge: Judge) -> None:
    refused = Fault(F.AUTH_FAILED, Phase.LOGIN, 530, text="530 Login incorrect.")
    summary = judge(replace(WIDE, fault=always(refused)))
    assert (summary.diagnosis.cause, summary.diagnosis.confidence) == ("login-refused", "likely")
    assert "530 Login incorrect." in summary.headline


@pytest.mark.parametrize(
    ("source", "variant", "command"),
    [
        ("try-later-425", None, "ftpstorm run try-later-425 --set "),
        ("./my crowd.yaml", None, "ftpstorm run './my crowd.yaml' --set "),
        ("crowd.yaml", "busy", "ftpstorm run crowd.yaml --variant busy --set "),
        (None, "busy", "ftpstorm run results/run-0/scenario.yaml --set "),
    ],
)
def test_what_lifts_it_can_be_run_as_it_is_printed(
    judge: Judge, source: str | None, variant: str | None, command: str
) -> None:
    fixes = judge(Story(source=source, variant=variant)).diagnosis.fixes
    assert len(fixes) == 2
    assert all(fix.command.startswith(command) for fix in fixes), fixes


AFTERWARDS = Fault(F.AUTH_FAILED, Phase.PASSIVE, 530, text="530 Log in with USER and PASS first.", survived=True)


def test_what_fails_after_a_refused_login_is_told_as_its_consequence(judge: Judge) -> None:
    closed = Fault(F.CONTROL_LOST, Phase.PASSIVE, survived=False)
    refused = Fault(
        F.AUTH_FAILED, Phase.LOGIN, 530, text="530 Authentication failed.", survived=True,
        then=(AFTERWARDS, AFTERWARDS, closed),
    )  # fmt: skip
    summary = judge(replace(WIDE, fault=lambda k, _: refused if k >= 100 else None))
    sessions = summary.sessions.failed
    assert summary.diagnosis.cause == "login-refused"
    assert '("530 Authentication failed.")' in summary.headline
    signs = summary.diagnosis.evidence
    assert signs[0] == f'{sessions:,} sessions were refused the login: "530 Authentication failed."'
    assert f"{3 * sessions:,} failures followed in their later steps" in " ".join(signs)
    assert summary.diagnosis.failures == sessions
    assert not summary.others
    rows = [(failure.phase, failure.count, failure.consequences) for failure in summary.failures]
    assert rows == [("login", sessions, 0), ("passive", 2 * sessions, 2 * sessions), ("passive", sessions, sessions)]


def test_what_follows_a_login_that_was_busy_is_no_refused_account(judge: Judge) -> None:
    busy = Fault(
        F.BUSY_AT_LOGIN, Phase.LOGIN, 530, text="530 Sorry, too many users.", survived=True,
        then=(AFTERWARDS, AFTERWARDS),
    )  # fmt: skip
    summary = judge(replace(WIDE, fault=lambda k, _: busy if k % 2 else None))
    assert (summary.diagnosis.cause, summary.others) == ("server-connection-cap", [])


def test_a_server_that_wants_a_login_first_is_told_by_what_it_refused(judge: Judge) -> None:
    summary = judge(replace(WIDE, fault=always(AFTERWARDS)))
    assert summary.diagnosis.cause == "login-refused"
    assert "refused for want of a login: " in summary.diagnosis.evidence[0]
    assert all(failure.consequences == 0 for failure in summary.failures)


def test_the_generators_own_ports_are_named_with_a_witness_only_if_they_were_full(judge: Judge) -> None:
    out = Fault(F.LOCAL_PORTS_EXHAUSTED, Phase.CONTROL_CONNECT, errno=99)
    diagnosis = judge(replace(WIDE, fault=from_second(1.0, out))).diagnosis
    assert (diagnosis.cause, diagnosis.confidence) == ("client-ephemeral-ports", "possible")


def test_stalled_transfers_are_a_stall(judge: Judge) -> None:
    stalled = Fault(F.TRANSFER_STALLED, Phase.TRANSFER, after_ns=10 * NS_PER_S)
    assert judge(replace(WIDE, fault=lambda k, _: stalled if k % 5 == 0 else None)).diagnosis.cause == "transfer-stall"


def test_what_no_rule_explains_is_unknown_and_says_what_would_settle_it(judge: Judge) -> None:
    odd = Fault(F.FILE_ERROR, Phase.FINAL_REPLY, 550, text="550 No such file")
    diagnosis = judge(replace(WIDE, fault=lambda k, _: odd if k % 2 else None)).diagnosis
    assert (diagnosis.cause, diagnosis.confidence) == ("unknown", "possible")
    assert diagnosis.would_settle


def test_the_cause_of_most_failures_comes_first_and_the_rest_is_told(judge: Judge) -> None:
    stalled = Fault(F.TRANSFER_STALLED, Phase.TRANSFER, after_ns=10 * NS_PER_S)
    story = Story(duration_s=4, expect=None, fault=lambda k, _: stalled if k % 50 == 0 else None)
    summary = judge(story)
    assert summary.diagnosis.cause == "server-passive-pool"
    assert [other.cause for other in summary.others] == ["transfer-stall"]


@pytest.mark.parametrize(
    ("kinds", "confidence"),
    [(("signature",), "possible"), (("signature", "records"), "likely"), (("records", "witness"), "certain")],
)
def test_confidence_follows_from_the_kind_of_the_signs(kinds: tuple[str, ...], confidence: str) -> None:
    signs = tuple(Sign(kind, "x") for kind in kinds)  # type: ignore[arg-type]
    assert Finding(signs, "x").confidence == confidence


def test_a_run_without_a_session_says_so(judge: Judge) -> None:
    summary = judge(Story(duration_s=2, until_s=0.0, status=None))
    assert summary.diagnosis.cause == "unknown"
    assert summary.headline.startswith("The run was cut short after")
