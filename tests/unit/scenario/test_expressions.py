"""Conditions of thresholds and expectations: what they mean, and what a wrong one is told."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.scenario.expressions import DURATIONS, METRICS, TAGS, parse_expression, parse_metric
from ftpstorm.units import format_duration


@pytest.mark.parametrize(
    ("text", "aggregation", "percentile", "comparison", "value", "unit"),
    [
        ("p(99)<50ms", "p", 99.0, "<", 50e6, "ns"),
        ("p(99.9) <= 1.5s", "p", 99.9, "<=", 1.5e9, "ns"),
        ("count==0", "count", None, "==", 0.0, ""),
        ("count>0", "count", None, ">", 0.0, ""),
        ("rate>=97/s", "rate", None, ">=", 97.0, "/s"),
        ("rate>=60/min", "rate", None, ">=", 1.0, "/s"),
        (" share != 0.01 ", "share", None, "!=", 0.01, ""),
        ("med<2m", "med", None, "<", 120e9, "ns"),
    ],
)
def test_a_condition_is_read_with_its_unit(
    text: str, aggregation: str, percentile: float | None, comparison: str, value: float, unit: str
) -> None:
    read = parse_expression(text)
    assert (read.text, read.aggregation, read.percentile) == (text, aggregation, percentile)
    assert (read.comparison, read.value, read.unit) == (comparison, value, unit)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no condition"),
        ("count", "no condition"),
        ("count=0", "no condition"),
        ("count>", "no condition"),
        ("p(99)", "no condition"),
        ("p99<5ms", "no condition"),
        ("p(101)<5ms", "between 0 and 100"),
        ("mean<5ms", "no aggregation"),
        ("p(-1)<5ms", "no condition"),
        ("count>many", "no number, duration, size or rate"),
        ("avg<5 ms", "no condition"),
        ("avg<5parsec", "no number"),
        ("rate<0.01", "needs its unit, such as rate<97/s; a part of all, from 0 to 1, is a share: share<0.01"),
        ("rate>=97", "needs its unit, such as rate>=97/s"),
        ("rate<5s", "needs its unit"),
        ("p(99)<50", "of durations, so compare it with one, such as p\\(99\\)<50ms"),
        ("avg<4KiB", "such as avg<50ms"),
        ("med<5/s", "such as med<50ms"),
        ("count<5s", "plain number"),
        ("share<1s", "plain number"),
    ],
)
def test_a_wrong_condition_is_told_what_one_looks_like(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_expression(text)


@pytest.mark.parametrize(
    ("comparison", "below", "equal", "above"),
    [
        ("<", True, False, False),
        ("<=", True, True, False),
        ("==", False, True, False),
        ("!=", True, False, True),
        (">=", False, True, True),
        (">", False, False, True),
    ],
)
def test_each_comparison_has_the_measured_value_on_its_left(
    comparison: str, below: bool, equal: bool, above: bool
) -> None:
    condition = parse_expression(f"count{comparison}5")
    assert (condition.holds(4), condition.holds(5), condition.holds(6)) == (below, equal, above)


@given(
    st.sampled_from([*sorted(DURATIONS - {"p"}), "p(99)"]),
    st.sampled_from(("<", "<=", "==", "!=", ">=", ">")),
    st.integers(min_value=0, max_value=10**15),
)
def test_any_aggregation_comparison_and_duration_read_back(aggregation: str, comparison: str, value_ns: int) -> None:
    read = parse_expression(f"{aggregation}{comparison}{format_duration(value_ns)}")
    assert (read.aggregation, read.comparison, read.value) == (aggregation.partition("(")[0], comparison, value_ns)


@given(st.text(max_size=30))
def test_any_other_text_is_a_value_error_and_nothing_else(text: str) -> None:
    for parse in (parse_expression, parse_metric):
        with contextlib.suppress(ValueError):
            parse(text)


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_read_bare_and_with_every_tag(name: str) -> None:
    assert parse_metric(name).tags == ()
    tagged = parse_metric(f"{name}{{{','.join(f'{tag}:x' for tag in TAGS)}}}")
    assert (tagged.name, tagged.tags) == (name, tuple((tag, "x") for tag in TAGS))


def test_blanks_in_tags_do_not_matter() -> None:
    assert parse_metric("failures{ load : steady , class:passive-exhausted }").tags == (
        ("load", "steady"),
        ("class", "passive-exhausted"),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data_conect", "no metric"),
        ("data_connect{load}", "no tag"),
        ("data_connect{lode:x}", "no tag"),
        ("data_connect{load:x", "no metric"),
        ("", "no metric"),
    ],
)
def test_an_unknown_metric_or_tag_is_told_which_there_are(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_metric(text)
