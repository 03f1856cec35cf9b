"""Durations, sizes and rates: exact, never without a unit."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.units import (
    NS_PER_MS,
    NS_PER_S,
    Rate,
    format_duration,
    format_rate,
    format_seconds,
    format_size,
    parse_duration,
    parse_rate,
    parse_size,
)

YEAR_NS = 365 * 86_400 * NS_PER_S


@pytest.mark.parametrize(
    ("text", "expected_ns"),
    [
        ("0s", 0),
        ("1ns", 1),
        ("250us", 250_000),
        ("250ms", 250 * NS_PER_MS),
        ("2s", 2 * NS_PER_S),
        ("1.5s", 1_500 * NS_PER_MS),
        ("1m", 60 * NS_PER_S),
        ("1min", 60 * NS_PER_S),
        ("1m30s", 90 * NS_PER_S),
        ("2h", 7200 * NS_PER_S),
        ("1d", 86_400 * NS_PER_S),
        (" 2s ", 2 * NS_PER_S),
    ],
)
def test_a_duration_is_read_as_nanoseconds(text: str, expected_ns: int) -> None:
    assert parse_duration(text) == expected_ns


@pytest.mark.parametrize("text", ["", "2", "2 s", "s", "-2s", "2sec", "1,5s", "1e3s", "2s3", "٣s", "1.s", ".5s"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="250ms, 2s or 1m30s"):
        parse_duration(text)


def test_a_duration_finer_than_a_nanosecond_is_refused() -> None:
    with pytest.raises(ValueError, match="finer than a nanosecond"):
        parse_duration("0.1ns")


def test_digits_beyond_the_precision_of_decimals_are_not_rounded_away() -> None:
    with pytest.raises(ValueError, match="finer"):
        parse_duration("123456789012345678.0000000000001s")
    assert parse_duration("12345678901234567890123456789012345s") == 12345678901234567890123456789012345 * NS_PER_S


@given(st.integers(min_value=0, max_value=100 * YEAR_NS))
def test_a_formatted_duration_reads_back_exactly(duration_ns: int) -> None:
    assert parse_duration(format_duration(duration_ns)) == duration_ns


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0B", 0),
        ("1024B", 1024),
        ("1KiB", 1024),
        ("1kB", 1000),
        ("1 MiB", 1 << 20),
        ("1.5MB", 1_500_000),
        ("2GiB", 2 << 30),
        ("1TB", 10**12),
    ],
)
def test_a_size_tells_binary_and_decimal_units_apart(text: str, expected: int) -> None:
    assert parse_size(text) == expected


@pytest.mark.parametrize("text", ["", "1024", "1K", "1kb", "1KB", "-1B", "1 B B", "0x10B"])
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"512B, 4KiB or 1\.5MB"):
        parse_size(text)


def test_part_of_a_byte_is_refused() -> None:
    with pytest.raises(ValueError, match="whole number of bytes"):
        parse_size("0.3B")


@pytest.mark.parametrize(
    ("text", "per_s"),
    [
        ("97/s", Fraction(97)),
        ("0.5/s", Fraction(1, 2)),
        ("10/min", Fraction(1, 6)),
        ("10/m", Fraction(1, 6)),
        ("1200/h", Fraction(1, 3)),
        ("1/d", Fraction(1, 86_400)),
        ("0/s", Fraction(0)),
    ],
)
def test_a_rate_is_an_exact_fraction(text: str, per_s: Fraction) -> None:
    assert parse_rate(text) == Rate(per_s)


@pytest.mark.parametrize("text", ["97", "97/", "/s", "97 /s", "-1/s", "97/ms", "97/sec", ""])
def test_a_rate_without_a_unit_of_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="97/s, 10/min or 1200/h"):
        parse_rate(text)


def test_the_worked_number_of_an_even_rate() -> None:
    rate = parse_rate("97/s")
    assert rate.count_before(20 * NS_PER_S) == 1940
    assert rate.instant_ns(1939) == 19_989_690_721


@given(
    st.fractions(min_value=Fraction(1, 10**6), max_value=10**6),
    st.integers(min_value=0, max_value=100 * NS_PER_S),
)
def test_count_before_counts_exactly_the_events_that_are_due_in_time(per_s: Fraction, duration_ns: int) -> None:
    rate = Rate(per_s)
    count = rate.count_before(duration_ns)
    if count:
        assert Fraction(count - 1) / per_s * NS_PER_S < duration_ns
    assert Fraction(count) / per_s * NS_PER_S >= duration_ns


@given(st.fractions(min_value=Fraction(1, 10**6), max_value=10**6), st.integers(min_value=0, max_value=10**9))
def test_instants_never_accumulate_error(per_s: Fraction, k: int) -> None:
    exact = Fraction(k) / per_s * NS_PER_S
    assert 0 <= exact - Rate(per_s).instant_ns(k) < 1


def test_nothing_happens_at_rate_zero_or_in_no_time() -> None:
    assert Rate(Fraction(0)).count_before(NS_PER_S) == 0
    assert Rate(Fraction(5)).count_before(0) == 0


@pytest.mark.parametrize(
    ("duration_ns", "expected"),
    [
        (0, "0 us"),
        (840_000, "840 us"),
        (999_999, "1 ms"),
        (12_500_000, "12.5 ms"),
        (999_999_999, "1 s"),
        (2_010_000_000, "2.01 s"),
        (61 * NS_PER_S, "61 s"),
        (119_990_000_000, "2 min"),
        (200 * NS_PER_S, "3 min 20 s"),
        (7200 * NS_PER_S, "120 min"),
        (-12_500_000, "-12.5 ms"),
    ],
)
def test_a_duration_for_people_stands_in_the_unit_that_suits_it(duration_ns: int, expected: str) -> None:
    assert format_seconds(duration_ns) == expected


@given(st.floats(min_value=0, max_value=1e15, allow_nan=False))
def test_figures_for_people_never_have_an_exponent(value: float) -> None:
    for text in (format_seconds(value), format_size(value), format_rate(value)):
        large = re.search(r"e\+", text)
        assert large is None, text


@pytest.mark.parametrize(
    ("size_bytes", "expected"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (3_435_973_837, "3.2 GiB"), (5 * 1024**4, "5 TiB")],
)
def test_a_size_for_people_has_binary_units(size_bytes: int, expected: str) -> None:
    assert format_size(size_bytes) == expected


@pytest.mark.parametrize(
    ("per_s", "expected"),
    [(0, "0/s"), (9.94, "9.94/s"), (28_232.4, "28232/s"), (1 / 12, "5/min"), (1 / 3600, "1/h"), (0.1, "0.1/s")],
)
def test_a_slow_rate_is_shown_a_minute_or_an_hour(per_s: float, expected: str) -> None:
    assert format_rate(per_s) == expected


def test_a_rate_prints_as_people_read_it() -> None:
    assert str(parse_rate("5/min")) == "5/min"
