"""Name what ran out: weigh what every rule found, and say it in one sentence.

What each cause looks like stands in `report.rules`. Here the findings are ranked: by what makes all others moot,
then by how many failures each explains, then by confidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ftpstorm.report.evidence import Evidence
from ftpstorm.report.finding import Against, Finding, Rule, Sign
from ftpstorm.report.rules import RULES
from ftpstorm.report.summary import Confidence, Diagnosis, Generator, RuledOut
from ftpstorm.report.wording import count_of, seconds
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import Cause, Outcome, Status

EXPLAINED_SHARE: Final = 0.5
"""A cause that explains less of the failures than this is not *the* cause."""

_RANK: Final[dict[Confidence, int]] = {"certain": 3, "likely": 2, "possible": 1}


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The diagnosis of a run."""

    headline: str
    main: Diagnosis
    others: tuple[Diagnosis, ...]


def diagnose(evidence: Evidence, generator: Generator, rules: tuple[Rule, ...] = RULES) -> Verdicts:
    """Return what ran out, by the `rules` (default: all there are)."""
    findings: list[tuple[Cause, Finding]] = []
    ruled_out: list[RuledOut] = []
    for rule in rules:
        result = rule.examine(evidence, generator)
        if isinstance(result, Finding):
            findings.append((rule.cause, result))
        elif isinstance(result, Against):
            ruled_out.append(RuledOut(cause=rule.cause, evidence=list(result.evidence)))
    findings.sort(key=lambda item: (item[1].overrides, item[1].explains, _RANK[item[1].confidence]), reverse=True)
    total = len(evidence.failures)
    chief = findings[0] if findings else None
    if chief is None or not (chief[1].overrides or chief[1].explains >= EXPLAINED_SHARE * total):
        findings.insert(
            0, (Cause.UNKNOWN, _unexplained(evidence)) if total or not len(evidence.started) else _none(evidence)
        )
    (cause, finding), *rest = findings
    return Verdicts(
        headline=_opening(evidence) + finding.sentence,
        main=_diagnosis(cause, finding, ruled_out),
        others=tuple(_diagnosis(other, also, []) for other, also in rest),
    )


def _diagnosis(cause: Cause, finding: Finding, ruled_out: list[RuledOut]) -> Diagnosis:
    return Diagnosis(
        cause=cause,
        confidence=finding.confidence,
        evidence=[sign.text for sign in finding.signs],
        ruled_out=ruled_out,
        would_settle=list(finding.would_settle),
        fixes=list(finding.fixes),
        failures=finding.explains,
        first_at_s=None if finding.first_ns is None else finding.first_ns / NS_PER_S,
    )


def _opening(evidence: Evidence) -> str:
    """Say first what is unusual about the run itself."""
    at = seconds(evidence.end_ns)
    match evidence.status:
        case Status.CUT_SHORT:
            return f"The run was cut short after {at}. "
        case Status.INTERRUPTED:
            return f"Interrupted after {at}. "
        case Status.STOPPED_EARLY:
            why = f" ({evidence.manifest.stop_reason})" if evidence.manifest.stop_reason else ""
            return f"Stopped early after {at}{why}. "
        case Status.SIMULATED:
            return "Simulated. "
        case _:
            return ""


def _none(evidence: Evidence) -> tuple[Cause, Finding]:
    """All went well: say how well, and how near the limit it was."""
    signs = [Sign("witness", f"none of {count_of(len(evidence.started), 'session')} failed")]
    taken = evidence.pool_peak
    room = ""
    if taken is not None and evidence.pool_size is not None:
        room = f"; at most {taken:,} of {evidence.pool_size:,} passive ports were taken"
        signs.append(Sign("witness", f"the passive pool had free ports at all times{room}"))
    dropped = evidence.outcome(Outcome.DROPPED)
    if dropped:
        signs = [Sign("records", sign.text) for sign in signs]
        signs.append(Sign("records", f"{count_of(dropped, 'session')} did not start: `max_sessions` were in flight"))
    moved = len(evidence.success_ns)
    rate = moved / evidence.load_s
    what = f"all {count_of(moved, 'transfer')} succeeded, {rate:.3g} a second over {evidence.load_s:.3g} s"
    if not moved:
        what = f"all {count_of(len(evidence.started), 'session')} succeeded"
    lost = f", but {count_of(dropped, 'planned session')} never started" if dropped else ""
    return Cause.NONE, Finding(tuple(signs), 0, None, f"Nothing ran out: {what}{room}{lost}.")


def _unexplained(evidence: Evidence) -> Finding:
    total = len(evidence.failures)
    if not total:
        return Finding(
            (Sign("signature", "no session started"),), 0, None, "No session started, so nothing can be said.",
            would_settle=("a run that lasts longer",),
        )  # fmt: skip
    worst = next(iter(evidence.failure_counts))
    first_ns = int(evidence.failures.data["t_ns"][0])
    kinds = ", ".join(f"{count:,} x {failure.word}" for failure, count in evidence.failure_counts.items())
    return Finding(
        signs=(Sign("signature", kinds),),
        explains=total,
        first_ns=first_ns,
        sentence=f"{count_of(total, 'failure')} from {seconds(first_ns)} on, most of them {worst.word}; "
        "what ran out is not clear from what was recorded.",
        would_settle=(
            "the server's own log for the same seconds (the examples below carry UTC and ports)",
            "`ftpstorm sample` on the server's host during the next run",
        ),
    )
