"""Timers keep their order, never fire early, and rearm the timerfd only where it matters."""

import select

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.clock import monotonic_ns
from ftpstorm.engine.timers import NEVER, CtypesTimerFd, Timers, open_timerfd


class ScriptedTimerFd:
    """Remembers what it was armed for."""

    def __init__(self) -> None:
        self.fd = -1
        self.armed: list[int] = []

    def arm(self, instant_ns: int) -> None:
        self.armed.append(instant_ns)

    def close(self) -> None:
        self.fd = -2


@given(st.lists(st.integers(1, 1000), max_size=50), st.integers(0, 1100))
def test_what_is_due_runs_in_order_and_nothing_else(instants: list[int], now: int) -> None:
    timers = Timers(ScriptedTimerFd())
    ran: list[tuple[int, int]] = []
    for position, instant in enumerate(instants):
        timers.call_at(instant, lambda _now, key=(instant, position): ran.append(key))
    timers.run_due(now, limit=1000)
    assert ran == sorted((instant, position) for position, instant in enumerate(instants) if instant <= now)
    assert len(timers) == len(instants) - len(ran)
    assert timers.next_ns == min((instant for instant in instants if instant > now), default=NEVER)


def test_a_limit_leaves_the_rest_due() -> None:
    timers = Timers(ScriptedTimerFd())
    ran: list[int] = []
    for _ in range(10):
        timers.call_at(5, ran.append)
    timers.run_due(7, limit=4)
    assert ran == [7] * 4
    assert timers.next_ns == 5


def test_the_timerfd_is_armed_for_an_earlier_timer_only_and_anew_after_it_fired() -> None:
    timerfd = ScriptedTimerFd()
    timers = Timers(timerfd)
    timers.call_at(100, lambda now: None)
    timers.call_at(200, lambda now: None)
    timers.call_at(50, lambda now: None)
    assert timerfd.armed == [100, 50]
    timers.rearm()
    assert timerfd.armed == [100, 50]
    timers.run_due(60, limit=10)
    timers.rearm()
    assert timerfd.armed == [100, 50, 100]
    timers.run_due(300, limit=10)
    timers.rearm()
    assert timerfd.armed[-1] == NEVER, "an expired timerfd that nobody arms anew would be readable for ever"


def test_what_is_due_before_the_timerfd_leaves_it_as_it_is() -> None:
    """A session's end makes the next one due at once: no system call for that, once for each session."""
    timerfd = ScriptedTimerFd()
    timers = Timers(timerfd)
    ran: list[int] = []
    timers.call_at(100, ran.append)
    timers.held = True
    timers.call_at(40, ran.append)
    timers.run_due(40, limit=10)
    timers.held = False
    timers.rearm()
    assert (ran, timerfd.armed) == ([40], [100])
    timers.run_due(100, limit=10)
    timers.rearm()
    assert (ran, timerfd.armed) == ([40, 100], [100, NEVER])


@pytest.mark.parametrize("make", [CtypesTimerFd, open_timerfd])
def test_a_real_timerfd_turns_readable_at_its_instant_and_not_before(make: type) -> None:
    timerfd = make()
    try:
        due = monotonic_ns() + 20_000_000
        timerfd.arm(due)
        ready, _, _ = select.select([timerfd.fd], [], [], 5.0)
        assert ready
        assert monotonic_ns() >= due
        timerfd.arm(NEVER)
        assert select.select([timerfd.fd], [], [], 0) == ([], [], []), "arming anew clears an expiry"
    finally:
        timerfd.close()
