"""The summary table at the end of a run, for people at a terminal; plain text where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ftpstorm.report.limit_told import carried_of_limit
from ftpstorm.report.offered import filling_words, offered_words
from ftpstorm.report.opening import UNJUDGED, meaning, opening
from ftpstorm.report.summary import Check, Summary
from ftpstorm.report.wording import count_of, errno_words, milliseconds, number, per_second, percent

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table

STYLES: Final = {"good": "bold green", "bad": "bold red", "odd": "bold yellow"}
PHASES_SHOWN: Final = ("control_connect", "login", "passive", "data_connect", "transfer", "session")
FAILURES_SHOWN: Final = 8


def summary_table(summary: Summary) -> Group:
    """Return a rich renderable of the summary, readable from 80 columns on; print it with `rich.console.Console`."""
    from rich.console import Group
    from rich.text import Text

    word = opening(summary)
    style = STYLES[word.tone]
    first = Text.assemble((f" {word.upper()} ", f"{style} reverse"), " ", (summary.headline, "bold"), overflow="fold")
    parts: list[RenderableType] = [first]
    parts += [Text(f"  - {reason}", style=style) for reason in summary.verdict_reasons]
    if word in UNJUDGED:
        parts.append(Text(f"  - {meaning(summary)}", style=style))
    parts += [Text(), _figures(summary)]
    if summary.failures:
        parts.append(_failures(summary))
    parts.append(_checks(summary))
    return Group(*parts)


def _table(*columns: tuple[str, str], header: bool = True) -> Table:
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE, show_edge=False, pad_edge=False, header_style="dim", show_header=header)
    for name, justify in columns:
        made.add_column(name, justify="right" if justify == "right" else "left", overflow="fold")
    return made


def _figures(summary: Summary) -> Table:
    made = _table(("", "left"), ("", "left"), header=False)
    sessions, transfers = summary.sessions, summary.transfers
    made.add_row(
        "sessions",
        f"{number(sessions.started)} started of {number(sessions.planned)} planned: "
        f"{number(sessions.succeeded)} succeeded, {number(sessions.failed)} failed, "
        f"{number(sessions.interrupted)} interrupted, {number(sessions.dropped)} dropped",
    )
    made.add_row(
        "transfers",
        f"{offered_words(transfers)}, {number(transfers.attempted)} attempted, {number(transfers.succeeded)} succeeded",
    )
    sustained = transfers.sustained
    carried = per_second(sustained.rate_per_s) if sustained.rate_per_s is not None else sustained.reason or ""
    if (found := carried_of_limit(summary)) is not None:
        share, limit = found
        carried += f" ({percent(share)} of the limit {per_second(limit.per_s)}, {limit.equation})"
    made.add_row("sustained", carried + filling_words(summary))
    shown = [
        f"{phase.replace('_', ' ')} {milliseconds(latency.p50)}/{milliseconds(latency.p99)}"
        for phase in PHASES_SHOWN
        if (latency := summary.latency_ms[phase]).n
    ]
    made.add_row("latency, ms", f"p50/p99: {', '.join(shown)}" if shown else "nothing completed")
    made.add_row("cause", f"{summary.diagnosis.cause} ({summary.diagnosis.confidence})")
    return made


def _failures(summary: Summary) -> Table:
    made = _table(("failures", "left"), ("count", "right"), ("control survived", "right"), ("example", "left"))
    for failure in summary.failures[:FAILURES_SHOWN]:
        what = failure.example.reply or (errno_words(failure.errno) if failure.errno else failure.phase)
        if failure.consequences:
            what += f" ({number(failure.consequences)} of them after a login that failed)"
        made.add_row(failure.class_, number(failure.count), number(failure.control_survived), what)
    rest = summary.failures[FAILURES_SHOWN:]
    if rest:
        made.add_row(count_of(len(rest), "more kind"), number(sum(failure.count for failure in rest)), "", "")
    return made


def _checks(summary: Summary) -> Table:
    from rich.text import Text

    made = _table(("checks", "left"), ("condition", "left"), ("measured", "right"), ("", "left"))
    for check in (*summary.expectations, *summary.thresholds):
        result = Text("ok", style="green") if check.ok else Text(f"FAILED {check.reason or ''}".rstrip(), style="red")
        made.add_row(check.name, check.condition, _measured(check), result)
    if not (summary.expectations or summary.thresholds):
        made.add_row("expect, thresholds", "the scenario has none", "", Text("nothing demanded", style="yellow"))
    unbalanced = [book for book in summary.accounting if book.ok is False]
    checked = sum(book.ok is not None for book in summary.accounting)
    if unbalanced:
        result = Text("FAILED", style="red")
    else:
        result = Text("ok", style="green") if checked else Text("not checkable", style="yellow")
    made.add_row(
        "books balance", f"{checked} of {len(summary.accounting)} checkable", number(checked - len(unbalanced)), result
    )
    return made


def _measured(check: Check) -> str:
    if check.measured is None or isinstance(check.measured, str):
        return check.measured or "not measurable"
    return f"{number(check.measured)} {check.unit}".strip()
