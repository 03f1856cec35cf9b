"""What the terminal shows while a run goes on: a picture four times a second, or lines where there is no terminal.

It is told everything and decides nothing. A terminal that goes away (a closed pipe) silences it; the run goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Final

from ftpstorm.conduct.progress import Totals
from ftpstorm.units import format_rate, format_seconds

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

LINES_EVERY_S: Final = 2.0
BAR_CELLS: Final = 24
SHOWN_CLASSES: Final = 4
REPLY_CHARACTERS: Final = 60


@dataclass(frozen=True, slots=True)
class Picture:
    """All that the live view knows at one instant. None where nobody has said it."""

    name: str
    state: str
    """Such as ``running`` or ``letting sessions finish``."""
    elapsed_ns: int | None
    """Since start_at; negative before it, None before there is one."""
    total_ns: int
    """When the load is planned to end."""
    totals: Totals = field(default_factory=Totals)
    counted: str = "transfers"
    """What the rates count: transfers, or sessions where no flow transfers anything."""
    offered_per_s: float | None = None
    achieved_per_s: float | None = None
    ceiling_per_s: float | None = None
    """What theory says is the most."""
    pool: Mapping[str, int] = field(default_factory=dict)
    """Ports of the emulator's passive pool by state; empty for any other target."""
    ephemeral: int | None = None
    """Local ports in use by the client."""
    ephemeral_range: int | None = None
    """Ports there are."""
    time_wait: Mapping[str, int] = field(default_factory=dict)
    """Sockets in TIME_WAIT by side."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of the picture: `taken` of `limit`; `limit` None where it is not known (then no bar is drawn)."""

    label: str
    taken: int
    limit: int | None
    detail: str = ""

    def draw(self, cells: int, full: str, empty: str) -> str:
        """Return the bar in `cells` characters. Something taken shows at least one, something free at least one."""
        if not self.limit:
            return " " * cells
        filled = round(cells * min(self.taken / self.limit, 1.0))
        if self.taken:
            filled = max(filled, 1)
        if self.taken < self.limit:
            filled = min(filled, cells - 1)
        return full * filled + empty * (cells - filled)


def bars_of(picture: Picture) -> list[Bar]:
    """Return the bars of `picture`: the pool where there is one, ports against their range, TIME_WAIT."""
    bars: list[Bar] = []
    if picture.pool:
        states = [f"{count} {state}" for state, count in picture.pool.items() if count and state != "free"]
        size = sum(picture.pool.values())
        bars.append(Bar("passive pool", size - picture.pool.get("free", 0), size, ", ".join(states)))
    if picture.ephemeral is not None:
        bars.append(Bar("ephemeral ports", picture.ephemeral, picture.ephemeral_range))
    if picture.time_wait:
        sides = ", ".join(f"{side} {count}" for side, count in picture.time_wait.items())
        bars.append(Bar("TIME_WAIT", sum(picture.time_wait.values()), None, sides))
    return bars


def rates_text(picture: Picture) -> str:
    """Return offered, achieved and ceiling, such as ``offered 97/s, achieved 10/s, ceiling 10/s``."""
    named = (
        ("offered", picture.offered_per_s),
        ("achieved", picture.achieved_per_s),
        ("ceiling", picture.ceiling_per_s),
    )
    return ", ".join(f"{name} {format_rate(round(rate, 1))}" for name, rate in named if rate is not None)


def time_text(picture: Picture) -> str:
    """Return elapsed and left, such as ``12.3 s of 20 s, 7.7 s left``; after the load's end what has elapsed."""
    if picture.elapsed_ns is None:
        return f"{picture.total_ns / 1e9:g} s planned" if picture.total_ns else "all at once"
    if picture.elapsed_ns < 0:
        return f"starts in {format_seconds(-picture.elapsed_ns)}"
    elapsed, total = picture.elapsed_ns / 1e9, picture.total_ns / 1e9
    if elapsed < total:
        return f"{elapsed:.1f} s of {total:g} s, {total - elapsed:.1f} s left"
    return f"{elapsed:.1f} s, load over"


