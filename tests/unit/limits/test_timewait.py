"""Who keeps TIME_WAIT, for how long, and when Linux lets it be taken over."""

from __future__ import annotations

import pytest

from ftpstorm.limits.timewait import (
    LINUX_TIME_WAIT,
    NO_HOLD,
    Hold,
    exact_hold,
    natural_closer,
    outgoing_hold,
    shortened_hold,
    time_wait_keeper,
    time_wait_overflow,
    time_wait_reuse,
)
from ftpstorm.vocabulary import Operation, Side

NEVER = time_wait_reuse(tcp_tw_reuse=0, tcp_timestamps=1, loopback=True)


def test_linux_keeps_it_60_02_to_62_07_seconds() -> None:
    assert (LINUX_TIME_WAIT.low_s, LINUX_TIME_WAIT.effective_s, LINUX_TIME_WAIT.high_s) == (60.02, 61.0, 62.07)


def test_the_side_that_closes_first_keeps_it_and_a_reset_leaves_none() -> None:
    assert time_wait_keeper(Side.SERVER) is Side.SERVER
    assert time_wait_keeper(Side.CLIENT) is Side.CLIENT
    assert time_wait_keeper(Side.CLIENT, reset=True) is None


@pytest.mark.parametrize(
    ("mode", "timestamps", "loopback", "possible"),
    [
        (0, 1, False, False),
        (0, 1, True, False),
        (1, 1, False, True),
        (1, 0, False, False),
        (2, 1, False, False),
        (2, 1, True, True),
        (2, 0, True, False),
        (None, None, True, True),
        (None, None, False, False),
    ],
)
def test_reuse_follows_the_sysctl_the_timestamps_and_loopback(
    mode: int | None, timestamps: int | None, loopback: bool, possible: bool
) -> None:
    assert time_wait_reuse(tcp_tw_reuse=mode, tcp_timestamps=timestamps, loopback=loopback).possible is possible


def test_loopback_hides_exhaustion_on_a_stock_kernel() -> None:
    """1,000 ports: 16.4 connections a second over a network, 1,000 a second on 127.0.0.1."""
    rates = []
    for loopback in (False, True):
        reuse = time_wait_reuse(tcp_tw_reuse=2, tcp_timestamps=1, loopback=loopback)
        rates.append(1_000 / outgoing_hold(Side.CLIENT, Side.CLIENT, reuse).effective_s)
    assert rates == pytest.approx([16.4, 1_000], rel=0.01)


def test_a_time_wait_of_the_server_holds_nothing_of_the_client() -> None:
    assert outgoing_hold(Side.SERVER, Side.CLIENT, NEVER) is NO_HOLD
    assert outgoing_hold(None, Side.CLIENT, NEVER) is NO_HOLD
    assert outgoing_hold(Side.CLIENT, Side.CLIENT, NEVER) is LINUX_TIME_WAIT


def test_a_reuse_delay_beyond_time_wait_changes_nothing() -> None:
    slow = time_wait_reuse(tcp_tw_reuse=1, tcp_timestamps=1, loopback=False, reuse_delay_s=100)
    assert outgoing_hold(Side.CLIENT, Side.CLIENT, slow) is LINUX_TIME_WAIT


def test_a_mean_hold_scales_all_three_figures() -> None:
    half = Hold(4, 2, 8, "x").scale(0.5)
    assert (half.effective_s, half.low_s, half.high_s) == (2, 1, 4)
    with pytest.raises(ValueError, match="0 or more"):
        half.scale(-1)


def test_a_hold_is_an_ordered_interval() -> None:
    assert exact_hold(2, "x").low_s == 2
    with pytest.raises(ValueError, match="low <= effective"):
        Hold(1, 2, 3, "x")


@pytest.mark.parametrize(
    ("operation", "closer"),
    [
        (Operation.RETR, Side.SERVER),
        (Operation.LIST, Side.SERVER),
        (Operation.MLSD, Side.SERVER),
        (Operation.STOR, Side.CLIENT),
        (Operation.APPE, Side.CLIENT),
        (Operation.QUIT, Side.SERVER),
        (Operation.NOOP, None),
    ],
)
def test_the_sender_of_the_data_closes_first_and_the_server_after_quit(
    operation: Operation, closer: Side | None
) -> None:
    assert natural_closer(operation) is closer


def test_a_lab_shortens_time_wait_within_its_reapers_pace() -> None:
    hold = shortened_hold(3)
    assert (hold.effective_s, hold.low_s, hold.high_s) == (3, 3, 3.05)
    with pytest.raises(ValueError, match=r"0\.1 to 60"):
        shortened_hold(61)


def test_a_small_time_wait_table_drops_the_rest_and_hides_exhaustion() -> None:
    overflow = time_wait_overflow(16_384, 500, 28_232)
    assert overflow.wanted == 30_500
    assert overflow.kept == 16_384
    assert overflow.dropped_per_s == pytest.approx(231.4, abs=0.1)
    assert overflow.hides_exhaustion


def test_a_time_wait_table_that_is_large_enough_drops_nothing() -> None:
    overflow = time_wait_overflow(262_144, 500, 28_232)
    assert (overflow.kept, overflow.dropped_per_s, overflow.hides_exhaustion) == (30_500, 0, False)
