"""Occupancy over time, simulated and sampled, and how far apart the two are.

The distance is the mean over the run's time of abs(simulated - sampled), divided by the simulated peak. A reading
counts for as long as it stands, and is compared with the simulated value at the instant at which it was made: a sampler
says nothing of what lies between two readings. Instants are those of the run's common clock: nothing is shifted to fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ftpstorm.conduct.timeline import timeline
from ftpstorm.plan.plan import Plan
from ftpstorm.records.reader import Readings, Run, Samples
from ftpstorm.simulate.events import Simulation
from ftpstorm.units import NS_PER_MS
from ftpstorm.vocabulary import Metric, PoolState

STEP_NS: Final = NS_PER_MS

Values = npt.NDArray[np.float64]
Instants = npt.NDArray[np.int64]

SERIES: Final = {
    "client-ports": ("client ports in use", "ports", Metric.EPHEMERAL_PORTS, "client", "*"),
    "client-time-wait": ("TIME_WAIT on the client", "sockets", Metric.TCP_STATE, "client", "time-wait"),
    "server-time-wait": ("TIME_WAIT on the server", "sockets", Metric.TCP_STATE, "server", "time-wait"),
    "pool": ("free passive ports", "ports", Metric.POOL, "server", PoolState.FREE.word),
}
"""Curve: its name in words, its unit, and the sample series."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One curve of one run. Without a measurement `distance` is None and `why` says what is missing."""

    key: str
    name: str
    unit: str
    distance: float | None = None
    simulated_mean: float = 0.0
    measured_mean: float = 0.0
    t_s: Values | None = None
    simulated: Values | None = None
    measured: Values | None = None
    why: str = ""


def compare_curves(run: Run, keys: tuple[str, ...]) -> tuple[Comparison, ...]:
    """Simulate the run's plan and compare what its sampler saw. Pure but for the records that were read."""
    if not keys:
        return ()
    assert run.plan is not None
    simulation = Simulation(Plan.model_validate(run.plan))
    for _ in simulation.rows():
        pass
    last_ns = max((int(readings.t_ns[-1]) for readings in _all(run.samples)), default=0)
    foretold = timeline(simulation, STEP_NS, last_ns)
    return tuple(_compare(key, run.samples, foretold) for key in keys)


def _all(samples: Samples) -> list[Readings]:
    return [samples.readings(number) for number in range(len(samples.series))]


def _compare(key: str, seen: Samples, foretold: Samples) -> Comparison:
    name, unit, metric, host, label = SERIES[key]
    measured, simulated = (samples.one(metric, host=host, key=label) for samples in (seen, foretold))
    if simulated is None or measured is None:
        why = "not sampled" if measured is None else "not simulated"
        return Comparison(key, name, unit, why=why)
    first, last = max(0, int(measured.t_ns[0])), int(measured.t_ns[-1])
    t_ns = np.arange(first, last, STEP_NS, dtype=np.int64)
    if not len(t_ns):
        return Comparison(key, name, unit, why="a single reading is no curve")
    distance, model, real = distance_of(t_ns, simulated, measured)
    if distance is None:
        return Comparison(key, name, unit, why="nothing was to be taken")
    return Comparison(key, name, unit, distance, float(model.mean()), float(real.mean()), t_ns / 1e9, model, real)


def distance_of(t_ns: Instants, simulated: Readings, measured: Readings) -> tuple[float | None, Values, Values]:
    """Return the distance of two series at evenly spaced instants, and both there; None where the model's peak is 0.

    `simulated` is taken at the instant that the standing reading of `measured` was made: a sampler says nothing of what
    lies between two readings.
    """
    at = np.searchsorted(measured.t_ns, t_ns, side="right") - 1
    real = measured.value[at]
    model = _level(simulated, measured.t_ns[at])
    peak = float(simulated.value.max(initial=0.0))
    if peak == 0:
        return None, model, real
    return float(np.abs(model - real).mean() / peak), model, real


def _level(readings: Readings, t_ns: Instants) -> Values:
    place = np.searchsorted(readings.t_ns, t_ns, side="right") - 1
    return readings.value[np.maximum(place, 0)]  # before the start all is as it is then
