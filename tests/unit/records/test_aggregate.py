"""Aggregates: nearest-rank percentiles, whole bins, every failure once, phases that leave out what failed in them."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.records import aggregate
from ftpstorm.records.reader import Readings, Rows, Run, open_run, row_dtype
from ftpstorm.records.schema import ABSENT, OPERATIONS, SESSIONS
from ftpstorm.units import NS_PER_MS, NS_PER_S
from ftpstorm.vocabulary import FailureClass, Operation, Outcome, Phase
from support.results_folder import REPLY, Fault, Story, write_results


def read(folder: Path, story: Story) -> Run:
    return open_run(write_results(folder / "run", story))


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=200), st.floats(0.1, 100))
def test_a_percentile_is_the_smallest_value_that_enough_values_do_not_exceed(values: list[int], percent: float) -> None:
    found = aggregate.percentile(np.array(values), percent)
    assert found in values
    assert sum(value <= found for value in values) >= percent / 100 * len(values) - 1e-9
    smaller = [value for value in values if value < found]
    assert len(smaller) < percent / 100 * len(values) + 1e-9


def test_no_values_have_no_percentile() -> None:
    assert aggregate.percentile(np.zeros(0), 50) is None
    assert aggregate.percentiles(np.zeros(0), (50, 99)) is None


def test_rate_bins_leave_out_a_last_bin_that_is_not_whole() -> None:
    instants = np.array([0, NS_PER_S // 2, NS_PER_S, 2 * NS_PER_S + 1])
    edges, rates = aggregate.rate_bins(instants, 0, 2 * NS_PER_S + NS_PER_S // 2, NS_PER_S)
    assert edges.tolist() == [0, NS_PER_S]
    assert rates.tolist() == [2.0, 1.0]
    _, rates = aggregate.rate_bins(np.array([0, NS_PER_S]), 0, NS_PER_S, NS_PER_S)
    assert rates.tolist() == [1.0], "a bin does not hold its right edge"


def test_rate_bins_count_every_instant_once() -> None:
    instants = np.arange(1, 10 * NS_PER_S, NS_PER_S // 97)
    _, rates = aggregate.rate_bins(instants, 0, 10 * NS_PER_S, NS_PER_S // 2)
    assert rates.sum() / 2 == len(instants)


def test_a_series_has_its_last_value_until_the_next_reading() -> None:
    readings = Readings(np.array([10, 20]), np.array([1.0, 2.0]))
    assert aggregate.at(readings, np.array([5, 10, 19, 20, 99])).tolist() == [0, 1, 1, 2, 2]


def test_in_flight_counts_what_is_open() -> None:
    readings = aggregate.in_flight(np.array([0, 1, 5]), np.array([3, 5, 9]))
    assert aggregate.at(readings, np.array([0, 1, 3, 5, 9])).tolist() == [1, 2, 1, 1, 0]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10)), max_size=40))
def test_the_most_in_flight_is_the_highest_count_of_what_is_open(intervals: list[tuple[int, int]]) -> None:
    starts = np.array([start for start, _ in intervals], np.int64)
    ends = np.array([start + length for start, length in intervals], np.int64)
    open_at = [int(np.count_nonzero((starts <= t) & (t < ends))) for t in range(41)]
    assert aggregate.most_in_flight(starts, ends) == max(open_at)


def test_each_failure_counts_once_whether_inside_or_outside_an_operation(tmp_path: Path) -> None:
    refused = Fault(FailureClass.CONTROL_CONNECT_REFUSED, Phase.CONTROL_CONNECT, errno=111)
    busy = Fault(FailureClass.BUSY_AT_LOGIN, Phase.LOGIN, 421, text="421 Too many")
    run = read(
        tmp_path, Story(duration_s=1, ports=10, fault=lambda k, _: refused if k == 3 else busy if k == 4 else None)
    )
    found = aggregate.failures(run.sessions, run.operations)
    groups = {group.failure: group for group in aggregate.failure_groups(found, run.sessions.data)}
    assert {failure: group.count for failure, group in groups.items()} == {
        FailureClass.PASSIVE_EXHAUSTED: 97 - 10 - 2,
        FailureClass.CONTROL_CONNECT_REFUSED: 1,
        FailureClass.BUSY_AT_LOGIN: 1,
    }
    assert groups[FailureClass.PASSIVE_EXHAUSTED].survived == 85
    assert groups[FailureClass.BUSY_AT_LOGIN].survived == 0
    assert (np.diff(found.data["t_ns"]) >= 0).all()
    first = found.data[groups[FailureClass.PASSIVE_EXHAUSTED].first]
    assert found.texts[int(first["text"])] == REPLY
    assert int(first["local_port"]) == 33_000 + int(first["session"])


def test_a_phase_leaves_out_what_failed_in_it(tmp_path: Path) -> None:
    run = read(tmp_path, Story(duration_s=1, ports=10))
    found = aggregate.phase_durations(run.sessions.data, run.operations.data)
    assert (len(found["passive"].ns), found["passive"].excluded) == (10, 87)
    assert set(found["passive"].ns.tolist()) == {200_000}
    assert (len(found["login"].ns), found["login"].excluded) == (97, 0)
    assert len(found["tls"].ns) == 0


def test_a_phase_that_failed_is_left_out_even_where_its_end_is_on_record(tmp_path: Path) -> None:
    run = read(tmp_path, Story(duration_s=1, ports=97))
    run.operations.data["phase"][run.operations.data["session"] < 7] = Phase.PASSIVE
    run.operations.data["class"][run.operations.data["session"] < 7] = FailureClass.PASSIVE_OUT_OF_RANGE
    found = aggregate.phase_durations(run.sessions.data, run.operations.data)
    assert (len(found["passive"].ns), found["passive"].excluded) == (90, 7)
    assert len(found["data_connect"].ns) == 97


def test_session_latency_counts_from_the_intended_start(tmp_path: Path) -> None:
    run = read(tmp_path, Story(duration_s=1, ports=100, lateness_ns=lambda k: 40 * NS_PER_MS))
    found = aggregate.phase_durations(run.sessions.data, run.operations.data)
    assert (found["session"].ns - found["session_actual"].ns == 40 * NS_PER_MS).all()
    assert set(aggregate.lateness(run.sessions.data).tolist()) == {40 * NS_PER_MS}


def test_dropped_sessions_are_excluded_from_session_latency_and_have_no_lateness(tmp_path: Path) -> None:
    run = read(tmp_path, Story(duration_s=1, ports=100, dropped=frozenset({1, 2})))
    found = aggregate.phase_durations(run.sessions.data, run.operations.data)
    assert (len(found["session"].ns), found["session"].excluded, found["session_actual"].excluded) == (95, 2, 0)
    assert len(aggregate.lateness(run.sessions.data)) == 95


def test_failures_of_rows_that_name_no_writer_are_gathered_too(tmp_path: Path) -> None:
    """Those of a run that still goes on, read for its metrics."""
    run = read(tmp_path, Story(duration_s=1, ports=10))
    run.sessions.data["text"] = run.operations.data["text"] = 0
    assert len(aggregate.failures(Rows(run.sessions.data), Rows(run.operations.data))) == 87


def test_an_empty_run_aggregates_to_nothing(tmp_path: Path) -> None:
    run = read(tmp_path, Story(duration_s=1, until_s=0.0))
    found = aggregate.failures(run.sessions, run.operations)
    assert aggregate.failure_groups(found, run.sessions.data) == []
    assert len(aggregate.success_instants(aggregate.transfers(run.operations.data))) == 0


@pytest.mark.parametrize("percent", [0, 50, 55, 56, 90, 95, 99, 99.9, 99.99, 100])
@pytest.mark.parametrize("count", [1, 7, 100, 1000, 3000, 10_000])
def test_a_percentile_is_the_nearest_rank(count: int, percent: float) -> None:
    values = np.arange(1, count + 1)[::-1].copy()
    rank = max(1, math.ceil(Fraction(str(percent)) * count / 100))
    assert aggregate.percentile(values, percent) == rank


# --- who entered a phase and did not complete it ----------------------------------------------------------------------


def began(count: int, **stamps: int) -> Any:
    """Return sessions that started at 0 and got as far as `stamps` say."""
    rows = np.zeros(count, row_dtype(SESSIONS))
    for name in ("connected_ns", "tls_ns", "greeting_ns", "login_ns"):
        rows[name] = stamps.get(name, ABSENT)
    rows["session"] = np.arange(count)
    rows["outcome"] = Outcome.SUCCEEDED
    rows["end_ns"] = 99
    return rows


def excluded_of(sessions: Any, operations: Any | None = None) -> dict[str, int]:
    """Return what each phase excludes, phases that exclude nothing left out."""
    none = np.zeros(0, row_dtype(OPERATIONS))
    found = aggregate.phase_durations(sessions, none if operations is None else operations)
    return {name: spans.excluded for name, spans in found.items() if spans.excluded and not name.startswith("session")}


@pytest.mark.parametrize("got", [{"greeting_ns": 2}, {}], ids=["explicit", "implicit"])
def test_sessions_that_fail_in_tls_have_entered_it(got: dict[str, int]) -> None:
    rows = began(10, connected_ns=1, tls_ns=3, greeting_ns=got.get("greeting_ns", 4), login_ns=5)
    rows[7:] = began(3, connected_ns=1, **got)
    rows["outcome"][7:], rows["class"][7:], rows["phase"][7:] = Outcome.FAILED, FailureClass.TLS_FAILED, Phase.TLS
    assert excluded_of(rows) == {"tls": 3}
    assert len(aggregate.phase_durations(rows, np.zeros(0, row_dtype(OPERATIONS)))["tls"].ns) == 7


@pytest.mark.parametrize(
    ("got", "phase"), [({}, "control_connect"), ({"connected_ns": 1}, "greeting")], ids=["connecting", "unwelcomed"]
)
def test_sessions_cut_off_in_a_phase_did_not_complete_it(got: dict[str, int], phase: str) -> None:
    rows = began(10, connected_ns=1, greeting_ns=2, login_ns=3)
    rows[7:] = began(3, **got)
    rows["outcome"][7:] = Outcome.INTERRUPTED
    assert excluded_of(rows) == {phase: 3}


@pytest.mark.parametrize("got", [{"greeting_ns": 2}, {}], ids=["explicit", "implicit"])
def test_sessions_cut_off_in_tls_did_not_complete_it(got: dict[str, int]) -> None:
    """That the run speaks TLS, and from when on, the others tell."""
    rows = began(10, connected_ns=1, tls_ns=3, greeting_ns=got.get("greeting_ns", 4), login_ns=5)
    rows[7:] = began(3, connected_ns=1, **got)
    rows["outcome"][7:] = Outcome.INTERRUPTED
    assert excluded_of(rows) == {"tls": 3}


def test_a_session_cut_off_while_it_logs_in_did_not_complete_that_and_one_that_never_tried_did_not_enter_it() -> None:
    rows = began(10, connected_ns=1, greeting_ns=2, login_ns=3)
    rows[6:] = began(4, connected_ns=1, greeting_ns=2)
    rows["session"], rows["outcome"][6:] = np.arange(10), Outcome.INTERRUPTED
    steps = np.zeros(2, row_dtype(OPERATIONS))
    steps["session"], steps["operation"], steps["outcome"] = (8, 9), Operation.LOGIN, Outcome.INTERRUPTED
    assert excluded_of(rows, steps) == {"login": 2}


@pytest.mark.parametrize(
    ("stamps", "phase"),
    [
        ((), "passive"),
        (("passive_ns",), "data_connect"),
        (("passive_ns", "data_connected_ns"), "first_byte"),
        (("passive_ns", "data_connected_ns", "first_byte_ns"), "transfer"),
        (("passive_ns", "data_connected_ns", "first_byte_ns", "data_end_ns"), "final_reply"),
    ],
)
def test_a_transfer_cut_off_in_a_phase_did_not_complete_it(stamps: tuple[str, ...], phase: str) -> None:
    moved = np.zeros(3, row_dtype(OPERATIONS))
    for name in ("passive_ns", "data_connected_ns", "first_byte_ns", "data_end_ns"):
        moved[name] = 1 if name in stamps else ABSENT
    moved["operation"], moved["outcome"] = Operation.RETR, Outcome.INTERRUPTED
    rows = began(3, connected_ns=1, greeting_ns=2, login_ns=3)
    rows["outcome"] = Outcome.INTERRUPTED
    assert excluded_of(rows, moved) == {phase: 3}
