"""A scenario made larger: so many times the load, all else as it is."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from ftpstorm.scenario.load import AnyLoad, RampingArrivalRate, RampingSessions, Replay
from ftpstorm.scenario.schema import Scenario
from ftpstorm.units import Rate

_COUNTS = ("sessions", "max_sessions", "iterations", "start_sessions")
_RATES = ("rate", "start_rate")


def scale(scenario: Scenario, factor: Fraction) -> Scenario:
    """Return `scenario` with `factor` (> 0) times the arrival rates, sessions at one time and iterations.

    Durations, pools, ports and sizes stay. Counts are rounded, and stay at least 1. A guard's bounds grow along. Raises
    ValueError for a factor of 0 or below, and for a replayed trace, which has no rate.

    Worked number: 97 sessions a second, at most 400 at one time, times 10: 970 a second, at most 4,000.
    """
    if factor <= 0:
        raise ValueError(f"a scale of {float(factor):g}: must be above 0")
    loads = {name: _scaled(name, load, factor) for name, load in scenario.load.items()}
    guard = scenario.guard
    if guard is not None:
        bounds = {"max_sessions": _count(guard.max_sessions, factor), "max_rate": _rate(guard.max_rate, factor)}
        guard = guard.model_copy(update=bounds)
    return scenario.model_copy(update={"load": loads, "guard": guard})


def _scaled(name: str, load: AnyLoad, factor: Fraction) -> AnyLoad:
    if isinstance(load, Replay):
        raise ValueError(f"load {name} replays a trace: it cannot be scaled")
    changes: dict[str, Any] = {}
    for key in type(load).model_fields:
        value = getattr(load, key)
        if key in _COUNTS and value is not None:
            changes[key] = _count(value, factor)
        elif key in _RATES:
            changes[key] = _rate(value, factor)
    if isinstance(load, RampingArrivalRate):
        changes["stages"] = tuple(
            stage.model_copy(update={"target": _rate(stage.target, factor)}) for stage in load.stages
        )
    elif isinstance(load, RampingSessions):
        changes["stages"] = tuple(
            stage.model_copy(update={"target": _count(stage.target, factor)}) for stage in load.stages
        )
    return load.model_copy(update=changes)


def _count(value: int, factor: Fraction) -> int:
    return max(1, round(value * factor)) if value else 0


def _rate(rate: Rate, factor: Fraction) -> Rate:
    return Rate(rate.per_s * factor)
