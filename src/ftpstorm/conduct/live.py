"""What the terminal shows while a run goes on: a picture that is redrawn, or lines where there is no terminal for it.

It is told everything and decides nothing. It is redrawn as often as SHARE_MAX of a core pays for: the conductor's
processor is the load's neighbour. A terminal that goes away (a closed pipe) silences it; the run goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Final

from ftpstorm.conduct.progress import Totals
from ftpstorm.units import format_rate, format_seconds

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

LINES_EVERY_S: Final = 2.0
SHARE_MAX: Final = 0.005
"""Part of a core that drawing may take."""
BAR_CELLS: Final = 24
BAR_CELLS_MIN: Final = 8
BESIDE_A_BAR: Final = 44
"""Columns for label, figures and detail beside a bar, or beside the rates of the last seconds."""
SPARK: Final = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
SPARK_ASCII: Final = "_.-=*#%@"
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
    history: Sequence[float] = ()
    """Achieved rates of the last while, oldest first, at even intervals."""
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
    """One bar of the picture: `taken` of `limit`; the number alone where `limit` is None (not known)."""

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
    for side, count in sorted(picture.time_wait.items()):
        # A client's TIME_WAIT uses up its ephemeral ports; nothing says how many a server may hold, and a bar that is
        # always full beside others that mean "used up" would.
        bars.append(Bar(f"TIME_WAIT {side}", count, picture.ephemeral_range if side.startswith("client") else None))
    return bars


def sparkline(rates: Sequence[float], top: float, cells: int, ramp: str = SPARK) -> str:
    """Return the last `cells` rates as one character each, from `ramp`'s first for nothing to its last for `top`."""
    steps = len(ramp) - 1
    return "".join(ramp[min(round(steps * rate / top), steps) if top > 0 else 0] for rate in rates[-cells:])


def spark_text(picture: Picture, cells: int, ramp: str = SPARK) -> str:
    """Return the sparkline and what its full height stands for; "" before there is a rate."""
    if not picture.history:
        return ""
    peak, ceiling = max(picture.history[-cells:]), picture.ceiling_per_s
    top = max(peak, ceiling or 0.0)
    is_ceiling = ceiling is not None and ceiling >= peak
    full = f"full height: {format_rate(round(top, 1))}{', the ceiling' if is_ceiling else ''}"
    return f"{sparkline(picture.history, top, cells, ramp)}  {full}"


def lateness_text(picture: Picture) -> str:
    """Return how late sessions started at most of late, such as ``at most 1.2 ms``."""
    return f"at most {picture.totals.lateness_ns / 1e6:.3g} ms"


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
    if totals.lateness_ns:
        parts.append(f"late {lateness_text(picture)}")
    if failures := failures_text(picture):
        reply = reply_text(picture)
        parts.append(failures + (f' ("{reply}")' if reply else ""))
    parts.extend(f"{bar.label} {bar.taken}" + (f" of {bar.limit}" if bar.limit else "") for bar in bars_of(picture))
    return " | ".join(parts)


def render(picture: Picture, *, unicode: bool = True, width: int = 100) -> RenderableType:
    """Return the picture for rich, for `width` columns: labelled lines; a server's texts are never read as markup."""
    from rich.table import Table
    from rich.text import Text

    full, empty = ("\u2588", "\u2591") if unicode else ("#", ".")
    room = width - BESIDE_A_BAR
    cells = max(min(BAR_CELLS, room), BAR_CELLS_MIN)
    totals = picture.totals
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(Text(picture.name), Text(f"{picture.state}, {time_text(picture)}"))
    table.add_row(Text(f"{picture.counted}/s"), Text(rates_text(picture)))
    if spark := spark_text(picture, max(room, BAR_CELLS_MIN), SPARK if unicode else SPARK_ASCII):
        table.add_row("", Text(spark, style="cyan"))
    sessions = Text(f"{totals.in_flight} in flight, {totals.succeeded} succeeded, ")
    sessions.append(f"{totals.failed} failed", style="red" if totals.failed else "")
    if totals.dropped:
        sessions.append(f", {totals.dropped} dropped", style="yellow")
    table.add_row("sessions", sessions)
    if totals.lateness_ns:
        table.add_row("started late by", Text(lateness_text(picture)))
    for bar in bars_of(picture):
        drawn = Text()
        if bar.limit:
            drawn.append(bar.draw(cells, full, empty), style="red" if bar.taken >= bar.limit else "cyan")
            drawn.append("  ")
        drawn.append(f"{bar.taken} of {bar.limit}" if bar.limit else str(bar.taken))
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
    """The terminal of one run, or of several. `quiet` shows nothing; `note` still prints what the user must know."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet
        self._live: Live | None = None
        self._last_line = (0.0, "")
        self._broken = False
        self._redraws = console.is_terminal and not console.is_dumb_terminal
        self._next_draw_s = 0.0
        self._skipped: Picture | None = None
        self._width = 0

    def show(self, picture: Picture) -> None:
        """Show the picture: redrawn on a terminal; elsewhere a line now and then, and whenever the state changed."""
        if self._quiet or self._broken:
            return
        now = time.monotonic()
        printed_at, state = self._last_line
        if self._redraws:
            if picture.state == state and now < self._next_draw_s:
                self._skipped = picture
                return
            self._last_line = (now, picture.state)
            began = time.thread_time()
            self._guard(lambda: self._draw(picture))
            self._next_draw_s = now + (time.thread_time() - began) / SHARE_MAX
            return
        if picture.state != state or now - printed_at >= LINES_EVERY_S:
            self._last_line = (now, picture.state)
            self._guard(lambda: self._console.print(plain_line(picture), markup=False, highlight=False, soft_wrap=True))

    def note(self, text: str) -> None:
        """Print one line, above the picture where there is one."""
        self._guard(lambda: self._console.print(text, markup=False, highlight=False, soft_wrap=True))

    def tell(self, text: str) -> None:
        """Print one line of progress or result; nothing where it is to be quiet."""
        if not self._quiet:
            self.note(text)

    def print(self, renderable: RenderableType) -> None:
        """Print anything that rich can, such as the table at the end."""
        self._guard(lambda: self._console.print(renderable))

    def close(self) -> None:
        """Leave the last picture standing and give the terminal back."""
        if self._live is not None and self._skipped is not None:
            latest = self._skipped
            self._guard(lambda: self._draw(latest))
        if self._live is not None:
            self._guard(self._live.stop)
            self._live = None

    def _draw(self, picture: Picture) -> None:
        from rich.live import Live

        self._skipped = None
        self._fit()
        if self._live is None:
            # no refresh thread: the conductor forks, and children die with the thread that forked them
            self._live = Live(console=self._console, auto_refresh=False, transient=False, vertical_overflow="crop")
            self._live.start()
        unicode = self._console.encoding.lower().startswith("utf")
        self._live.update(render(picture, unicode=unicode, width=self._console.width), refresh=True)

    def _fit(self) -> None:
        """Begin the picture anew on a clean screen when the terminal has become narrower.

        Its lines have been folded then, into how many depends on the terminal, so nobody can go up to the first.
        All that stands on the screen moves up into the scrollback instead: nothing of the user's is lost.
        """
        from rich.control import Control

        narrower, self._width = self._console.width < self._width, self._console.width
        if self._live is None or not narrower:
            return
        self._live.transient = True  # take away what can be reached of it
        self._live.stop()
        self._live = None
        self._console.file.write("\n" * self._console.height)
        self._console.control(Control.home(), Control.clear())

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
