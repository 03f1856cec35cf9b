"""The summary as Markdown: summary.md of a results folder, and what a CI job shows on its page.

Texts of a server stand in code spans: nothing in them is read as Markdown or HTML. How much is told is for a reader who
decides whether to open the report; everything else is in report.html.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from ftpstorm.errors import UsageError
from ftpstorm.report.limit_told import carried_of_limit
from ftpstorm.report.offered import filling_words, offered_words
from ftpstorm.report.opening import UNJUDGED, meaning, opening
from ftpstorm.report.summary import Check, Failure, Summary, Transfers
from ftpstorm.report.wording import DASH, errno_words, milliseconds, number, per_second, percent
from ftpstorm.vocabulary import LATENCY_PHASES, Status

MARKDOWN: Final = "summary.md"
FAILURES_SHOWN: Final = 10
SYMBOLS: Final = {
    "good": "\N{WHITE HEAVY CHECK MARK}",
    "bad": "\N{CROSS MARK}",
    "odd": "\N{WARNING SIGN}",
}

_SPECIAL: Final = str.maketrans({character: f"\\{character}" for character in r"\`*_[]<>|#~&"})


def markdown(summary: Summary) -> str:
    """Return the summary as GitHub-flavoured Markdown, which GitLab and Gitea read too; ends with a newline."""
    return "\n".join(_lines(summary)).rstrip("\n") + "\n"


def write_markdown(folder: Path, summary: Summary) -> Path:
    """Write summary.md of a results folder; return its path."""
    path = folder / MARKDOWN
    temporary = path.with_name(f".{MARKDOWN}")
    temporary.write_text(markdown(summary), encoding="utf-8")
    temporary.replace(path)
    return path


def append_markdown(path: Path, summary: Summary) -> None:
    """Append the summary to a file, such as the one that $GITHUB_STEP_SUMMARY names. Raises UsageError."""
    try:
        with path.open("a", encoding="utf-8") as file:
            if file.tell():
                file.write("\n")
            file.write(markdown(summary))
    except OSError as error:
        raise UsageError(f"--markdown {path}: cannot be written: {error.strerror}") from None


def _lines(summary: Summary) -> Iterator[str]:
    name = summary.scenario + (f" ({summary.variant})" if summary.variant else "")
    word = opening(summary)
    yield f"## {SYMBOLS[word.tone]} {_text(name)}: {word.upper()}"
    yield ""
    yield f"**{_text(summary.headline)}**"
    yield ""
    for reason in summary.verdict_reasons:
        yield f"- {_text(reason)}"
    if word in UNJUDGED:
        yield f"- {_text(meaning(summary))}"
    if summary.stop_reason or summary.status is not Status.COMPLETED:
        yield f"- {summary.status.value}: {_text(summary.stop_reason or 'no reason on record')}"
    yield ""
    yield from _figures(summary)
    yield from _checks(summary)
    yield from _failures(summary)
    yield from _latencies(summary)
    yield from _remedy(summary)
    label = f", label {_code(summary.label)}" if summary.label else ""
    yield f"<sub>run {_code(summary.run_id)}{label}, started {summary.started_at}, ftpstorm {_version(summary)}</sub>"


def _figures(summary: Summary) -> Iterator[str]:
    sessions, transfers = summary.sessions, summary.transfers
    sustained = transfers.sustained
    carried = per_second(sustained.rate_per_s) if sustained.rate_per_s is not None else _text(sustained.reason or DASH)
    if (found := carried_of_limit(summary)) is not None:
        share, limit = found
        carried += f", {percent(share)} of the limit {per_second(limit.per_s)} ({_text(limit.name)})"
    carried += _text(filling_words(summary))
    yield from _table(
        ("", "started", "succeeded", "failed", "dropped", "rate"),
        (
            ("sessions", *_numbers(sessions.started, sessions.succeeded, sessions.failed, sessions.dropped), ""),
            (
                "transfers",
                *_numbers(transfers.attempted, transfers.succeeded, transfers.failed),
                "",
                _rates(transfers),
            ),
        ),
    )
    yield f"Sustained: {carried}. Cause: {_code(summary.diagnosis.cause)} ({summary.diagnosis.confidence})."
    yield ""


def _rates(transfers: Transfers) -> str:
    if transfers.due is None or transfers.due == transfers.offered:
        if transfers.offered_per_s is not None:
            return f"{per_second(transfers.rate_per_s)} of {per_second(transfers.offered_per_s)} offered"
        return offered_words(transfers)
    return f"{per_second(transfers.rate_per_s)}; {offered_words(transfers)}"


def _checks(summary: Summary) -> Iterator[str]:
    checks = [("expectation", check) for check in summary.expectations]
    checks += [("threshold", check) for check in summary.thresholds]
    if checks:
        rows = (
            (
                SYMBOLS["good" if check.ok else "bad"] + (" ok" if check.ok else " failed"),
                kind,
                _code(f"{check.name} {check.condition}"),
                _measured(check),
            )
            for kind, check in checks
        )
        yield from _table(("", "kind", "condition", "measured"), rows)


def _failures(summary: Summary) -> Iterator[str]:
    if not summary.failures:
        return
    rows = [
        (
            failure.class_,
            number(failure.count),
            number(failure.control_survived),
            f"{failure.first_at_s:.2f} s",
            _example(failure),
        )
        for failure in summary.failures[:FAILURES_SHOWN]
    ]
    yield from _table(("failure", "count", "control survived", "first at", "example"), rows)
    rest = summary.failures[FAILURES_SHOWN:]
    if rest:
        yield f"and {number(sum(failure.count for failure in rest))} more of {number(len(rest))} further kinds"
        yield ""


def _example(failure: Failure) -> str:
    what = errno_words(failure.errno) if failure.errno else ""
    if failure.example.reply:
        what = _code(failure.example.reply)
    if failure.consequences:
        what += f" ({number(failure.consequences)} of them after a login that failed)"
    return what.strip()


def _latencies(summary: Summary) -> Iterator[str]:
    rows = [
        (
            phase.replace("_", " "),
            number(latency.n),
            *(milliseconds(value) for value in (latency.p50, latency.p95, latency.p99, latency.max)),
        )
        for phase in LATENCY_PHASES
        if (latency := summary.latency_ms.get(phase)) is not None and latency.n
    ]
    if not rows:
        return
    yield "<details><summary>Latency in ms</summary>"
    yield ""
    yield from _table(("phase", "n", "p50", "p95", "p99", "max"), rows)
    yield "</details>"
    yield ""


def _remedy(summary: Summary) -> Iterator[str]:
    if not summary.diagnosis.fixes:
        return
    yield "What lifts the limit:"
    yield ""
    for fix in summary.diagnosis.fixes:
        yield f"- on {_text(fix.host)}: {_code(fix.command)}, takes effect {_text(fix.takes_effect)}"
    yield ""


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def _numbers(*counts: int) -> tuple[str, ...]:
    return tuple(number(count) for count in counts)


def _measured(check: Check) -> str:
    if check.measured is None:
        return _text(check.reason or "not measurable")
    value = check.measured if isinstance(check.measured, str) else f"{number(check.measured)} {check.unit}".strip()
    return _text(value + (f"; {check.reason}" if check.reason else ""))


def _text(text: str) -> str:
    """Return `text` so that Markdown shows it as it is, on one line."""
    return " ".join(text.split()).translate(_SPECIAL)


def _code(text: str) -> str:
    """Return `text` as a code span for a table's cell too (CommonMark 6.1; GFM: a pipe is escaped even there)."""
    shown = " ".join("".join(c if c.isprintable() else " " for c in text).split()).replace("|", "\\|") or " "
    fence = "`"
    while fence in shown:
        fence += "`"
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def _version(summary: Summary) -> str:
    return _text(summary.versions.get("ftpstorm", "of unknown version"))
