"""The lateness histogram is right to one part in 32, whatever it is fed."""

from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.engine.lateness import LatencyHistogram


def test_an_empty_histogram_knows_no_quantile() -> None:
    assert LatencyHistogram().quantile(0.5) is None


@given(st.lists(st.integers(0, 10**13), min_size=1, max_size=200), st.sampled_from([0.0, 0.1, 0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_at_most_one_32nd_above_the_nearest_rank(values: list[int], q: float) -> None:
    histogram = LatencyHistogram()
    for value in values:
        histogram.add(value)
    exact = sorted(values)[max(1, -(-int(q * len(values) * 1_000_000) // 1_000_000)) - 1]
    measured = histogram.quantile(q)
    assert measured is not None
    assert exact <= measured <= exact + exact // 32 + 1
    assert histogram.maximum == max(values)


def test_a_negative_value_counts_as_on_time() -> None:
    histogram = LatencyHistogram()
    histogram.add(-5)
    assert histogram.quantile(1.0) == 0
