"""Which load a search tries next: against servers of which the truth is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.conduct.bisection import Ending, Fate, Step, bracket, next_load
from ftpstorm.scenario.search import Quantity, Search

World = Callable[[float, int], Fate]
"""What a load comes to, at its n-th run."""


def search_of(**keys: Any) -> Search:
    return Search.model_validate({"vary": "load.steady.rate", "between": ["5/s", "2000/s"]} | keys)


def bears(limit: float) -> World:
    return lambda load, _: Fate.PASSED if load <= limit else Fate.FAILED


def carry_out(search: Search, world: World) -> tuple[Ending, list[Step]]:
    steps: list[Step] = []
    seen: Counter[Fraction] = Counter()
    while isinstance(load := next_load(search, steps), Quantity):
        seen[load.value] += 1
        steps.append(Step(load, world(float(load.value), seen[load.value])))
    return load, steps


@given(st.floats(5, 1999), st.sampled_from(["1%", "2%", "10%"]), st.integers(1, 4))
def test_the_limit_lies_between_two_loads_as_near_as_asked_for_and_both_confirmed(
    limit: float, precision: str, confirm: int
) -> None:
    search = search_of(precision=precision, confirm=confirm)
    ending, steps = carry_out(search, bears(limit))
    assert ending is Ending.FOUND
    found = bracket(steps)
    assert found.passing is not None
    assert found.above is not None
    assert found.passing.value <= limit < found.above.value
    assert found.above.value <= found.passing.value * (1 + Fraction(search.precision)) + Fraction(1, 10**9)
    runs = Counter(step.load.value for step in steps)
    assert runs[found.passing.value] == runs[found.above.value] == confirm
    assert len(steps) <= 9 + 12 + 2 * confirm


@given(st.integers(3, 399))
def test_counts_come_down_to_neighbours(limit: int) -> None:
    search = search_of(between=[3, 400], precision="0.01%", confirm=1)
    ending, steps = carry_out(search, bears(limit))
    found = bracket(steps)
    assert ending is Ending.FOUND
    assert (found.passing, found.above) == (Quantity(Fraction(limit), "count"), Quantity(Fraction(limit + 1), "count"))


def test_it_begins_with_the_lowest_load_and_never_leaves_the_range() -> None:
    _, steps = carry_out(search_of(), bears(1700))
    assert str(steps[0].load) == "5/s"
    assert all(5 <= step.load.value <= 2000 for step in steps)


@pytest.mark.parametrize(("limit", "ending"), [(4.0, Ending.BELOW), (2000.0, Ending.ABOVE)])
def test_a_limit_outside_the_range_is_told_after_as_many_runs_as_were_asked_for(limit: float, ending: Ending) -> None:
    told, steps = carry_out(search_of(confirm=3), bears(limit))
    assert told is ending
    assert sum(step.load == steps[-1].load for step in steps) == 3


def test_a_load_that_fails_once_of_three_does_not_pass_and_the_search_goes_on_below() -> None:
    def world(load: float, run: int) -> Fate:
        return Fate.FAILED if load > 100 or (load > 90 and run == 2) else Fate.PASSED

    ending, steps = carry_out(search_of(confirm=3), world)
    found = bracket(steps)
    assert ending is Ending.FOUND
    assert found.passing is not None
    assert found.above is not None
    assert found.passing.value <= 90 < found.above.value


def test_it_stops_where_the_generator_is_the_limit_once_the_server_passed_close_below() -> None:
    ending, steps = carry_out(search_of(), lambda load, _: Fate.PASSED if load <= 900 else Fate.UNFIT)
    found = bracket(steps)
    assert ending is Ending.GENERATOR
    assert found.unfit
    assert found.passing is not None
    assert found.passing.value > 700
    assert len(steps) <= 14


def test_a_generator_that_is_the_limit_far_above_does_not_hide_the_servers() -> None:
    def world(load: float, _: int) -> Fate:
        return Fate.UNFIT if load > 900 else Fate.FAILED if load > 700 else Fate.PASSED

    ending, steps = carry_out(search_of(), world)
    found = bracket(steps)
    assert ending is Ending.FOUND
    assert found.passing is not None
    assert found.passing.value == pytest.approx(700, rel=0.02)


def test_a_load_that_passes_above_one_that_failed_is_not_believed() -> None:
    loads = [Quantity(Fraction(value), "rate") for value in (5, 10, 20)]
    found = bracket(
        [Step(load, fate) for load, fate in zip(loads, (Fate.PASSED, Fate.FAILED, Fate.PASSED), strict=True)]
    )
    assert (found.passing, found.above) == (loads[0], loads[1])


def test_it_gives_up_after_so_many_steps() -> None:
    ending, steps = carry_out(search_of(max_steps=6, precision="0.1%"), bears(321))
    assert ending is Ending.OUT_OF_STEPS
    assert len(steps) == 6
