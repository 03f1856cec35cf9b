"""The plan in a few numbers: means over sessions, parts by who closes first, the offered rate."""

from __future__ import annotations

from typing import Any

import pytest

from ftpstorm.simulate.service import ServiceTimes
from ftpstorm.simulate.shape import Shape, shape_of
from ftpstorm.simulate.world import load_models
from ftpstorm.units import NS_PER_S
from support.plans import demo_plan, make_plan


def shape(**plan: Any) -> Shape:
    made = make_plan(**plan)
    return shape_of(made, load_models(made, ServiceTimes()), ServiceTimes())


def test_the_demo_offers_97_downloads_a_second() -> None:
    made = demo_plan()
    found = shape_of(made, load_models(made, ServiceTimes()), ServiceTimes())
    assert found.offered_per_s == 97
    assert (found.transfers_per_session, found.held_part, found.client_first_part) == (1, 1, 0)
    assert found.passive_s == pytest.approx(652.048e-6)
    assert (found.load_start_ns, found.load_end_ns) == (0, 20 * NS_PER_S)


def test_transfers_of_a_session_multiply_the_offered_rate() -> None:
    steps = ["login", {"repeat": {"times": 5, "steps": [{"retr": "small.bin"}]}}, "quit"]
    found = shape(steps=steps)
    assert found.offered_per_s == 50
    assert found.sessions_per_unit == pytest.approx(0.2)


def test_mixed_directions_give_parts() -> None:
    steps = ["login", {"retr": "small.bin"}, {"stor": "1KiB"}, {"stor": "1KiB"}, {"stor": "1KiB"}]
    found = shape(steps=steps, emulator={"hold": {"for": "4s", "after": "server-close"}})
    assert found.client_first_part == pytest.approx(0.75)
    assert found.held_part == pytest.approx(0.25)
    assert found.control_client_first_part == 1


def test_flows_without_transfers_are_counted_in_sessions() -> None:
    found = shape(steps=["login", "noop", "quit"])
    assert not found.counts_transfers
    assert found.offered_per_s == 10
    assert found.sessions_per_unit == 1


@pytest.mark.parametrize(
    "load",
    [
        {"executor": "constant-sessions", "sessions": 2, "duration": "5s"},
        {"executor": "shared-iterations", "sessions": 2, "iterations": 5},
        {"executor": "burst", "sessions": 5},
    ],
)
def test_closed_loads_and_single_instants_offer_no_rate(load: dict[str, Any]) -> None:
    assert shape(load=load).offered_per_s is None


def test_a_burst_over_a_while_offers_its_mean() -> None:
    assert shape(load={"executor": "burst", "sessions": 50, "over": "5s"}).offered_per_s == 10


WAIT: dict[str, Any] = {"think": "3s"}


@pytest.mark.parametrize(
    ("steps", "unused_s"),
    [
        (["login", "pasv-only", WAIT, "quit"], 3.0003),
        (["login", "pasv-only", "pasv-only", WAIT, "quit"], 3.0005),
        (["login", "pasv-only", WAIT, {"retr": "small.bin"}, WAIT, "quit"], 3.0002),
        (["login", {"retr": "small.bin"}, WAIT, "quit"], 0),
    ],
)
def test_a_port_asked_for_and_not_used_listens_until_the_next_one_or_the_end(steps: list[Any], unused_s: float) -> None:
    assert shape(steps=steps).unused_s == pytest.approx(unused_s)


def test_idle_ports_are_counted_for_each_transfer() -> None:
    transfers = {"repeat": {"times": 4, "steps": [{"retr": "small.bin"}]}}
    assert shape(steps=["login", transfers, "pasv-only", WAIT, "quit"]).unused_s == pytest.approx(3.0003 / 4)
