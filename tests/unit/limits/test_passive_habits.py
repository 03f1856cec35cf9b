"""The worked numbers of passive pools by habit: who can bind a port again, and when."""

from __future__ import annotations

import pytest

from ftpstorm.limits.passive import (
    PassiveHabit,
    free_ports,
    passive_habit_limit,
    passive_hold,
    ports_for_rate,
    refusal_probability,
)
from ftpstorm.limits.timewait import LINUX_TIME_WAIT, exact_hold
from ftpstorm.vocabulary import Cause


def test_a_reuseaddr_range_counts_only_ports_in_use_at_one_time() -> None:
    limit = passive_habit_limit(PassiveHabit.REUSEADDR_RANGE, 20, 0.1)
    assert limit.per_s == pytest.approx(200)
    assert limit.interval is None


@pytest.mark.parametrize("habit", [PassiveHabit.RANGE, PassiveHabit.KERNEL])
def test_without_reuseaddr_or_with_port_0_time_wait_holds_the_port(habit: PassiveHabit) -> None:
    limit = passive_habit_limit(habit, 20, 0.1)
    assert limit.per_s == pytest.approx(0.327, abs=0.001)
    assert limit.interval == pytest.approx((20 / 62.17, 20 / 60.12))


def test_uploads_leave_nothing_on_the_server() -> None:
    assert passive_hold(PassiveHabit.RANGE, server_first_part=0).effective_s == 0
    assert passive_hold(PassiveHabit.RANGE, server_first_part=0.5).effective_s == 30.5
    with pytest.raises(ValueError, match="from 0 to 1"):
        passive_hold(PassiveHabit.RANGE, server_first_part=2)


def test_one_port_for_each_session_bounds_sessions() -> None:
    limit = passive_habit_limit(PassiveHabit.SESSION, 20, 0.1, session_s=2.5)
    assert (limit.name, limit.counts, limit.per_s) == (Cause.SERVER_PASSIVE_POOL, "sessions", 8)
    with pytest.raises(ValueError, match="session_s"):
        passive_habit_limit(PassiveHabit.SESSION, 20, 0.1)


def test_ports_that_listen_for_nobody_are_out_of_the_pool() -> None:
    assert free_ports(20, 19) == 1
    limit = passive_habit_limit(PassiveHabit.REUSEADDR_RANGE, 20, 0.1, held_elsewhere=19)
    assert limit.concurrent == 1
    assert limit.per_s == pytest.approx(10)
    with pytest.raises(ValueError, match="all 20"):
        passive_habit_limit(PassiveHabit.RANGE, 20, 0.1, held_elsewhere=20)


def test_a_short_time_wait_of_the_server_shortens_the_hold() -> None:
    limit = passive_habit_limit(PassiveHabit.RANGE, 20, 0, time_wait=exact_hold(2, "lab"))
    assert limit.per_s == 10


def test_random_draws_refuse_before_the_range_is_full() -> None:
    assert refusal_probability(20, 19, 9) == pytest.approx(0.63, abs=0.005)
    assert refusal_probability(30, 25, 9) == pytest.approx(0.19, abs=0.005)
    assert refusal_probability(20, 19, None) == 0
    assert refusal_probability(20, 20, None) == 1
    with pytest.raises(ValueError, match="taken"):
        refusal_probability(20, 21, 9)


def test_the_four_minute_rule_asks_for_more_than_there_are_at_400_a_second() -> None:
    assert ports_for_rate(400, exact_hold(240, "rule"), 0) == 96_000
    assert ports_for_rate(10, exact_hold(2, "held"), 0) == 20


def test_the_ports_for_a_rate_use_the_longest_hold() -> None:
    assert ports_for_rate(1, LINUX_TIME_WAIT, 0) == 63
