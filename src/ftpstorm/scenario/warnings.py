"""What is allowed but probably not meant: remarks on a valid scenario."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ftpstorm.errors import Problem
from ftpstorm.scenario.document import Document, KeyPath, render_path
from ftpstorm.scenario.expressions import Expression, parse_expression
from ftpstorm.scenario.load import ConstantArrivalRate, ConstantSessions, PoissonArrivalRate
from ftpstorm.scenario.schema import Expect, Scenario
from ftpstorm.units import format_duration
from ftpstorm.vocabulary import Cause

HOLD_PERIODS_MIN = 3
"""Hold periods that a load must last for its sustained rate to be measurable: below that, bursts decide the mean."""


def remarks(scenario: Scenario, document: Document, overridden: Sequence[KeyPath]) -> tuple[Problem, ...]:
    """Return the warnings about `scenario`, as `document` describes it; `overridden` are the paths `--set` changed."""
    return (
        *_too_short_to_measure(scenario, document),
        *_expectation_out_of_date(scenario, document, overridden),
        *_unused_flows(scenario, document),
    )


def _too_short_to_measure(scenario: Scenario, document: Document) -> Iterator[Problem]:
    emulator = scenario.target.emulator
    if emulator is None or emulator.hold.after == "none" or emulator.hold.for_ == 0:
        return
    needed = HOLD_PERIODS_MIN * emulator.hold.for_
    for name, load in scenario.load.items():
        if isinstance(load, ConstantArrivalRate | PoissonArrivalRate | ConstantSessions) and load.duration < needed:
            yield document.problem(
                ("load", name, "duration"),
                f"too short to measure a sustained rate: less than {HOLD_PERIODS_MIN} hold periods "
                f"of {format_duration(emulator.hold.for_)}",
                f"make it at least {format_duration(needed)}",
            )


def _expectation_out_of_date(
    scenario: Scenario, document: Document, overridden: Sequence[KeyPath]
) -> Iterator[Problem]:
    changed = [path for path in overridden if path[0] == "target" and path[:2] in (("target",), ("target", "emulator"))]
    restated = any(path[0] == "expect" for path in overridden)
    if scenario.expect is not None and changed and not restated and expects_failure(scenario.expect):
        yield document.problem(
            ("expect",),
            f"expects a failure of the server as the file describes it, but {render_path(changed[0])} was changed",
            "give the new expectation with --set expect.cause=... (or expect=null), or run with --no-expect",
            at_key=True,
        )


def expects_failure(expect: Expect) -> bool:
    """Tell whether an expectation can hold only in a run that has failures."""
    if expect.cause not in (None, Cause.NONE):
        return True
    return any(_wants_some(parse_expression(condition)) for condition in expect.failures.values())


def _wants_some(condition: Expression) -> bool:
    return not condition.holds(0)


def _unused_flows(scenario: Scenario, document: Document) -> Iterator[Problem]:
    used = {flow for load in scenario.load.values() for flow in load.flow_names}
    for name in scenario.flows:
        if name not in used:
            yield document.problem(("flows", name), "no load uses this flow", at_key=True)
