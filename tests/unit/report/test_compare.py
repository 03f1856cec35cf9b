"""Before and after: what changed, by how much, and whether it can be told from chance."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.conduct.simulated import SimulateOptions, make_folder
from ftpstorm.errors import ExitCode, UsageError
from ftpstorm.report.compare import Comparison, compare_runs
from ftpstorm.report.compare_figures import Measured, between_runs, quantile_interval, wilson
from ftpstorm.report.compare_settings import flatten
from ftpstorm.report.fail_on import parse_fail_on
from ftpstorm.report.summary import Summary
from support.results_folder import Story
from support.short_run import scenario_of

Folder = Callable[[Story], Path]
Judge = Callable[[Story], Summary]
BEFORE = Story(duration_s=8)
AFTER = Story(duration_s=8, ports=1000, variant="after", expect={"cause": "none"})


@pytest.fixture
def both(folder: Folder) -> tuple[Path, Path]:
    return folder(BEFORE), folder(AFTER)


def verdicts(comparison: Comparison) -> dict[str, str]:
    return {row.quantity: row.verdicts[-1] for row in comparison.rows}


def test_a_wider_pool_is_better_and_the_page_says_so(both: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = compare_runs(both, out)
    assert verdicts(found)["sustained transfer rate"] == "better"
    assert verdicts(found)["share of sessions that failed"] == "better"
    assert verdicts(found)["passive, p50"] == "no difference shown"
    assert [(item.key, item.values) for item in found.settings] == [("target.emulator.passive_ports", ["20", "1000"])]
    assert found.headline.startswith("after is better in sustained transfer rate (")
    assert found.headline.endswith("than base; nothing ran out any more (before: server-passive-pool).")
    assert found.exit_code is ExitCode.PASS
    page = (out / "compare.html").read_text(encoding="utf-8")
    assert found.headline in page
    assert '<svg role="img"' in page
    assert json.loads((out / "compare.json").read_text())["schema"] == 1


def test_the_same_twice_shows_no_difference(folder: Folder) -> None:
    found = compare_runs([folder(BEFORE), folder(BEFORE)], plots=False)
    assert set(verdicts(found).values()) == {"no difference shown"}
    assert found.settings == []
    assert [run.name for run in found.runs] == ["base (A)", "base (B)"]


@pytest.mark.parametrize(("later_ms", "verdict"), [(0.4, "no difference shown"), (5, "worse")])
def test_a_latency_is_worse_only_by_more_than_runs_differ_anyway(folder: Folder, later_ms: float, verdict: str) -> None:
    late = replace(AFTER, lateness_ns=lambda k: round((0.1 + later_ms) * 1e6))
    found = compare_runs([folder(replace(AFTER, lateness_ns=lambda k: 100_000)), folder(late)], plots=False)
    assert verdicts(found)["session, p50"] == verdict


def test_a_p99_of_single_runs_is_no_verdict_where_a_few_sessions_were_slow(folder: Folder) -> None:
    """3 ms and 18 ms came of runs of the same scenario: a machine that was busy for moments."""
    slow = [folder(replace(AFTER, lateness_ns=lambda k, at=at: at * 1_000_000 if k % 50 == 0 else 100_000))  # type: ignore[misc]
            for at in (2, 8)]  # fmt: skip
    found = compare_runs(slow, plots=False)
    assert verdicts(found)["session, p99"] == "no difference shown"


def test_a_median_of_single_runs_needs_half_as_much_again_and_one_of_repeats_less(folder: Folder) -> None:
    """2.2 and 2.78 ms, from one run each: what runs of the same differ by."""
    before, after = (
        [folder(replace(AFTER, lateness_ns=lambda k, to=to: round(to * 1e6))) for _ in range(3)]  # type: ignore[misc]
        for to in (0.88, 1.46)
    )
    one = compare_runs([before[0], after[0]], plots=False)
    row = next(row for row in one.rows if row.quantity == "session, p50")
    assert [round(value.value or 0, 2) for value in row.values] == [2.2, 2.78]
    assert row.verdicts == ["no difference shown"]
    assert verdicts(compare_runs([before, after], plots=False))["session, p50"] == "worse"


def test_the_spread_between_runs_has_its_worked_number() -> None:
    found = between_runs(Measured(value=2, low=1.9, high=2.1), 1.35)
    assert (found.low, found.high) == pytest.approx((1.475, 2.711), abs=0.001)
    assert between_runs(Measured(value=2), 1.35) == Measured(value=2)


def test_the_other_way_round_is_worse(both: tuple[Path, Path]) -> None:
    assert verdicts(compare_runs(both[::-1], plots=False))["sustained transfer rate"] == "worse"


def test_an_invalid_run_is_compared_with_nothing(folder: Folder) -> None:
    found = compare_runs([folder(BEFORE), folder(Story(duration_s=8, counts_off={"connects": 1}))], plots=False)
    assert not found.comparable
    assert set(verdicts(found).values()) == {"not comparable"}
    assert found.exit_code is ExitCode.INVALID_RUN
    assert "is invalid" in found.warnings[0]


def test_another_host_is_a_warning(both: tuple[Path, Path]) -> None:
    for name in ("plan.json", "manifest.json"):
        written = json.loads((both[1] / name).read_text())
        written["host"] |= {"hostname_hash": "ffff", "kernel": "7.0"}
        (both[1] / name).write_text(json.dumps(written))
    found = compare_runs(both, plots=False)
    assert found.warnings[:2] == ["after ran on another host than base", "after ran on another kernel than base"]


def test_one_run_cannot_be_compared(both: tuple[Path, Path]) -> None:
    with pytest.raises(UsageError, match="at least two runs"):
        compare_runs(both[:1])


@pytest.mark.parametrize(
    ("expression", "failed"),
    [
        ("transfers.sustained.rate_per_s<-5%", False),
        ("transfers.sustained.rate_per_s>5%", True),
        ("sessions.failed>0", False),
        ("sessions.failed<=-100", True),
        ("sessions.dropped>5%", False),
        ("transfers.nosuch<-5%", True),
        ("scenario>0", True),
    ],
)
def test_fail_on_looks_at_the_change(both: tuple[Path, Path], expression: str, failed: bool) -> None:
    found = compare_runs(both, plots=False, fail_on=[expression])
    assert found.fail_on[0].failed is failed
    assert found.exit_code is (ExitCode.EXPECTATION_FAILED if failed else ExitCode.PASS)


def test_a_change_in_per_cent_of_nothing_fails_with_the_reason(both: tuple[Path, Path]) -> None:
    (found,) = compare_runs(both[::-1], plots=False, fail_on=["sessions.failed>5%"]).fail_on
    assert found.failed
    assert "no change in per cent" in (found.reason or "")


@pytest.mark.parametrize("text", ["", "transfers", "a.b<5ms", "a.b==5", "a..b<5", "<5%"])
def test_a_bad_expression_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match=r"such as transfers\.sustained"):
        parse_fail_on(text)


def test_wilsons_interval_has_its_worked_number() -> None:
    found = wilson(5, 100)
    assert (found.value, found.low, found.high) == pytest.approx((5, 2.154, 11.175), abs=0.001)
    assert wilson(0, 0).value is None


@given(st.integers(1, 10_000).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_an_interval_of_a_share_contains_it_and_stays_a_share(pair: tuple[int, int]) -> None:
    found = wilson(*pair)
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.value + 1e-9
    assert found.value - 1e-9 <= found.high <= 100


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300), st.sampled_from([50, 90, 99]))
def test_an_interval_of_a_percentile_contains_it(values: list[float], percent: float) -> None:
    found = quantile_interval(np.sort(values), percent)
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.value <= found.high


def test_flatten_gives_leaves_by_dotted_key() -> None:
    assert dict(flatten({"a": {"b": [1, {"c": None}]}, "d": {}})) == {"a.b.0": 1, "a.b.1.c": None, "d": {}}


# --- several runs in one column, a kept baseline, what was predicted --------------------------------------------------


def test_one_run_each_is_said(both: tuple[Path, Path]) -> None:
    found = compare_runs(both, plots=False)
    assert [warning for warning in found.warnings if warning.startswith("each column rests on one run")]
    assert found.runs[0].method == "bootstrap over 4 blocks of time"


def test_repeats_make_one_column_whose_interval_holds_what_they_gave(folder: Folder) -> None:
    before = [folder(replace(BEFORE, ports=ports, label="before")) for ports in (18, 20, 22)]
    after = [folder(replace(AFTER, label="after")) for _ in range(3)]
    found = compare_runs([before, after], plots=False)
    assert [run.repeats for run in found.runs] == [3, 3]
    rate = found.rows[0]
    assert rate.values[0].low is not None
    assert rate.values[0].high is not None
    assert rate.values[0].low < 9.5 < 10.4 < rate.values[0].high  # N/H of 18 to 22 ports: 9 to 11
    assert rate.verdicts == ["better"]
    assert found.runs[0].method.startswith("bootstrap over 3 runs and the 12 blocks")
    # they are no repeats, and that is said
    assert found.warnings == ["the runs of before are no repeats: they differ in target.emulator.passive_ports"]


def test_runs_of_one_column_that_lie_far_apart_hide_a_difference_that_one_pair_would_show(folder: Folder) -> None:
    apart = [folder(replace(BEFORE, ports=ports)) for ports in (10, 20, 30)]
    near = [folder(replace(BEFORE, ports=23)) for _ in range(3)]
    assert verdicts(compare_runs([apart, near], plots=False))["sustained transfer rate"] == "no difference shown"
    assert verdicts(compare_runs([apart[1:2], near[:1]], plots=False))["sustained transfer rate"] == "better"


def test_the_predicted_gain_stands_beside_the_measured_one(both: tuple[Path, Path]) -> None:
    found = compare_runs(both, plots=False)
    rate = found.rows[0]
    assert rate.predicted[0] == pytest.approx(9.95, abs=0.1)
    assert rate.predicted[1] == pytest.approx(97, abs=0.5)
    assert rate.predicted_differences[0] == pytest.approx(rate.differences[0], rel=0.02)
    failed = next(row for row in found.rows if row.quantity == "share of sessions that failed")
    assert failed.predicted_differences[0] == pytest.approx(failed.differences[0], rel=0.05)


def test_the_whole_comparison_has_a_verdict_too(both: tuple[Path, Path], folder: Folder) -> None:
    assert compare_runs(both, plots=False).verdicts == ["better"]
    assert compare_runs(both[::-1], plots=False).verdicts == ["worse"]
    assert compare_runs([folder(BEFORE), folder(BEFORE)], plots=False).verdicts == ["no difference shown"]


def test_a_difference_has_an_interval_that_holds_it(both: tuple[Path, Path]) -> None:
    for row in compare_runs(both, plots=False).rows:
        if row.intervals[0] is not None:
            assert row.differences[0] is not None
            assert row.intervals[0][0] <= row.differences[0] <= row.intervals[0][1]


def test_a_kept_summary_serves_as_baseline(both: tuple[Path, Path], tmp_path: Path) -> None:
    from ftpstorm.report.build import build_report

    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps(build_report(both[0], plots=False).to_json()))
    found = compare_runs(both[1:], tmp_path / "out", baseline=kept, fail_on=["sessions.failed>0"])
    assert [run.name for run in found.runs] == ["baseline", "after"]
    assert verdicts(found)["sustained transfer rate"] == "better"
    assert verdicts(found)["share of sessions that failed"] == "better"
    assert verdicts(found)["session, p50"] == "not comparable"  # of its latencies nothing but the percentiles is left
    assert found.settings == []
    assert found.exit_code is ExitCode.PASS


def test_a_baseline_that_is_no_summary_is_refused(both: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        compare_runs(both[1:], baseline=tmp_path / "nosuch.json")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(UsageError, match=r"is no summary\.json"):
        compare_runs(both[1:], baseline=tmp_path / "other.json")


def test_a_simulated_run_beside_a_measured_one_is_a_warning_and_its_picture_is_marked(
    folder: Folder, tmp_path: Path
) -> None:
    found = compare_runs([folder(BEFORE), folder(replace(AFTER, status="simulated"))], tmp_path / "out")
    assert "after was simulated, the other one measured" in found.warnings
    assert found.runs[1].marks == ["simulated: no packet was sent"]


# --- what is no comparison --------------------------------------------------------------------------------------------


def test_a_run_that_was_offered_less_and_carried_it_is_no_slower(folder: Folder) -> None:
    more, less = (folder(Story(rate=rate, duration_s=20, ports=200, expect=None, label=f"{rate}")) for rate in (9, 5))
    for order in ((more, less), (less, more)):
        row = compare_runs(order, plots=False).rows[0]
        assert row.verdicts == ["not comparable"]
        assert (row.reasons[0] or "").startswith("5 was offered less (5/s; 9 9/s) and nothing ran out")


def test_why_a_figure_is_not_compared_stands_on_the_page(folder: Folder, tmp_path: Path) -> None:
    two = [folder(Story(rate=rate, duration_s=20, ports=200, expect=None)) for rate in (9, 5)]
    row = compare_runs(two, tmp_path / "out", plots=False).rows[0]
    assert row.reasons[0] is not None
    assert row.reasons[0] in (tmp_path / "out" / "compare.html").read_text(encoding="utf-8")


def test_a_pool_that_ran_out_under_a_smaller_load_is_compared(folder: Folder) -> None:
    """Its rate is a limit of the pool: more load would not have carried more."""
    less, more = folder(Story(rate=50, duration_s=8)), folder(Story(rate=97, duration_s=8, ports=1000, expect=None))
    assert verdicts(compare_runs([less, more], plots=False))["sustained transfer rate"] == "better"


def test_closed_loads_offer_what_they_carry_and_are_compared(tmp_path: Path) -> None:
    """A slot that is done sooner starts the next session: that is what such a load measures."""
    load = {"only": {"executor": "constant-sessions", "sessions": 2, "duration": "2s", "flow": "download"}}
    made = []
    for number, delay in enumerate(("20ms", "60ms")):
        file = tmp_path / f"short-{number}.yaml"
        target = {"emulator": {"passive_ports": 500, "delay": delay}}
        file.write_text(json.dumps(scenario_of(load=load, target=target)))
        made.append(make_folder(SimulateOptions(scenario=str(file), out=str(tmp_path / f"out-{number}"))))
    row = compare_runs(made, plots=False).rows[0]
    assert row.verdicts == ["worse"]
    assert row.reasons == [None]


def test_one_run_twice_is_refused(both: tuple[Path, Path], tmp_path: Path) -> None:
    before, after = both
    (tmp_path / "link").symlink_to(before)
    for columns in ([[before] * 8, after], [before, before], [[before, tmp_path / "link"], after]):
        with pytest.raises(UsageError, match="run-0 is given twice"):
            compare_runs(columns, plots=False)


def test_a_copy_of_a_run_is_no_repeat(both: tuple[Path, Path], tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(both[0], copy)
    with pytest.raises(UsageError, match="run-0 and copy are the same run"):
        compare_runs([[both[0], copy], both[1]], plots=False)


def test_a_kept_baseline_of_the_run_itself_is_refused(both: tuple[Path, Path], tmp_path: Path) -> None:
    from ftpstorm.report.build import build_report

    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps(build_report(both[0], plots=False).to_json()))
    with pytest.raises(UsageError, match="the baseline and run-0 are the same run"):
        compare_runs(both[:1], baseline=kept)
