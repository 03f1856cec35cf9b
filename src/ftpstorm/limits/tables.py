"""The data of this package as Markdown tables, for the pages under docs/theory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import MappingProxyType
from typing import Final

from ftpstorm.limits.backlog import backlog_outcome
from ftpstorm.limits.passive import PassiveHabit, passive_habit_limit
from ftpstorm.limits.profiles import PROFILES
from ftpstorm.limits.servers import SERVERS, Answer
from ftpstorm.limits.timewait import natural_closer, time_wait_keeper
from ftpstorm.vocabulary import Operation


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def _figure(value: float) -> str:
    """Three significant digits, whole thousands grouped."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def _span(low: float, high: float, middle: float) -> str:
    return _figure(middle) if low == high else f"{_figure(middle)} ({_figure(low)} to {_figure(high)})"


def profile_table() -> str:
    """Return ports, TIME_WAIT and rates of every profile that has ports."""
    rows = []
    for profile in PROFILES.values():
        ports, hold, rate = profile.ports, profile.time_wait, profile.per_s
        if ports is None:
            continue
        interval = profile.per_s_interval
        rows.append(
            (
                f"`{profile.name}`",
                _span(ports.low, ports.high, ports.count),
                "not said" if hold is None else _span(hold.low_s, hold.high_s, hold.effective_s),
                "" if rate is None else _figure(rate) if interval is None else _span(*interval, rate),
                "" if rate is None else _figure(rate * 60),
                "" if rate is None else _figure(rate * 3600),
                "measured" if profile.measured else "documented",
            )
        )
    return markdown(("profile", "ports", "TIME_WAIT, s", "a second", "a minute", "an hour", ""), rows)


def closing_table() -> str:
    """Return who keeps TIME_WAIT after each step, by nature, when the client closes first, and with RST."""
    operations = (
        (Operation.RETR, "RETR"),
        (Operation.LIST, "LIST, NLST, MLSD"),
        (Operation.STOR, "STOR, APPE"),
        (Operation.QUIT, "control after QUIT"),
    )
    rows = []
    for operation, words in operations:
        closer = natural_closer(operation)
        assert closer is not None
        rows.append(
            (words, closer.value, closer.value, "client", str(time_wait_keeper(closer, reset=True) or "nobody"))
        )
    return markdown(("connection", "closes first", "keeps TIME_WAIT", "client made to close first", "RST"), rows)


def habit_table() -> str:
    """Return what each passive habit bears with 20 ports, transfers of 0.1 s and sessions of 2.5 s."""
    rows = []
    for habit in PassiveHabit:
        limit = passive_habit_limit(habit, 20, 0.1, session_s=2.5)
        assert limit.per_s is not None
        rows.append((habit.value.replace("-", " "), f"`{limit.equation}`", f"{_figure(limit.per_s)} {limit.counts}/s"))
    return markdown(("habit", "equation", "20 ports, C = 0.1 s, L = 2.5 s, T = 61 s"), rows)


def backlog_table() -> str:
    """Return the fate of 1,500 connections at once on a backlog of 511 that nobody empties meanwhile."""
    rows = []
    for cookies, abort in ((1, 0), (1, 1), (0, 1), (0, 0)):
        outcome = backlog_outcome(
            burst=1500, backlog=511, accept_per_s=0, tcp_syncookies=cookies, tcp_abort_on_overflow=abort
        )
        seen = ", ".join(failure.word for failure in outcome.failures)
        rows.append(
            ("Linux", str(cookies), str(abort), str(outcome.admitted), f"{outcome.beyond} {outcome.fate}", seen)
        )
    refused = backlog_outcome(burst=1500, backlog=511, accept_per_s=0, system="windows")
    seen = ", ".join(failure.word for failure in refused.failures)
    rows.append(("Windows", "", "", str(refused.admitted), f"{refused.beyond} {refused.fate}", seen))
    return markdown(("system", "tcp_syncookies", "tcp_abort_on_overflow", "admitted", "the others", "seen as"), rows)


def server_table() -> str:
    """Return the habits of the servers that are known."""
    rows = [
        (
            f"{habits.name} {habits.release}",
            habits.choice.value + ("" if habits.tries is None else f", {habits.tries} tries"),
            "yes" if habits.reuseaddr else "no",
            _said(habits.full) if habits.full is not None else "takes a port outside its range",
            "no such setting" if habits.cap is None else _said(habits.cap),
            str(habits.listen_backlog()),
        )
        for habits in SERVERS.values()
    ]
    header = ("server", "passive choice", "SO_REUSEADDR", "no port free", "too many users", "backlog")
    return markdown(header, rows)


def _said(answer: Answer) -> str:
    words = f"`{answer.code} {answer.text}`" if answer.code is not None else "closes without a word"
    return f"{words} ({answer.failure.word})"


TABLES: Final = MappingProxyType[str, Callable[[], str]](
    {
        "profiles": profile_table,
        "closing": closing_table,
        "habits": habit_table,
        "backlog": backlog_table,
        "servers": server_table,
    }
)
"""Every table by the name that marks its place on a page."""


def fill(page: str) -> str:
    """Return `page` with each block between ``<!-- table:NAME -->`` and ``<!-- end -->`` made anew.

    Raises KeyError for a name that is none, ValueError for a block without an end.
    """
    opening, ending = "<!-- table:", "<!-- end -->"
    parts = page.split(opening)
    filled = [parts[0]]
    for part in parts[1:]:
        name, _, rest = part.partition(" -->")
        _, end, tail = rest.partition(ending)
        if not end:
            raise ValueError(f"the table {name} has no {ending}")
        filled.append(f"{opening}{name} -->\n{TABLES[name]()}{end}{tail}")
    return "".join(filled)
