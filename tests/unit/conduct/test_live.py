from __future__ import annotations

import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ftpstorm.conduct import live
from ftpstorm.conduct.live import (
    Bar,
    Picture,
    View,
    bars_of,
    failures_text,
    new_console,
    plain_line,
    render,
    reply_text,
    spark_text,
    sparkline,
    time_text,
)
from ftpstorm.conduct.progress import Totals
from ftpstorm.units import NS_PER_S

PICTURE = Picture(
    name="try-later-425",
    state="running",
    elapsed_ns=12_300_000_000,
    total_ns=20 * NS_PER_S,
    totals=Totals(
        started=1200,
        in_flight=3,
        succeeded=120,
        failed=1077,
        failures={"passive-exhausted": 1076, "control-lost": 1},
        last_reply="425 Try later, data connection in use.",
        lateness_ns=1_240_000,
    ),
    offered_per_s=97.04,
    achieved_per_s=10.0,
    ceiling_per_s=10.0,
    pool={"free": 0, "listening": 0, "in-use": 2, "held": 18},
    ephemeral=40,
    ephemeral_range=28_232,
    time_wait={"client": 0, "server": 2034},
    history=(0.0, 5.0, 10.0),
)


def drawn(picture: Picture, *, unicode: bool = True, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(render(picture, unicode=unicode))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(text, str)
    return text


def test_the_picture_holds_every_figure_that_it_is_told() -> None:
    text = drawn(PICTURE)
    for part in (
        "12.3 s of 20 s, 7.7 s left",
        "offered 97/s, achieved 10/s, ceiling 10/s",
        "3 in flight",
        "20 of 20",
        "18 held",
        "40 of 28232",
        "0 of 28232",
        "2034",
        "at most 1.24 ms",
        "full height: 10/s, the ceiling",
        "passive-exhausted 1076, control-lost 1",
        '"425 Try later, data connection in use."',
    ):
        assert part in text, text


def test_bars_are_ascii_where_the_terminal_has_no_unicode() -> None:
    assert drawn(PICTURE, unicode=False).isascii()


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    lines = drawn(replace(PICTURE, history=(3.0,) * 240), width=width).splitlines()
    assert max(len(line) for line in lines) <= width


def test_the_sparkline_s_height_is_the_share_of_the_top_and_its_end_is_now() -> None:
    assert sparkline((9.0, 0.0, 5.0, 10.0, 30.0), 10.0, 4, "_-=#") == "_=##"
    assert sparkline((0.0, 0.0), 0.0, 10, "_#") == "__"


def test_a_rate_above_the_ceiling_raises_the_top_and_the_text_says_so() -> None:
    assert spark_text(replace(PICTURE, history=(40.0, 10.0)), 10).endswith("full height: 40/s")
    assert spark_text(replace(PICTURE, history=()), 10) == ""


def test_a_client_s_time_wait_is_drawn_against_its_ports_and_a_server_s_against_nothing() -> None:
    client, server = bars_of(PICTURE)[-2:]
    assert (client.label, client.limit) == ("TIME_WAIT client", 28_232)
    assert (server.label, server.taken, server.limit) == ("TIME_WAIT server", 2034, None)
    (line,) = (line for line in drawn(PICTURE).splitlines() if "TIME_WAIT server" in line)
    assert line.split("TIME_WAIT server")[1].strip() == "2034"


def test_a_reply_is_never_read_as_markup_nor_as_control_characters() -> None:
    hostile = replace(PICTURE, totals=replace(PICTURE.totals, last_reply="425 [red]x[/] \x1b[2J\x07"))
    text = drawn(hostile)
    assert "[red]x[/]" in text
    assert "\x1b" not in text
    assert "\x1b" not in plain_line(hostile)


def test_a_long_reply_is_cut_to_one_line() -> None:
    assert len(reply_text(replace(PICTURE, totals=Totals(last_reply="4" * 500)))) == 60


def test_many_failure_classes_are_counted_and_the_most_frequent_named() -> None:
    text = failures_text(replace(PICTURE, totals=Totals(failures={f"class-{n}": n for n in range(1, 8)})))
    assert text == "class-7 7, class-6 6, class-5 5, class-4 4, and 3 more classes"


def test_before_the_start_the_time_left_until_it_is_shown() -> None:
    assert time_text(replace(PICTURE, elapsed_ns=-3 * NS_PER_S)) == "starts in 3 s"


def test_what_nobody_said_is_not_shown() -> None:
    bare = Picture(name="n", state="starting", elapsed_ns=None, total_ns=NS_PER_S)
    assert bars_of(bare) == []
    assert plain_line(bare) == "starting, 1 s planned | sessions: 0 in flight, 0 succeeded, 0 failed"


@given(taken=st.integers(0, 5000), limit=st.integers(1, 5000), cells=st.integers(2, 40))
def test_a_bar_is_full_only_when_the_limit_is_reached_and_empty_only_when_nothing_is_taken(
    taken: int, limit: int, cells: int
) -> None:
    bar = Bar("ports", taken, limit).draw(cells, "#", ".")
    assert len(bar) == cells
    assert ("." not in bar) == (taken >= limit)
    assert ("#" not in bar) == (taken == 0)


def view(*, terminal: bool = False, quiet: bool = False) -> tuple[View, io.StringIO]:
    file = io.StringIO()
    return View(new_console(file=file, force_terminal=terminal), quiet=quiet), file


def test_without_a_terminal_a_state_is_a_line_and_the_same_state_waits() -> None:
    shown, file = view()
    shown.show(PICTURE)
    shown.show(PICTURE)
    shown.show(replace(PICTURE, state="cooling down"))
    assert [line.partition(",")[0] for line in file.getvalue().splitlines()] == ["running", "cooling down"]


def test_quiet_shows_nothing() -> None:
    shown, file = view(quiet=True)
    shown.show(PICTURE)
    shown.close()
    assert file.getvalue() == ""


def test_on_a_terminal_the_picture_is_redrawn_in_place() -> None:
    shown, file = view(terminal=True)
    shown.show(PICTURE)
    shown.show(PICTURE)
    shown.close()
    first, *later = file.getvalue().split("\x1b[1A")
    assert "passive-exhausted" in first
    assert "passive-exhausted" in later[-1]


class Clock:
    """A wall clock that goes 250 ms on with each picture, and a thread's clock that drawing takes 5 ms from."""

    def __init__(self) -> None:
        self.now, self.used = 100.0, 0.0

    def monotonic(self) -> float:
        return self.now

    def thread_time(self) -> float:
        self.used += 0.0025
        return self.used


def test_drawing_takes_at_most_its_share_of_a_core_and_the_last_picture_still_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr(live, "time", clock)
    shown, file = view(terminal=True)
    for number in range(400):
        clock.now += 0.25
        shown.show(replace(PICTURE, elapsed_ns=number * NS_PER_S // 4, total_ns=200 * NS_PER_S))
    drawings = file.getvalue().count("try-later-425")
    assert drawings * 0.0025 <= 400 * 0.25 * live.SHARE_MAX
    assert drawings >= 190  # 2.5 ms of 0.5 % of a core: every other picture
    shown.close()
    assert "99.8 s of 200 s" in file.getvalue()


def test_a_change_of_state_is_drawn_at_once() -> None:
    shown, file = view(terminal=True)
    for state in ("running", "cooling down", "finishing"):
        shown.show(replace(PICTURE, state=state))
        assert state in file.getvalue()
    shown.close()


def test_a_dumb_terminal_gets_lines_and_no_control_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    shown, file = view(terminal=True)
    shown.show(PICTURE)
    shown.show(replace(PICTURE, state="cooling down"))
    shown.close()
    assert len(file.getvalue().splitlines()) == 2
    assert "\x1b" not in file.getvalue()


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    shown, file = view(terminal=True)
    shown.show(PICTURE)
    shown.close()
    assert "\x1b[31m" not in file.getvalue()


class GoneFile(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError


@pytest.mark.parametrize("terminal", [True, False])
def test_a_reader_that_went_away_silences_the_view(terminal: bool) -> None:
    shown = View(new_console(file=GoneFile(), force_terminal=terminal))
    shown.show(PICTURE)
    shown.note("anything")
    shown.show(PICTURE)
    shown.close()


def test_a_narrower_terminal_gets_a_clean_screen_and_nothing_of_the_user_s_is_lost() -> None:
    file = io.StringIO()
    console = new_console(file=file, force_terminal=True)
    console.width, console.height = 100, 30
    shown = View(console)
    for width, clears in ((100, 0), (120, 0), (60, 1), (60, 1), (80, 1), (40, 2)):
        console.width = width
        shown.show(replace(PICTURE, state=f"running at {width}, {clears}"))
        written = file.getvalue()
        assert written.count("\n" * 30 + "\x1b[H\x1b[2J") == clears, width
        assert written.count("\x1b[2J") == clears, "cleared only what has moved into the scrollback"
    shown.close()
    assert "running at 40" in file.getvalue().rpartition("\x1b[2J")[2]
