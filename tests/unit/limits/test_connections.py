"""Limits on sessions: caps, open files, accept rates."""

from __future__ import annotations

import pytest

from ftpstorm.limits.connections import accept_rate_limit, connection_cap_limit, open_files_limit
from ftpstorm.vocabulary import Cause, Side


def test_ten_users_with_sessions_of_two_and_a_half_seconds_are_four_a_second() -> None:
    limit = connection_cap_limit(10, 2.5)
    assert (limit.per_s, limit.concurrent, limit.counts) == (4, 10, "sessions")


def test_files_left_by_the_process_are_halved_between_control_and_data() -> None:
    limit = open_files_limit(1_024, 0.5)
    assert (limit.per_s, limit.concurrent, limit.side) == (992, 496, Side.CLIENT)


def test_sessions_that_last_no_time_have_a_count_but_no_rate() -> None:
    assert connection_cap_limit(10, 0).per_s is None
    assert open_files_limit(1_024, 0).per_s is None


def test_an_accept_rate_bounds_sessions() -> None:
    limit = accept_rate_limit(50, 100)
    assert (limit.name, limit.per_s, limit.concurrent) == (Cause.SLOW_ACCEPT, 50, None)


def test_impossible_values_are_refused() -> None:
    with pytest.raises(ValueError):
        connection_cap_limit(0, 1)
    with pytest.raises(ValueError):
        open_files_limit(33, 1)
    with pytest.raises(ValueError):
        accept_rate_limit(0, 1)
