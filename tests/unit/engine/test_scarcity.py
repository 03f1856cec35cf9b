"""Backing off where the kernel has no port: pauses that the cost of failing calls decides."""

from __future__ import annotations

import errno
from types import SimpleNamespace
from typing import Any

import pytest

from ftpstorm.engine.failure import StepFailedError
from ftpstorm.engine.scarcity import (
    PAUSE_FACTOR,
    PAUSE_MAX_NS,
    REMEMBERED_MAX,
    PortScarcity,
    failed_connect,
    refuse_if_scarce,
)
from ftpstorm.vocabulary import FailureClass, Phase

WAY = (None, "192.0.2.1", 21)
OTHER = (None, "192.0.2.1", 22)


def make_work(now: int) -> Any:
    return SimpleNamespace(scarcity=None, reactor=SimpleNamespace(clock=lambda: now))


def test_a_pause_lasts_so_many_times_the_call_that_failed_and_only_for_its_way() -> None:
    scarcity = PortScarcity()
    scarcity.note(WAY, errno.EADDRNOTAVAIL, now=1_000, cost_ns=50)
    assert scarcity.refusal(WAY, 1_000 + 50 * PAUSE_FACTOR - 1) == errno.EADDRNOTAVAIL
    assert scarcity.refusal(OTHER, 1_001) == 0
    assert scarcity.refusal(WAY, 1_000 + 50 * PAUSE_FACTOR) == 0


def test_a_pause_has_a_longest() -> None:
    scarcity = PortScarcity()
    scarcity.note(WAY, errno.EADDRNOTAVAIL, now=0, cost_ns=10**12)
    assert scarcity.refusal(WAY, PAUSE_MAX_NS - 1)
    assert not scarcity.refusal(WAY, PAUSE_MAX_NS)


def test_what_is_remembered_is_bounded_and_what_is_over_makes_room() -> None:
    scarcity = PortScarcity()
    for port in range(REMEMBERED_MAX + 10):
        scarcity.note((None, "192.0.2.1", port), errno.EADDRNOTAVAIL, now=0, cost_ns=1)
    assert sum(scarcity.refusal((None, "192.0.2.1", port), 1) != 0 for port in range(REMEMBERED_MAX + 10)) == (
        REMEMBERED_MAX
    )
    scarcity.note(WAY, errno.EADDRINUSE, now=PAUSE_FACTOR, cost_ns=1)
    assert scarcity.refusal(WAY, PAUSE_FACTOR + 1) == errno.EADDRINUSE


def test_only_the_want_of_a_port_begins_a_pause() -> None:
    work = make_work(now=100)
    failed_connect(work, Phase.CONTROL_CONNECT, WAY, errno.ECONNREFUSED, 0)
    assert work.scarcity is None
    failure = failed_connect(work, Phase.CONTROL_CONNECT, WAY, errno.EADDRNOTAVAIL, 0)
    assert failure.failure is FailureClass.LOCAL_PORTS_EXHAUSTED
    with pytest.raises(StepFailedError) as refused:
        refuse_if_scarce(work, Phase.CONTROL_CONNECT, WAY, 101)
    assert refused.value.failure is FailureClass.LOCAL_PORTS_EXHAUSTED
    assert refused.value.errno == errno.EADDRNOTAVAIL
    refuse_if_scarce(work, Phase.CONTROL_CONNECT, OTHER, 101)
    refuse_if_scarce(work, Phase.CONTROL_CONNECT, WAY, 100 + 100 * PAUSE_FACTOR)
