"""Rules of the accept rate, on a clock that the test sets."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.emulator.admission import CATCH_UP_NS, Pace
from ftpstorm.units import NS_PER_S, Rate


def test_no_rate_never_waits() -> None:
    pace = Pace(None)
    for now_ns in (0, 0, 5):
        assert pace.wait_ns(now_ns) == 0
        pace.happened(now_ns)


def test_events_are_spaced_by_the_rate() -> None:
    pace = Pace(Rate(Fraction(10)))
    assert pace.wait_ns(7) == 0
    pace.happened(7)
    assert pace.wait_ns(7) == NS_PER_S // 10
    assert pace.wait_ns(7 + NS_PER_S // 10) == 0


def test_a_timer_that_is_a_little_late_does_not_lower_the_rate() -> None:
    pace = Pace(Rate(Fraction(100)))
    now_ns = 0
    for _ in range(1000):
        now_ns += pace.wait_ns(now_ns) + 1_000_000  # each timer 1 ms late
        pace.happened(now_ns)
    assert now_ns <= 1000 * NS_PER_S // 100 + 1_000_000


def test_idle_time_is_not_saved_up() -> None:
    pace = Pace(Rate(Fraction(10)))
    pace.happened(0)
    later_ns = 100 * NS_PER_S
    events = 0
    while not pace.wait_ns(later_ns):
        pace.happened(later_ns)
        events += 1
    assert events == 1


@given(
    st.fractions(Fraction(1, 10), Fraction(5000), max_denominator=1000),
    st.lists(st.integers(0, 50_000_000), min_size=1, max_size=200),
)
def test_no_span_has_more_events_than_the_rate_allows(per_s: Fraction, gaps: list[int]) -> None:
    pace = Pace(Rate(per_s))
    now_ns = 0
    happened: list[int] = []
    for gap in gaps:
        now_ns += gap
        while not pace.wait_ns(now_ns):
            pace.happened(now_ns)
            happened.append(now_ns)
    for i, start in enumerate(happened):
        for count, end in enumerate(happened[i:], start=1):
            assert count <= per_s * (end - start + CATCH_UP_NS) / NS_PER_S + 1
