"""A threshold with `abort_on_fail` is looked at on the records so far, after its delay, and ends a run once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ftpstorm.conduct.abort import EVERY_NS, AbortWatch
from ftpstorm.records.abort_file import ABORT, read_abort
from ftpstorm.scenario.schema import Scenario
from ftpstorm.units import NS_PER_S
from support.results_folder import Story, write_results


def watch(folder: Path, thresholds: dict[str, Any]) -> AbortWatch:
    story = Story(duration_s=2, thresholds=thresholds)
    write_results(folder, story)
    return AbortWatch(story.plan(), folder)


def abort_of(condition: str, **more: Any) -> dict[str, Any]:
    return {"threshold": condition, "abort_on_fail": True, **more}


def test_a_condition_that_does_not_hold_ends_the_run_and_is_written_down(tmp_path: Path) -> None:
    watching = watch(tmp_path / "run", {"failures{class:passive-exhausted}": abort_of("count<100")})
    stop = watching.check(NS_PER_S)
    assert stop is not None
    assert (stop.how, stop.reason) == (
        "drain",
        "threshold failures{class:passive-exhausted}: count<100 does not hold: measured 174",
    )
    abort = read_abort(tmp_path / "run")
    assert abort is not None
    assert (abort.measured, abort.unit, abort.t_s) == (174, "", 1)
    assert watching.check(60 * NS_PER_S) is None, "a run ends once"


@pytest.mark.parametrize(
    "thresholds",
    [
        {"failures": "count==0"},
        {"failures": abort_of("count>0")},
        {"tls": abort_of("p(99)<1ms")},
        {"failures": abort_of("p(99)<1ms")},
    ],
    ids=["without abort_on_fail", "holds", "nothing to judge yet", "means nothing"],
)
def test_a_run_goes_on(tmp_path: Path, thresholds: dict[str, Any]) -> None:
    watching = watch(tmp_path / "run", thresholds)
    assert [watching.check(second * NS_PER_S) for second in range(5)] == [None] * 5
    assert not (tmp_path / "run" / ABORT).exists()


def test_nothing_is_looked_at_before_the_delay_is_over(tmp_path: Path) -> None:
    undelayed = {"sessions": abort_of("count>0")}
    watching = watch(tmp_path / "run", {"failures": abort_of("count==0", delay_abort_eval="10s"), **undelayed})
    assert watching.check(0) is None, "the other one is looked at from the start, and holds"
    assert watching.check(10 * NS_PER_S - 1) is None
    assert watching.check(60 * NS_PER_S) is not None


def test_durations_are_told_in_ms_and_batches_add_up(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    watching = watch(folder, {"login": abort_of("max<1us"), "sessions": abort_of("count<195")})
    stop = watching.check(NS_PER_S)
    assert stop is not None
    assert "measured 0.4 ms" in stop.reason

    # the same records, the second half of them written after the first look
    story = Story(duration_s=2, thresholds={"sessions": abort_of("count<194")})
    halves = write_results(tmp_path / "halves", story)
    spools = sorted((halves / "spool").glob("*.sessions.spool"))
    whole = {spool: spool.read_bytes() for spool in spools}
    for spool, content in whole.items():
        spool.write_bytes(content[: 4096 + (len(content) - 4096) // 2])
    growing = AbortWatch(story.plan(), halves)
    assert growing.check(NS_PER_S) is None
    for spool, content in whole.items():
        spool.write_bytes(content)
    late = growing.check(1000 * EVERY_NS)
    assert late is not None
    assert "measured 194" in late.reason


def late(folder: Path, start_time: str, threshold: str, **load: Any) -> AbortWatch:
    """Watch a load that begins at `start_time`, beside one from the start on; records are those of the story."""
    story = Story(duration_s=2)
    document = story.scenario().model_dump(mode="json", exclude_none=True, by_alias=True)
    steady = document["load"]["steady"]
    document["load"] = {"steady": steady, "main": {**steady, "start_time": start_time, **load}}
    document["thresholds"] = {threshold: abort_of("rate>=19/s")}
    write_results(folder, story)
    return AbortWatch(story.plan().model_copy(update={"scenario": Scenario.model_validate(document)}), folder)


def test_a_rate_of_a_load_that_has_not_begun_ends_no_run(tmp_path: Path) -> None:
    watching = late(tmp_path / "run", "4s", "sessions{load:main}")
    assert watching.check(2 * NS_PER_S) is None
    assert watching.check(5 * NS_PER_S) is not None, "from then on it is looked at"


def test_a_rate_is_over_the_window_of_its_load_while_the_run_goes_on(tmp_path: Path) -> None:
    watching = late(tmp_path / "run", "4s", "sessions{load:steady}")
    assert watching.check(6 * NS_PER_S) is None, "194 sessions in the 2 s of its own"
