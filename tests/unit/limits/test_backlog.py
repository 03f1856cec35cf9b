"""What becomes of a burst, by backlog, accept rate and sysctls."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.limits.backlog import CAUSE, FAILURE, SIGNS, admitted, backlog_outcome, linear_syns, syn_repeats_s
from ftpstorm.vocabulary import COUNTERS, Cause, FailureClass


def test_the_queue_holds_one_more_than_its_backlog() -> None:
    assert admitted(1500, 511, 0, 0) == 512
    assert admitted(1500, 511, 100, 0.5) == 562
    assert admitted(1500, 511, None, 0) == 1500


@pytest.mark.parametrize(
    ("cookies", "abort", "fate", "cause"),
    [
        (None, None, "ghosts", Cause.BACKLOG_GHOST),
        (1, 1, "ghosts", Cause.BACKLOG_GHOST),
        (2, 0, "ghosts", Cause.BACKLOG_GHOST),
        (0, 1, "resets", Cause.RESET_AFTER_ACCEPT),
        (0, 0, "retries", Cause.SLOW_ACCEPT),
    ],
)
def test_two_sysctls_decide_what_the_others_see(cookies: int, abort: int, fate: str, cause: Cause) -> None:
    outcome = backlog_outcome(
        burst=1500, backlog=511, accept_per_s=0, tcp_syncookies=cookies, tcp_abort_on_overflow=abort
    )
    assert (outcome.fate, outcome.admitted, outcome.beyond, outcome.cause) == (fate, 512, 988, cause)


def test_windows_refuses_the_syn() -> None:
    outcome = backlog_outcome(burst=100, backlog=25, accept_per_s=0, system="windows")
    assert (outcome.fate, outcome.cause) == ("refusals", Cause.BACKLOG_SYN_REFUSED)
    assert outcome.failures == (FailureClass.CONTROL_CONNECT_REFUSED,)


def test_somaxconn_cuts_the_backlog_and_is_named() -> None:
    outcome = backlog_outcome(burst=200, backlog=4096, accept_per_s=0, somaxconn=127)
    assert (outcome.admitted, outcome.backlog) == (128, 127)
    assert "somaxconn" in outcome.why


def test_a_burst_that_fits_has_no_fate() -> None:
    outcome = backlog_outcome(burst=1500, backlog=4096, accept_per_s=0, somaxconn=4096)
    assert (outcome.fate, outcome.beyond, outcome.cause, outcome.signs) == ("none", 0, Cause.NONE, ())


@given(burst=st.integers(0, 5000), backlog=st.integers(0, 5000), rate=st.floats(0, 5000), window=st.floats(0, 10))
def test_everybody_is_admitted_or_beyond(burst: int, backlog: int, rate: float, window: float) -> None:
    outcome = backlog_outcome(burst=burst, backlog=backlog, accept_per_s=rate, window_s=window)
    assert outcome.admitted + outcome.beyond == burst
    assert (outcome.fate == "none") == (outcome.beyond == 0)


def test_every_fate_has_a_cause_classes_and_counters_that_exist() -> None:
    assert set(CAUSE) == set(FAILURE) == set(SIGNS)
    assert {sign for signs in SIGNS.values() for sign in signs} <= set(COUNTERS)


def test_a_negative_backlog_is_refused() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        admitted(1, -1, None, 0)
    with pytest.raises(ValueError, match="somaxconn"):
        backlog_outcome(burst=1, backlog=1, accept_per_s=None, somaxconn=-1)


def test_a_syn_without_answer_comes_again_in_equal_steps_first_and_then_in_doubled_ones() -> None:
    assert syn_repeats_s() == (1, 2, 3, 4, 5, 7, 11, 19, 35, 67)
    assert syn_repeats_s(6, 0) == (1, 3, 7, 15, 31, 63)
    assert syn_repeats_s(1, 0) == (1,)
    assert syn_repeats_s(0, 0) == ()
    with pytest.raises(ValueError, match="0 or more"):
        syn_repeats_s(-1)


@pytest.mark.parametrize(
    ("release", "linear"),
    [("6.4.16-generic", 0), ("5.15.0-91", 0), ("6.5.0", 4), ("6.18.44-fc", 4), ("10.0", 4), (None, 4), ("odd", 4)],
)
def test_the_equal_steps_came_with_linux_6_5(release: str | None, linear: int) -> None:
    assert linear_syns(release) == linear
