"""How ``ftpstorm limits`` looks at a terminal: tables of profiles, of a path's limits, and of what a rate needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from ftpstorm.conduct.limits_asked import PER, Answer, PathAnswer
from ftpstorm.limits.advisor import Advice, Option
from ftpstorm.limits.limit import Limit
from ftpstorm.limits.profile import Profile
from ftpstorm.limits.settings import Fix
from ftpstorm.report.wording import DASH, number, per_second

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table
    from rich.text import Text

MEANS: Final = {
    "nothing": "as it is",
    "range": "range alone",
    "time-wait": "TIME_WAIT alone",
    "range-and-time-wait": "both",
    "reuse": "reuse",
    "addresses": "more addresses",
}

NAME_WIDTH: Final = 15
"""A longer name of a profile takes two lines, so that the table fits into 80 columns."""


def limits_tables(answer: Answer, *, sources: bool) -> Group:
    """Return everything as one renderable; `sources` adds where each figure comes from."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = []
    if answer.profiles:
        parts += [_profiles(answer.profiles), Text()]
        parts += [Text(line, style="dim", overflow="fold") for line in _notes(answer.profiles, sources)]
    for advice in answer.advice:
        parts += [Text(), *_advice(advice)]
    for path in answer.paths:
        parts += [Text(), *_path(path, sources)]
        if answer.rate_per_s is not None:
            parts += [Text(), *_wanted(path, answer.rate_per_s)]
    return Group(*parts)


def spread(low: float, high: float, middle: float) -> str:
    """Return ``120``, and where the figure is a range a second line ``120-240``."""
    return number(middle) if low == high else f"{number(middle)}\n{number(low)}-{number(high)}"


def profile_cells(profile: Profile) -> tuple[str, ...]:
    """Return a profile's row: name, ports, TIME_WAIT in s, connections a second, a minute, an hour."""
    ports, hold, rate, interval = profile.ports, profile.time_wait, profile.per_s, profile.per_s_interval
    rates = [DASH if rate is None else number(rate * seconds) for seconds in PER.values()]
    if rate is not None and interval is not None:
        rates[0] = spread(*interval, rate)
    return (
        profile.name,
        DASH if ports is None else spread(ports.low, ports.high, ports.count),
        DASH if hold is None else spread(hold.low_s, hold.high_s, hold.effective_s),
        *rates,
    )


def _table(*columns: tuple[str, str]) -> Table:
    from rich import box
    from rich.table import Table

    made = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1), collapse_padding=True, header_style="dim"
    )
    for name, justify in columns:
        made.add_column(name, justify="right" if justify == "right" else "left", overflow="fold")
    return made


def _profiles(profiles: Sequence[Profile]) -> Table:
    rights = [(name, "right") for name in ("ports", "TIME_WAIT s", "a second", "a minute", "an hour")]
    made = _table(("profile", "left"), *rights)
    for profile in profiles:
        name, *cells = profile_cells(profile)
        if len(name) > NAME_WIDTH:
            cut = name.index("-", name.index("-") + 1) + 1
            name = f"{name[:cut]}\n  {name[cut:]}"
        made.add_row(name, *cells)
    return made


def _notes(profiles: Sequence[Profile], sources: bool) -> Iterator[str]:
    if not sources:
        yield "Connections to one destination that go on for ever, when this side closes first: ports/TIME_WAIT."
        yield "--sources says where each figure comes from, and what the platform's settings mean."
        return
    for profile in profiles:
        yield f"{profile.name}: {profile.title}{' (measured)' if profile.measured else ' (documented, not measured)'}"
        if profile.ports is not None:
            yield f"  ports: {profile.ports.source}"
        if profile.time_wait is not None:
            yield f"  TIME_WAIT: {profile.time_wait.why}; {profile.time_wait_source}"
        elif profile.unknown:
            yield f"  TIME_WAIT: {profile.unknown}"
        for fact in profile.facts:
            yield f"  {fact.name}: {fact.value}: {fact.meaning} [{fact.source}]"


