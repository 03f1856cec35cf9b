"""Name what ran out: weigh what every rule found, and say it in one sentence.

What each cause looks like stands in `report.rules`. Here the findings are ranked. First what makes all others moot.
Then what binds: of several places that each turn away a good part of those that reach them, the furthest along the way;
as long as it is full, lifting an earlier one only brings it more to turn away. Then by how many failures each explains,
and by confidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from ftpstorm.report.evidence import Evidence
from ftpstorm.report.finding import Against, Finding, Kind, Rule, Sign
from ftpstorm.report.modelled import model_says
from ftpstorm.report.remedies import remedies
from ftpstorm.report.rules import RULES
from ftpstorm.report.summary import Confidence, Diagnosis, Generator, RuledOut
from ftpstorm.report.testimony import by_phase, client_share, of_server
from ftpstorm.report.wording import count_of, number, seconds
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import Cause, FailureClass, Outcome, Phase, Status

EXPLAINED_SHARE: Final = 0.5
"""Findings that together explain less of the failures than this leave it open what ran out."""
BINDING_SHARE: Final = 0.25
"""A place that turns away so much of what reaches it is full for good; less may be a passing shortage."""
MANY_SHARE: Final = 0.15
"""It must account for so many of all failures, too: where few come at all, a handful is a large share of them."""

_RANK: Final[dict[Confidence, int]] = {"certain": 3, "likely": 2, "possible": 1}
_CLIENT_SIDE: Final = frozenset(
    {Cause.CLIENT_EPHEMERAL_PORTS, Cause.CLIENT_BIND_HABIT, Cause.CLIENT_FILES, Cause.GENERATOR}
)
_BACKLOG: Final = frozenset(
    {Cause.BACKLOG_GHOST, Cause.RESET_AFTER_ACCEPT, Cause.SLOW_ACCEPT, Cause.BACKLOG_SYN_REFUSED}
)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The diagnosis of a run."""

    headline: str
    main: Diagnosis
    others: tuple[Diagnosis, ...]


def diagnose(evidence: Evidence, generator: Generator, rules: tuple[Rule, ...] = RULES) -> Verdicts:
    """Return what ran out, by the `rules` (default: all there are)."""
    found: list[tuple[Cause, Finding]] = []
    ruled_out: list[RuledOut] = []
    for rule in rules:
        result = rule.examine(evidence, generator)
        if isinstance(result, Finding):
            found.append((rule.cause, result))
        elif isinstance(result, Against):
            ruled_out.append(RuledOut(cause=rule.cause, evidence=list(result.evidence)))
    told = model_says(evidence)
    if told is not None and told[0] is Cause.UNKNOWN:
        found, ruled_out = [], []
    elif told is not None and told[0] not in {cause for cause, _ in found}:
        found.append(told)
        ruled_out = [item for item in ruled_out if item.cause is not told[0]]
    findings, outdone = _ranked(evidence, found)
    ruled_out += outdone
    total = len(evidence.failures)
    chief = findings[0][1] if findings else None
    enough = _accounted(evidence, findings) >= EXPLAINED_SHARE * total
    if told is not None and told[0] is Cause.UNKNOWN:
        findings = [told]
    elif chief is None or not (chief.overrides or (chief.explains and enough)):
        left = _unexplained(evidence) if total or not len(evidence.started) else None
        findings.insert(0, (Cause.UNKNOWN, left) if left is not None else _none(evidence))
    (cause, finding), *rest = findings
    return Verdicts(
        headline=_opening(evidence) + finding.sentence,
        main=_diagnosis(evidence, cause, finding, ruled_out, _context(evidence, cause, finding)),
        others=tuple(_diagnosis(evidence, other, also, [], "") for other, also in rest),
    )


def _accounted(evidence: Evidence, findings: list[tuple[Cause, Finding]]) -> int:
    """Return how many failures the findings explain together, what followed from one in its session included."""
    rows = evidence.failures.data
    together = np.zeros(len(rows), bool)
    for _, finding in findings:
        if finding.explains:
            together |= finding.explained
    session = rows["load"].astype(np.int64) << 32 | rows["session"]
    followed = np.isin(session, session[together]) & (
        (rows["class"] == FailureClass.CONTROL_LOST) | evidence.consequences
    )
    return int(np.count_nonzero(together | followed))


def _ranked(
    evidence: Evidence, found: list[tuple[Cause, Finding]]
) -> tuple[list[tuple[Cause, Finding]], list[RuledOut]]:
    """Return the findings, the binding one first, and what was outdone: others explain all of its failures better."""
    reached = by_phase(evidence)

    def weight(item: tuple[Cause, Finding]) -> tuple[bool, int, int, int]:
        finding = item[1]
        phase = _phase(evidence, finding)
        share = finding.explains / max(1, reached.get(phase, 0), finding.explains)
        many = finding.explains >= MANY_SHARE * len(evidence.failures)
        stage = int(phase) if finding.explains and many and share >= BINDING_SHARE else -1
        return finding.overrides, stage, finding.explains, _RANK[finding.confidence]

    kept: list[tuple[Cause, Finding]] = []
    outdone: list[RuledOut] = []
    for cause, finding in sorted(found, key=weight, reverse=True):
        better = [
            other
            for other, first in kept
            if finding.explains
            and first.explains
            and _RANK[first.confidence] > _RANK[finding.confidence]
            and not np.any(finding.explained & ~first.explained)
        ]
        if better:
            text = f"the same {count_of(finding.explains, 'failure')} are better explained by {better[0]}"
            outdone.append(RuledOut(cause=cause, evidence=[text]))
        else:
            kept.append((cause, finding))
    return kept, outdone


