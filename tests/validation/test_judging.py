"""The rules that the theory is judged by, and the distance of curves, on values made up for it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ftpstorm.records.reader import Readings
from validation.curves import distance_of
from validation.judging import Verdict, compared
from validation.situations import FILE, read_situations
from validation.verify import merged

S = 1_000_000_000


@pytest.mark.parametrize(
    ("quantity", "predicted", "measured", "verdict"),
    [
        ("sessions succeeded", 60, 60, "agrees"),
        ("sessions succeeded", 60, 61, "disagrees"),
        ("failures: passive-exhausted", 0, 1, "disagrees"),
        ("sustained transfer rate", 100, 95.1, "agrees"),
        ("sustained transfer rate", 100, 105.1, "disagrees"),
        ("first failure", 4, 4.39, "agrees"),
        ("first failure", 4, 3.59, "disagrees"),
        ("first failure", 0.2, 0.29, "agrees"),
        ("first failure", 0.2, 0.31, "disagrees"),
    ],
)
def test_counts_are_exact_and_rates_and_instants_have_their_tolerance(
    quantity: str, predicted: float, measured: float, verdict: Verdict
) -> None:
    row = compared("a situation", quantity, "", predicted, measured)
    assert row.verdict == verdict
    assert row.ratio == (measured / predicted if predicted else None)


def series(*points: tuple[float, float]) -> Readings:
    return Readings(
        np.array([int(t * S) for t, _ in points], np.int64), np.array([value for _, value in points], np.float64)
    )


T_NS = np.arange(0, 2 * S, S // 1000, dtype=np.int64)


def test_the_distance_of_curves_is_their_mean_difference_in_parts_of_the_peak() -> None:
    ramp = series((0, 0), (1, 10), (2, 10))
    assert distance_of(T_NS, ramp, ramp)[0] == 0
    distance, model, real = distance_of(T_NS, ramp, series((0, 0), (1, 9), (2, 9)))
    assert distance == pytest.approx(0.05)  # one of ten, for half of the time
    assert (model.mean(), real.mean()) == (5, 4.5)


def test_between_two_readings_the_model_is_not_asked() -> None:
    busy_between = series((0, 0), (0.2, 10), (0.8, 0), (1, 0))
    assert distance_of(T_NS, busy_between, series((0, 0), (1, 0)))[0] == 0


def test_a_curve_that_is_never_above_0_has_no_distance() -> None:
    nothing = series((0, 0), (1, 0))
    assert distance_of(T_NS, nothing, nothing)[0] is None


def test_there_are_enough_situations_and_each_says_what_it_compares() -> None:
    situations = read_situations()
    assert len(situations) >= 24
    assert sum(situation.kind == "rates" for situation in situations) >= 5
    assert all(situation.compare and situation.shows for situation in situations)


def test_a_situation_is_laid_over_the_base_key_by_key() -> None:
    text = """
base: {files: {a: 1KiB}, target: {emulator: {}}, sampling: {every: 1s}}
situations:
- {name: "One, two", shows: x, kind: counts, compare: [], scenario: {files: {b: 1KiB}, target: {server: {}}}}
"""
    (situation,) = read_situations(text)
    assert situation.slug == "one-two"
    assert situation.scenario == {
        "files": {"a": "1KiB", "b": "1KiB"},
        "target": {"server": {}},
        "sampling": {"every": "1s"},
    }


@pytest.mark.parametrize(
    ("old", "new"), [("shows:", "show:"), ("IPv6, client closes first", "connect, client closes first")]
)
def test_misspelt_keys_and_names_given_twice_are_refused(old: str, new: str) -> None:
    with pytest.raises(ValueError, match=r"situations\.yaml"):
        read_situations(FILE.read_text(encoding="utf-8").replace(old, new))


def test_a_part_of_the_situations_replaces_its_own_rows_and_keeps_the_others() -> None:
    first, second = (situation.name for situation in read_situations()[:2])
    before = json.dumps({"situations": [{"name": second, "measured": 1}, {"name": "gone", "measured": 2}]})
    rows = [{"name": first, "measured": 3}]
    assert json.loads(merged(rows, before)) == {"situations": [rows[0], {"name": second, "measured": 1}]}
    assert json.loads(merged([{"name": second, "measured": 4}], before))["situations"] == [
        {"name": second, "measured": 4}
    ]
    assert json.loads(merged(rows, "")) == {"situations": rows}
