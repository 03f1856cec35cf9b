from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.conduct.progress import RateMeter, Totals, add_up
from ftpstorm.units import NS_PER_S


def message(t_ns: int, **fields: object) -> dict[str, object]:
    return {"type": "progress", "t_ns": t_ns, **fields}


def test_no_message_adds_up_to_nothing() -> None:
    assert add_up([]) == Totals()


def test_counts_and_classes_of_all_workers_are_summed() -> None:
    totals = add_up(
        [
            message(1, started=3, in_flight=1, succeeded=1, failed=1, failures={"control-lost": 1}, bytes=10),
            message(1, started=4, in_flight=2, failed=2, failures={"control-lost": 1, "tls-failed": 1}, bytes=5),
        ]
    )
    assert (totals.started, totals.in_flight, totals.succeeded, totals.failed) == (7, 3, 1, 3)
    assert totals.failures == {"control-lost": 2, "tls-failed": 1}
    assert totals.bytes == 15


def test_the_last_reply_is_that_of_the_latest_message_that_has_one() -> None:
    totals = add_up([message(5, last_reply="425 late"), message(3, last_reply="421 early"), message(9, last_reply="")])
    assert totals.last_reply == "425 late"
    assert totals.t_ns == 9


def test_the_unreachable_streak_is_summed_and_lateness_is_the_worst() -> None:
    totals = add_up([message(1, unreachable_streak=3, lateness_ns=10), message(1, unreachable_streak=4, lateness_ns=7)])
    assert totals.unreachable_streak == 7
    assert totals.lateness_ns == 10


def test_a_meter_says_nothing_after_one_reading() -> None:
    assert RateMeter().read(0, 5) is None


def test_a_rate_over_a_few_milliseconds_is_none() -> None:
    meter = RateMeter()
    meter.read(0, 0)
    assert meter.read(4_000_000, 1) is None
    assert meter.read(250_000_000, 25) == 100.0


@given(rate=st.integers(1, 10_000), steps=st.integers(2, 50))
def test_a_meter_reads_a_steady_rate_exactly(rate: int, steps: int) -> None:
    meter = RateMeter(NS_PER_S)
    readings = [meter.read(k * NS_PER_S // 4, rate * k) for k in range(steps)]
    assert readings[-1] == 4 * rate


def test_a_meter_forgets_what_lies_before_its_window() -> None:
    meter = RateMeter(NS_PER_S)
    meter.read(0, 0)
    meter.read(NS_PER_S, 1000)
    meter.read(2 * NS_PER_S, 1000)
    assert meter.read(3 * NS_PER_S, 1000) == 0.0