def _advice(advice: Advice) -> Iterator[RenderableType]:
    from rich.text import Text

    now = "unknown" if advice.now_per_s is None else per_second(advice.now_per_s)
    yield Text.assemble((advice.profile, "bold"), f" for {per_second(advice.rate_per_s)}: as it is it bears {now}")
    if advice.why:
        yield Text(f"  {advice.why}")
    rights = [(name, "right") for name in ("ports", "TIME_WAIT s", "bears")]
    made = _table(("", "left"), ("change", "left"), *rights)
    for index, option in enumerate(advice.options, 1):
        made.add_row(str(index), MEANS[option.means], *_option_cells(option))
    if not advice.options:
        return
    yield made
    for index, option in enumerate(advice.options, 1):
        for fix in option.settings:
            yield Text(f"  {index}  {fix_line(fix)}", overflow="fold")
        if option.note and option.settings:
            yield Text(f"     {option.note}", style="dim")
    yield from _risks(fix for option in advice.options for fix in option.settings)


def _risks(fixes: Iterable[Fix]) -> Iterator[Text]:
    from rich.text import Text

    for risk in dict.fromkeys(fix.risk for fix in fixes if fix.risk != "none"):
        yield Text(f"  risk: {risk}", style="dim", overflow="fold")


def _option_cells(option: Option) -> tuple[str, ...]:
    return number(option.ports), number(option.time_wait_s), per_second(option.reaches_per_s)


def fix_line(fix: Fix) -> str:
    """Return a fix as one line: host, command, when it takes effect."""
    return f"{fix.host}: {fix.command}  [{fix.takes_effect}]"


def _path(path: PathAnswer, sources: bool) -> Iterator[RenderableType]:
    from rich.text import Text

    on = "" if path.profile is None else f" on {path.profile}"
    offered = "" if path.offered_per_s is None else f"; it offers {per_second(path.offered_per_s)}"
    counted = next((limit.counts for limit in path.limits if limit.applies), "transfers")
    yield Text.assemble((f"{path.scenario}{on}", "bold"), f": limits of its path in {counted}{offered}")
    rights = [(name, "right") for name in ("a second", "at one time")]
    made = _table(("", "left"), ("limit", "left"), *rights)
    for limit in path.limits:
        if limit.applies:
            told = f"{limit.name} ({limit.side})\n  {limit.subject}"
            made.add_row(">" if limit.binding else "", told, *_limit_cells(limit))
    yield made
    for limit in path.limits:
        if not limit.applies:
            yield Text(f"  {limit.name} ({limit.subject}): {limit.not_applicable_reason}", style="dim")
    binding = next((limit for limit in path.limits if limit.binding), None)
    if binding is None:
        yield Text("No rate is bounded.")
        return
    figures = ", ".join(
        f"{name} = {DASH if symbol.value is None else number(symbol.value)} {symbol.unit}".rstrip()
        for name, symbol in binding.symbols.items()
    )
    yield Text(f"> binds: {binding.name}, {binding.equation}; {figures}")
    if sources:
        for limit in path.limits:
            if limit.applies:
                yield Text(f"  {limit.name}: {limit.equation}; {'; '.join(limit.assumptions)} [{limit.source}]", "dim")


def _limit_cells(limit: Limit) -> tuple[str, str]:
    rate = number(limit.per_s) if limit.per_s is not None else DASH
    if limit.per_s is not None and limit.interval is not None:
        rate = spread(*limit.interval, limit.per_s)
    return rate, number(limit.concurrent)


def _wanted(path: PathAnswer, rate_per_s: float) -> Iterator[RenderableType]:
    from rich.text import Text

    if not path.wanted:
        yield Text(f"For {per_second(rate_per_s)}: every limit that is known bears it.")
        return
    yield Text(f"For {per_second(rate_per_s)}:", style="bold")
    for entry in path.wanted:
        need = entry.need
        either = f"{need.symbol} = {number(need.needed)} in place of {number(need.now)} ({need.meaning})"
        if need.hold_symbol is not None and need.hold_needed_s is not None:
            either += f", or {need.hold_symbol} at most {number(need.hold_needed_s)} s"
        yield Text(f"  {entry.limit.name}: {either}", overflow="fold")
        for fix in entry.fixes:
            yield Text(f"      {fix_line(fix)}", overflow="fold")
    yield from _risks(fix for entry in path.wanted for fix in entry.fixes)