def failures_text(picture: Picture) -> str:
    """Return the most frequent failure classes with their counts, "" where there is none."""
    ranked = sorted(picture.totals.failures.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{word} {count}" for word, count in ranked[:SHOWN_CLASSES]]
    if len(ranked) > SHOWN_CLASSES:
        shown.append(f"and {len(ranked) - SHOWN_CLASSES} more classes")
    return ", ".join(shown)


def reply_text(picture: Picture) -> str:
    """Return the last failure's reply, printable and cut to a line; "" where there is none."""
    reply = "".join(character if character.isprintable() else " " for character in picture.totals.last_reply)
    return reply if len(reply) <= REPLY_CHARACTERS else reply[: REPLY_CHARACTERS - 3] + "..."


def plain_line(picture: Picture) -> str:
    """Return the picture as one line of text, for a log."""
    totals = picture.totals
    parts = [f"{picture.state}, {time_text(picture)}"]
    if rates := rates_text(picture):
        parts.append(f"{picture.counted}: {rates}")
    parts.append(
        f"sessions: {totals.in_flight} in flight, {totals.succeeded} succeeded, {totals.failed} failed"
        + (f", {totals.dropped} dropped" if totals.dropped else "")
    )
    if failures := failures_text(picture):
        reply = reply_text(picture)
        parts.append(failures + (f' ("{reply}")' if reply else ""))
    parts.extend(f"{bar.label} {bar.taken}" + (f" of {bar.limit}" if bar.limit else "") for bar in bars_of(picture))
    return " | ".join(parts)


def render(picture: Picture, *, unicode: bool = True) -> RenderableType:
    """Return the picture for rich: a few labelled lines; texts of a server are never read as markup."""
    from rich.table import Table
    from rich.text import Text

    full, empty = ("\u2588", "\u2591") if unicode else ("#", ".")
    totals = picture.totals
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(Text(picture.name), Text(f"{picture.state}, {time_text(picture)}"))
    table.add_row(Text(f"{picture.counted}/s"), Text(rates_text(picture)))
    sessions = Text(f"{totals.in_flight} in flight, {totals.succeeded} succeeded, ")
    sessions.append(f"{totals.failed} failed", style="red" if totals.failed else "")
    if totals.dropped:
        sessions.append(f", {totals.dropped} dropped", style="yellow")
    table.add_row("sessions", sessions)
    for bar in bars_of(picture):
        drawn = Text()
        if bar.limit:
            drawn.append(bar.draw(BAR_CELLS, full, empty), style="red" if bar.taken >= bar.limit else "cyan")
            drawn.append(f"  {bar.taken} of {bar.limit}")
        else:
            drawn.append(str(bar.taken))
        if bar.detail:
            drawn.append(f"  ({bar.detail})", style="dim")
        table.add_row(bar.label, drawn)
    failures = Text(failures_text(picture) or "none", style="red" if totals.failures else "dim")
    if reply := reply_text(picture):
        failures.append(f'  "{reply}"', style="dim")
    table.add_row("failures", failures)
    return table


def new_console(*, stderr: bool = False, file: IO[str] | None = None, force_terminal: bool | None = None) -> Console:
    """Return a console for stdout, stderr or `file` whose broken pipe is an OSError like any other."""
    from rich.console import Console

    class PipedConsole(Console):
        def on_broken_pipe(self) -> None:
            # rich would exit the process here, in the middle of a run
            raise BrokenPipeError

    return PipedConsole(stderr=stderr, file=file, force_terminal=force_terminal)


class View:
    """The terminal of one run. `quiet` shows nothing; `note` still prints what the user must know."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet
        self._live: Live | None = None
        self._last_line = (0.0, "")
        self._broken = False

    def show(self, picture: Picture) -> None:
        """Show the picture: redrawn on a terminal; elsewhere a line now and then, and whenever the state changed."""
        if self._quiet or self._broken:
            return
        if self._console.is_terminal:
            self._guard(lambda: self._draw(picture))
            return
        now = time.monotonic()
        printed_at, state = self._last_line
        if picture.state != state or now - printed_at >= LINES_EVERY_S:
            self._last_line = (now, picture.state)
            self._guard(lambda: self._console.print(plain_line(picture), markup=False, highlight=False, soft_wrap=True))

    def note(self, text: str) -> None:
        """Print one line, above the picture where there is one."""
        self._guard(lambda: self._console.print(text, markup=False, highlight=False, soft_wrap=True))

    def print(self, renderable: RenderableType) -> None:
        """Print anything that rich can, such as the table at the end."""
        self._guard(lambda: self._console.print(renderable))

    def close(self) -> None:
        """Leave the last picture standing and give the terminal back."""
        if self._live is not None:
            self._guard(self._live.stop)
            self._live = None

    def _draw(self, picture: Picture) -> None:
        from rich.live import Live

        if self._live is None:
            # no refresh thread: the conductor forks, and children die with the thread that forked them
            self._live = Live(console=self._console, auto_refresh=False, transient=False)
            self._live.start()
        unicode = self._console.encoding.lower().startswith("utf")
        self._live.update(render(picture, unicode=unicode), refresh=True)

    def _guard(self, write: Callable[[], object]) -> None:
        if self._broken:
            return
        try:
            write()
        except OSError:  # the reader of our output is gone
            self._broken = True
            if self._live is not None:
                with suppress(OSError):
                    self._live.stop()
                self._live = None
