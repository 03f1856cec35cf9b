"""The word that a report opens with: what a person reads first, in terminal, page, Markdown and JUnit alike.

summary.json keeps `verdict` and `status`, and the exit code follows from those. A green "pass" would say more than is
known where a part of the plan was carried out, or where nothing was demanded of a run that did not go well.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal

from ftpstorm.report.summary import Summary
from ftpstorm.vocabulary import Status, Verdict

Tone = Literal["good", "bad", "odd"]


class Opening(StrEnum):
    """The words there are."""

    PASS = "pass"  # noqa: S105 - a verdict, no password
    FAIL = "fail"
    INVALID = "invalid"
    INTERRUPTED = "interrupted"
    STOPPED_EARLY = "stopped early"
    NOT_JUDGED = "not judged"

    @property
    def tone(self) -> Tone:
        """How it is coloured: good green, bad red, odd yellow."""
        return "good" if self is Opening.PASS else "bad" if self is Opening.FAIL else "odd"


UNJUDGED: Final = frozenset({Opening.STOPPED_EARLY, Opening.NOT_JUDGED})
"""What passes only because nothing was demanded: readers are told so beside the word."""
NOTHING_DEMANDED: Final = "the scenario demands nothing (no `expect`, no `thresholds`)"
MEANINGS: Final = {
    Opening.PASS: "Passed: everything that the scenario demands held.",
    Opening.FAIL: "Failed: a threshold or an expectation did not hold.",
    Opening.INVALID: "Invalid: this run proves nothing about the server.",
    Opening.INTERRUPTED: "Interrupted: what the scenario demands held so far; whether it would have to the end is not "
    "known.",
    Opening.STOPPED_EARLY: f"Stopped early: {NOTHING_DEMANDED}, and its guard ended the run before its plan.",
    Opening.NOT_JUDGED: f"Not judged: {NOTHING_DEMANDED}, so exit code 0 says nothing of how it went.",
}


def opening(summary: Summary) -> Opening:
    """Return the word: the verdict, but another one for a pass that would say more than is known."""
    if summary.verdict is not Verdict.PASS:
        return Opening(summary.verdict.value)
    if summary.status is Status.INTERRUPTED:
        return Opening.INTERRUPTED
    if summary.expectations or summary.thresholds:
        return Opening.PASS
    if summary.status is Status.STOPPED_EARLY:
        return Opening.STOPPED_EARLY
    greeted = summary.sessions.succeeded or summary.latency_ms["greeting"].n
    return Opening.PASS if greeted and not summary.failures else Opening.NOT_JUDGED


def meaning(summary: Summary) -> str:
    """Return in a sentence what the word means for this run."""
    word = opening(summary)
    if not (summary.expectations or summary.thresholds):
        if word is Opening.PASS:
            return f"Passed: {NOTHING_DEMANDED}, so nothing could fail."
        if word is Opening.INTERRUPTED:
            return f"Interrupted: {NOTHING_DEMANDED}, and the run ended before its plan."
    return MEANINGS[word]