def _phase(evidence: Evidence, finding: Finding) -> Phase:
    """Return where most of the failures came that a finding explains."""
    if not finding.explains:
        return Phase.NONE
    phases = evidence.failures.data["phase"][finding.explained]
    return Phase(int(np.bincount(phases).argmax()))


def _context(evidence: Evidence, cause: Cause, finding: Finding) -> str:
    """Return what the other side's kernel says: "server ListenOverflows +0; client ports 3 % used"."""
    parts = []
    if cause not in _BACKLOG:
        parts.append(of_server(evidence, "TcpExt.ListenOverflows"))
    if cause not in _CLIENT_SIDE:
        parts.append(client_share(evidence))
    told = " ".join(sign.text for sign in finding.signs)
    return "; ".join(part for part in parts if part and part not in told)


def _diagnosis(
    evidence: Evidence, cause: Cause, finding: Finding, ruled_out: list[RuledOut], context: str
) -> Diagnosis:
    times = evidence.failures.data["t_ns"]
    first_ns = None
    if finding.explains:
        first_ns = int(times[finding.explained][0])
    elif cause is Cause.UNKNOWN and len(times):
        first_ns = int(times[0])
    return Diagnosis(
        cause=cause,
        confidence=finding.confidence,
        evidence=[sign.text for sign in finding.signs] + ([context] if context else []),
        ruled_out=ruled_out,
        would_settle=list(finding.would_settle),
        fixes=list(finding.fixes),
        failures=len(times) if cause is Cause.UNKNOWN else finding.explains,
        first_at_s=None if first_ns is None else first_ns / NS_PER_S,
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
    kind: Kind = "witness" if evidence.sees_server else "records"
    signs = [Sign(kind, f"none of {count_of(len(evidence.started), 'session')} failed")]
    taken = evidence.pool_peak
    room = ""
    if taken is not None and evidence.pool_size is not None:
        room = f"; at most {taken:,} of {evidence.pool_size:,} passive ports were taken"
        signs.append(Sign("witness", f"the passive pool had free ports at all times{room}"))
    dropped = evidence.outcome(Outcome.DROPPED)
    if dropped:
        signs = [Sign("records", sign.text) for sign in signs]
        signs.append(Sign("records", f"{count_of(dropped, 'session')} did not start: `max_sessions` were in flight"))
    cut = evidence.outcome(Outcome.INTERRUPTED) if evidence.whole else 0
    if cut:
        signs = [Sign("records", sign.text) for sign in signs]
        signs.append(Sign("records", f"{count_of(cut, 'session')} had not ended when the load's grace was over"))
    moved = len(evidence.success_ns)
    what = f"all {count_of(len(evidence.started), 'session')} succeeded"
    if moved:
        over_s = evidence.load_s
        if evidence.sustained.rate_per_s is None:  # a load too brief for a rate: what counts is until all were through
            over_s = max(over_s, (int(evidence.success_ns[-1]) - evidence.load_start_ns) / NS_PER_S)
        what = f"all {count_of(moved, 'transfer')} succeeded, {number(moved / over_s)} a second over {number(over_s)} s"
    lost = f", but {count_of(dropped, 'planned session')} never started" if dropped else ""
    lost += f", but {count_of(cut, 'session')} did not come to an end in time" if cut else ""
    would_settle = (
        () if evidence.sees_server else ("how near its limits the server was: `ftpstorm sample` on its host",)
    )
    return Cause.NONE, Finding(tuple(signs), f"Nothing ran out: {what}{room}{lost}.", would_settle=would_settle)


def _unexplained(evidence: Evidence) -> Finding:
    total = len(evidence.failures)
    if not total:
        return Finding(
            (Sign("signature", "no session started"),), "No session started, so nothing can be said.",
            would_settle=("a run that lasts longer",),
        )  # fmt: skip
    worst = next(iter(evidence.failure_counts))
    first_ns = int(evidence.failures.data["t_ns"][0])
    kinds = ", ".join(f"{count:,} x {failure.word}" for failure, count in evidence.failure_counts.items())
    return Finding(
        signs=(Sign("signature", kinds),),
        sentence=f"{count_of(total, 'failure')} from {seconds(first_ns)} on, most of them {worst.word}; "
        "what ran out is not clear from what was recorded.",
        fixes=remedies(evidence, Cause.UNKNOWN),
        would_settle=(
            "the server's own log for the same seconds (the examples below carry UTC and ports)",
            "`ftpstorm sample` on the server's host during the next run",
        ),
    )
