"""The table at the end of a run: its first word never says more than is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from ftpstorm.errors import ExitCode
from ftpstorm.report.build import summarise
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.junit import junit_xml
from ftpstorm.report.limit_told import carried_of_limit
from ftpstorm.report.markdown import markdown
from ftpstorm.report.summary import Summary, exit_code
from ftpstorm.report.terminal import summary_table
from ftpstorm.report.wording import per_second
from ftpstorm.vocabulary import FailureClass, Phase, Verdict
from support.results_folder import Fault, Story

Judge = Callable[[Story], Summary]
Simulated = Callable[..., Evidence]


def drawn(summary: Summary) -> str:
    console = Console(width=100, force_terminal=False)
    with console.capture() as capture:
        console.print(summary_table(summary))
    return capture.get()


def test_a_run_that_somebody_stopped_does_not_open_with_pass(judge: Judge) -> None:
    summary = judge(Story(duration_s=2, status="interrupted", until_s=1))
    assert summary.verdict is Verdict.PASS
    assert drawn(summary).startswith(" INTERRUPTED ")
    assert ": INTERRUPTED" in markdown(summary).splitlines()[0]


@pytest.mark.parametrize(
    ("story", "word"),
    [
        (Story(duration_s=2), "pass"),
        (Story(duration_s=2, thresholds={"login": "max<1us"}), "fail"),
        (Story(duration_s=2, status="interrupted", until_s=1, thresholds={"login": "max<1us"}), "fail"),
        (Story(duration_s=2, counts_off={"connects": 3}), "invalid"),
    ],
)
def test_any_other_run_opens_with_its_verdict(judge: Judge, story: Story, word: str) -> None:
    assert drawn(judge(story)).startswith(f" {word.upper()} ")


DEMANDS_NOTHING = Story(duration_s=2, ports=400, expect=None, thresholds={})
REFUSED = Fault(FailureClass.CONTROL_CONNECT_REFUSED, Phase.CONTROL_CONNECT, errno=111)
NOT_FOUND = Fault(FailureClass.FILE_ERROR, Phase.FIRST_BYTE, code=550, text="550 No such file.", survived=True)


@pytest.mark.parametrize(
    ("story", "word"),
    [
        (DEMANDS_NOTHING, "pass"),
        (replace(DEMANDS_NOTHING, fault=lambda k, _: REFUSED), "not judged"),
        (replace(DEMANDS_NOTHING, fault=lambda k, _: NOT_FOUND), "not judged"),
        (replace(DEMANDS_NOTHING, fault=lambda k, _: NOT_FOUND if k == 3 else None), "not judged"),
        (replace(DEMANDS_NOTHING, dropped=frozenset(range(194))), "not judged"),
        (replace(DEMANDS_NOTHING, status="stopped-early", until_s=1), "stopped early"),
        (replace(DEMANDS_NOTHING, status="stopped-early", until_s=1, fault=lambda k, _: REFUSED), "stopped early"),
        (Story(duration_s=2, status="stopped-early", until_s=1), "pass"),
    ],
)
def test_where_nothing_is_demanded_what_did_not_go_well_is_no_pass(judge: Judge, story: Story, word: str) -> None:
    summary = judge(story)
    assert (summary.verdict, exit_code(summary)) == (Verdict.PASS, ExitCode.PASS)
    first, second = drawn(summary).splitlines()[0], " ".join(drawn(summary).split())
    assert first.startswith(f" {word.upper()} ")
    assert ("the scenario demands nothing" in second) == (word != "pass")
    assert f": {word.upper()}" in markdown(summary).splitlines()[0]
    run = next(ET.fromstring(junit_xml(summary)).iter("testcase"))  # noqa: S314 - our own text
    skipped = run.find("skipped")
    assert (skipped is None) == (word == "pass")
    assert skipped is None or word in skipped.attrib["message"].lower()


def test_a_run_of_which_nothing_is_demanded_says_so(judge: Judge) -> None:
    assert "nothing demanded" in drawn(judge(Story(duration_s=2, expect=None, thresholds={})))
    assert "nothing demanded" not in drawn(judge(Story(duration_s=2)))


def test_what_follows_a_refused_login_says_so_beside_its_count(judge: Judge) -> None:
    after = Fault(FailureClass.AUTH_FAILED, Phase.PASSIVE, 530, text="530 Log in first.", survived=True)
    refused = Fault(FailureClass.AUTH_FAILED, Phase.LOGIN, 530, text="530 No.", survived=True, then=(after, after))
    summary = judge(replace(DEMANDS_NOTHING, fault=lambda k, _: refused))
    for text in (drawn(summary), markdown(summary)):
        assert "after a login that failed" in text
        assert text.index("530 No.") < text.index("530 Log in first.")


def test_an_errno_is_shown_with_its_name(judge: Judge) -> None:
    refused = Fault(FailureClass.CONTROL_CONNECT_REFUSED, Phase.CONTROL_CONNECT, errno=111)
    summary = judge(Story(duration_s=2, ports=200, expect=None, fault=lambda k, _: refused if k == 10 else None))
    assert "errno 111 (ECONNREFUSED)" in drawn(summary)
    assert "errno 111 (ECONNREFUSED)" in markdown(summary)


def test_books_that_nobody_can_check_are_not_ok(judge: Judge) -> None:
    def books(story: Story) -> str:
        return next(line for line in drawn(judge(story)).splitlines() if line.startswith("books balance"))

    assert books(Story(duration_s=2)).endswith("ok")
    assert books(Story(duration_s=2, status=None, until_s=1)).rstrip().endswith("not checkable")


def test_the_share_of_the_limit_is_of_what_was_carried_not_of_what_was_refused_as_well(judge: Judge) -> None:
    summary = judge(Story(duration_s=20, until_s=18.0))
    limit = summary.limits[0]
    assert limit.per_s is not None
    refused_too = limit.model_copy(update={"measured_per_s": 97.0, "ratio": 97.0 / limit.per_s})
    summary = summary.model_copy(update={"limits": [refused_too, *summary.limits[1:]]})
    rate = summary.transfers.sustained.rate_per_s
    assert rate is not None
    assert carried_of_limit(summary) == (rate / limit.per_s, refused_too)
    connections = refused_too.model_copy(update={"counts": "connections"})
    assert carried_of_limit(summary.model_copy(update={"limits": [connections]})) is None


def words(text: str) -> str:
    """Return text on one line, however the terminal broke it."""
    return " ".join(text.split())


@pytest.mark.parametrize("status", ["interrupted", "stopped-early"])
def test_a_run_that_ended_early_tells_what_was_planned_from_what_was_offered(judge: Judge, status: str) -> None:
    summary = judge(Story(duration_s=10, status=status, until_s=2))
    transfers = summary.transfers
    assert (transfers.offered, transfers.due, transfers.attempted) == (970, 194, 194)
    assert transfers.offered_per_s == pytest.approx(97, rel=0.01)
    told = f"970 planned, 194 offered until the run ended ({per_second(transfers.offered_per_s)})"
    assert f"transfers {told}, 194 attempted" in words(drawn(summary))
    assert told in markdown(summary)


def test_a_whole_run_says_only_what_was_offered(judge: Judge) -> None:
    summary = judge(Story(duration_s=2))
    assert (summary.transfers.offered, summary.transfers.due) == (194, 194)
    assert "transfers 194 offered (97/s), 194 attempted" in words(drawn(summary))
    assert "until the run ended" not in markdown(summary)


def test_what_is_offered_at_one_instant_has_no_rate(simulated: Simulated) -> None:
    summary = summarise(simulated(load={"crowd": {"executor": "burst", "sessions": 50, "flow": "download"}}))
    assert summary.transfers.offered_per_s is None
    assert "transfers.offered_per_s" in {unknown.key for unknown in summary.unknown}
    assert "transfers 50 offered at one instant, 50 attempted" in words(drawn(summary))
    assert "50 offered at one instant" in markdown(summary)


def test_what_is_carried_above_the_limit_is_said_to_be_the_first_filling(simulated: Simulated) -> None:
    crowd = {"executor": "burst", "sessions": 300, "over": "1s", "flow": "download"}
    emulator = {"emulator": {"passive_ports": 50, "hold": {"for": "3s"}}}
    summary = summarise(simulated(target=emulator, load={"crowd": crowd}))
    assert (summary.transfers.rate_per_s, summary.limits[0].concurrent) == (50, 50)
    told = "50/s on average, above the limit of 16.7/s: the first filling of 50 places comes on top of it (N + R x t)"
    assert told in words(drawn(summary))
    assert told.replace("(", "").replace(")", "") in markdown(summary).replace("\\", "").replace("(", "").replace(
        ")", ""
    )


def test_a_rate_at_the_limit_needs_no_such_words(judge: Judge) -> None:
    assert "first filling" not in drawn(judge(Story(duration_s=20)))
    assert "first filling" not in drawn(judge(Story(duration_s=2, ports=500)))
