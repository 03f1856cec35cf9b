"""What the model notes of lives, and how many places they take at any instant."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.simulate.occupancy import Ledger, Ledgers, Occupancy
from ftpstorm.simulate.pool import NEVER_NS


def test_occupancy_counts_intervals_half_open() -> None:
    lives = Ledger(2)
    for life in ((0, 10), (10, 20), (5, 15), (30, 30)):
        lives.note(life)
    seen = Occupancy(lives)
    assert seen.levels([-1, 0, 5, 10, 15, 20, 30]).tolist() == [0, 1, 2, 2, 1, 0, 0]
    assert (seen.peak(), seen.last_end_ns()) == (2, 20)


def test_what_was_never_taken_has_no_end() -> None:
    seen = Occupancy(Ledger(2))
    assert (seen.peak(), seen.last_end_ns(), seen.levels([0, 5]).tolist()) == (0, None, [0, 0])


def test_what_is_noted_after_a_look_counts_at_the_next() -> None:
    lives = Ledger(2)
    seen = Occupancy(lives)
    lives.note((0, 10))
    assert seen.peak() == 1
    lives.note((5, 15))
    assert (seen.peak(), seen.last_end_ns()) == (2, 15)


def test_a_leak_is_taken_for_ever_and_its_end_is_none() -> None:
    lives = Ledger(2)
    lives.note((3, NEVER_NS))
    lives.note((4, 9))
    seen = Occupancy(lives)
    assert (seen.last_end_ns(), seen.levels([NEVER_NS - 1]).tolist()) == (9, [1])


@pytest.mark.parametrize("many", [0, 5, 10_000], ids=["numpy", "either", "plain"])
@given(
    st.lists(st.tuples(*(st.integers(0, 40) for _ in range(3))), max_size=60),
    st.sampled_from([(0, 1), (0, 2), (1, 2), (2, 0)]),
)
def test_each_life_takes_a_place_from_one_of_its_instants_until_another(
    many: int, lives: list[tuple[int, int, int]], between: tuple[int, int]
) -> None:
    """`many` decides who counts; both must count the same."""
    ledger = Ledger(3)
    for life in lives:
        ledger.note(life)
    seen = Occupancy(ledger, *between)
    start, end = between
    held = [(life[start], life[end]) for life in lives if life[end] > life[start]]
    levels = [sum(taken <= t < freed for taken, freed in held) for t in range(42)]
    with patch("ftpstorm.simulate.occupancy.MANY", many):
        assert seen.levels(range(42)).tolist() == levels
        assert seen.peak() == max(levels)
        assert seen.last_end_ns() == max((freed for _, freed in held), default=None)


def test_one_connection_is_seen_as_open_and_as_a_port_of_the_clients() -> None:
    """Bound at 5, open from 10 to 20, the port free at 80: three kinds of place, one note."""
    lives = Ledgers()
    seen = lives.occupancies()
    lives.connections.note((10, 20, 5, 80))
    lives.passive_ports.note((5, 20, 50))
    instants = [4, 5, 10, 19, 20, 49, 50, 79, 80]
    assert seen.connections.levels(instants).tolist() == [0, 0, 1, 1, 0, 0, 0, 0, 0]
    assert seen.client_ports.levels(instants).tolist() == [0, 1, 1, 1, 1, 1, 1, 1, 0]
    assert seen.passive_in_use.levels(instants).tolist() == [0, 1, 1, 1, 0, 0, 0, 0, 0]
    assert seen.passive_pool.levels(instants).tolist() == [0, 1, 1, 1, 1, 1, 0, 0, 0]
