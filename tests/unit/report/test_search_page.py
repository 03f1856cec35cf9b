"""What a search says of its steps: the knee, the cause beyond it, one sentence, and the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftpstorm.report.search import SearchResult, SearchStep, conclude, edges, write_page
from ftpstorm.report.summary import Check


def step(number: int, value: float, fate: str, *, cause: str = "none", why: tuple[str, ...] = ()) -> SearchStep:
    return SearchStep(
        number=number, load=f"{value:g}/s", value=value, fate=fate, folder=f"steps/{number}", run_id=str(number),
        duration_s=2, offered_per_s=value, rate_per_s=min(value, 20),
        checks=[Check(name="failures", condition="count==0", measured=0, unit="", ok=fate == "passed")],
        cause=cause, headline=f"headline of {number}", why=list(why), limit="server-passive-pool", limit_per_s=20.0,
        taken_at_start={},
    )  # fmt: skip


def result(*steps: SearchStep) -> SearchResult:
    return SearchResult(
        scenario="small", started_at="2031-01-01T00:00:00Z", status="running", headline="", vary="load.steady.rate",
        between=("5/s", "80/s"), accept={"failures": ("count==0",)}, settle_s=0, step_s=2.2, step_why="Each step.",
        precision=0.02, confirm=2, highest_passing=None, lowest_failing=None, cause=None, steps=list(steps),
        marks=["TIME_WAIT of the server shortened to 1s"],
    )  # fmt: skip


POOL = "server-passive-pool"


def test_the_knee_lies_below_the_lowest_load_of_which_a_run_failed() -> None:
    steps = [step(1, 19, "passed"), step(2, 20, "passed"), step(3, 21, "failed"), step(4, 20, "failed"),
             step(5, 40, "passed")]  # fmt: skip
    passing, failing = edges(steps)
    assert passing is not None
    assert failing is not None
    assert (passing.value, failing.value, failing.runs, failing.passed) == (19, 20, 2, 1)


def test_the_cause_beyond_is_that_of_most_runs_that_failed_at_the_lowest_load() -> None:
    found = conclude(
        result(step(1, 19, "passed"), step(2, 21, "failed", cause="unknown"), step(3, 21, "failed", cause=POOL),
               step(4, 21, "failed", cause=POOL), step(5, 40, "failed", cause="generator")),
        "found",
    )  # fmt: skip
    assert (found.cause, found.cause_headline) == (POOL, "headline of 3")
    assert found.ratio == pytest.approx(1.0)
    assert found.headline == f"load.steady.rate = 19/s passes; 21/s fails (3 of 3 runs): {POOL}."


def test_where_nothing_ran_out_the_condition_that_did_not_hold_is_told() -> None:
    found = conclude(
        result(step(1, 9, "passed"), step(2, 10, "failed", why=("session p(99)<1s: measured 2 s",))), "found"
    )
    assert found.headline.endswith("10/s fails (1 of 1 run): session p(99)<1s: measured 2 s.")


@pytest.mark.parametrize(
    ("status", "steps", "said"),
    [
        ("below the range", [step(1, 5, "failed", cause=POOL)], "Not even the lowest load passes; 5/s fails"),
        ("above the range", [step(1, 80, "passed")], "80/s passes, and that is the highest load that was asked for."),
        (
            "generator",
            [step(1, 40, "passed"), step(2, 45, "generator", why=("half of the sessions started late",))],
            "The load generator is the limit at 45/s: half of the sessions started late; load.steady.rate = 40/s "
            "passes. Of the server this says no more.",
        ),
        ("interrupted", [], "The search is interrupted: no load.steady.rate passed."),
    ],
)
def test_each_ending_has_its_sentence(status: str, steps: list[SearchStep], said: str) -> None:
    assert said in conclude(result(*steps), status).headline


def test_the_page_shows_every_step_the_marks_and_the_picture(tmp_path: Path) -> None:
    found = conclude(
        result(step(1, 19, "passed"), step(2, 21, "failed", cause=POOL), step(3, 90, "generator")), "found"
    )
    text = write_page(tmp_path, found).read_text()
    assert found.headline in text
    assert text.count("/report.html") == 3
    assert "TIME_WAIT of the server shortened to 1s" in text
    assert '<svg role="img"' in text
    assert (tmp_path / "search.png").is_file()


def test_a_search_without_a_step_has_a_page_too(tmp_path: Path) -> None:
    assert "interrupted" in write_page(tmp_path, conclude(result(), "interrupted")).read_text()
