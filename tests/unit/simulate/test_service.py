"""Service times: worked numbers of a transfer's and a session's life."""

from __future__ import annotations

import pytest

from ftpstorm.simulate.service import ServiceTimes
from ftpstorm.simulate.shape import session_ns
from ftpstorm.simulate.stages import stages_of
from support.plans import make_plan


def test_a_transfer_of_1_kib_uses_its_port_for_652_us() -> None:
    assert ServiceTimes().passive_life_ns(1024) == 652_048


def test_a_session_of_one_download_takes_2102_us() -> None:
    plan = make_plan()
    stages = stages_of(plan.scenario.flows["flow"], plan.scenario, ServiceTimes())
    assert session_ns(stages, ServiceTimes()) == 2_102_048


def test_payload_takes_bytes_over_speed() -> None:
    assert ServiceTimes(bytes_per_s=1_000_000).payload_ns(2_500_000) == 2_500_000_000


def test_impossible_times_are_refused() -> None:
    with pytest.raises(ValueError, match="reply_ns"):
        ServiceTimes(reply_ns=-1)
    with pytest.raises(ValueError, match="bytes_per_s"):
        ServiceTimes(bytes_per_s=0)
