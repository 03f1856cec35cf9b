from __future__ import annotations

import numpy as np
import pytest

from ftpstorm.records.reader import Readings
from ftpstorm.report.graph import BUCKETS, TABLE_ROWS, Graph, View, rounded, sampled_panel, share_text, tables, to_json
from ftpstorm.units import NS_PER_S


def series(pairs: list[tuple[float, float]]) -> Readings:
    return Readings(
        np.array([round(t * NS_PER_S) for t, _ in pairs], np.int64), np.array([v for _, v in pairs], np.float64)
    )


def test_series_of_different_pace_share_one_axis_and_each_holds_between_its_readings() -> None:
    panel = sampled_panel("n", [("a", series([(0, 1), (2, 3)])), ("b", series([(1, 7)]))], 5 * NS_PER_S)
    assert panel.x.tolist() == [0, 1, 2]
    assert panel.lines[0].values.tolist() == [1, 1, 3]
    assert [rounded(value) for value in panel.lines[1].values.tolist()] == [None, 7, None]


def test_readings_before_the_start_and_after_the_end_are_left_out() -> None:
    panel = sampled_panel("n", [("a", series([(-1, 50), (0, 1), (5, 2), (6, 90)]))], 5 * NS_PER_S)
    assert panel.lines[0].values.tolist() == [1, 2]


def test_a_limit_is_a_dashed_line_as_long_as_the_rest() -> None:
    panel = sampled_panel("n", [("a", series([(0, 1), (2, 3)]))], 5 * NS_PER_S, limit=("there are 9", 9))
    assert panel.lines[-1].dashed
    assert panel.lines[-1].values.tolist() == [9, 9]


@pytest.mark.parametrize("stacked", [False, True])
def test_a_long_series_is_reduced_and_keeps_its_one_spike(stacked: bool) -> None:
    values = [(t / 10, 5.0) for t in range(20_000)]
    values[12_345] = (1234.5, 900.0)
    panel = sampled_panel("n", [("a", series(values))], 2000 * NS_PER_S, stacked=stacked)
    assert len(panel.x) <= 2 * BUCKETS
    assert float(np.nanmax(panel.lines[0].values)) == 900


def test_stacked_lines_are_shown_as_they_were_together() -> None:
    """Of two states of one pool of 20 the sum never exceeds 20, although each alone reaches 20 in every stretch."""
    up = [(t / 10, 20.0 if t % 2 else 0.0) for t in range(20_000)]
    down = [(t / 10, 0.0 if t % 2 else 20.0) for t in range(20_000)]
    panel = sampled_panel("n", [("a", series(up)), ("b", series(down))], 2000 * NS_PER_S, stacked=True)
    assert max(panel.lines[0].values + panel.lines[1].values) == 20


def test_the_json_holds_five_digits_and_null_for_what_is_missing() -> None:
    panel = sampled_panel("n", [("a", series([(0, 1.23456789), (2, 3)])), ("b", series([(1, 7)]))], 5 * NS_PER_S)
    made = to_json([Graph("g", "t", "alt", [View("", [panel])])], 5 * NS_PER_S)
    lines = made["graphs"][0]["views"][0]["panels"][0]["lines"]
    assert lines[0]["values"] == [1.2346, 1.2346, 3]
    assert lines[1]["values"] == [None, 7, None]
    assert made["to"] == 5


def test_the_table_says_the_highest_of_each_stretch() -> None:
    values = [(float(t), float(t % 50)) for t in range(1000)]
    panel = sampled_panel("n", [("a", series(values))], 1000 * NS_PER_S)
    (table,) = tables(Graph("g", "t", "alt", [View("", [panel])]))
    assert len(table.rows) == TABLE_ROWS
    assert {row[1] for row in table.rows} == {"49"}
    assert [row[0] for row in table.rows[:2]] == ["0 s", "50 s"]


@pytest.mark.parametrize(("x", "text"), [(0, "0 %"), (1, "90 %"), (3, "99.9 %")])
def test_a_share_is_written_as_a_percentage(x: float, text: str) -> None:
    assert share_text(x) == text
