"""The models of prediction.json, schema 1: what is said about a run before its first packet.

A quantity that cannot be foretold is null in `expected` and stands in `not_predicted` with the reason.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from ftpstorm.limits.limit import Limit, Symbol
from ftpstorm.records.estimate import Sustained
from ftpstorm.simulate.service import ServiceTimes
from ftpstorm.vocabulary import Cause


class PredictionModel(BaseModel):
    """Base: frozen, nothing unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class ExpectedSessions(PredictionModel):
    """Sessions of the whole plan by fate; each None where `not_predicted` says why."""

    planned: int | None
    not_due: int | None
    """Left out because the plan's max_duration ends the run before."""
    started: int | None
    succeeded: int | None
    failed: int | None
    interrupted: int | None
    dropped: int | None


class ExpectedTransfers(PredictionModel):
    """Transfers of the whole plan, counted as the report counts them."""

    offered: int | None
    """Planned by the schedule."""
    attempted: int | None
    """Commands sent, retries included."""
    retried: int | None
    succeeded: int | None
    failed: int | None


class ExpectedPeaks(PredictionModel):
    """Most places taken at one instant."""

    client_ephemeral_in_use: int | None
    """Local ports of the client in any state that keeps them: open connections and its own TIME_WAITs."""
    client_time_wait: int | None
    server_time_wait: int | None
    passive_pool_taken: int | None
    """Ports of the passive pool listening, in use or held down."""
    sessions: int | None
    """Sessions in flight."""
    connections: int | None = None
    """Control and data connections open at one time."""


class Expected(PredictionModel):
    """What the simulation of the plan gives through the estimators that the report uses."""

    sustained: Sustained | None
    sessions: ExpectedSessions
    transfers: ExpectedTransfers
    failures: dict[str, int] | None
    """Failed operations, retries included, and sessions that failed before their first, by failure class."""
    first_failure_s: float | None
    """Seconds after start_at; None also where no failure is expected (then `failures` is empty)."""
    first_exhaustion_s: float | None
    """When a request first finds nothing left; None also where nothing runs out."""
    exhausted: Cause | None
    """What runs out first; `none` where nothing does."""
    peaks: ExpectedPeaks
    recovery_s: float | None
    """Seconds from the load's end until all that ran out is free again; None also where nothing ran out."""


class NotPredicted(PredictionModel):
    """A quantity that this prediction leaves open."""

    quantity: str
    """Dotted name, such as ``expected.failures`` or ``limits.server-connection-cap``."""
    why: str


class EstimatorInputs(PredictionModel):
    """What `ftpstorm.records.estimate.sustained_rate` is given beside the successes; the report gives it the same.

    The first exhaustion is the first failure of the class `exhausted_by` before the load's end.
    """

    load_start_ns: int
    load_end_ns: int | None
    """None where it shows only in the run (shared-iterations, probe-until-success): then the last session's start,
    within the two bounds that follow."""
    load_end_at_least_ns: int = 0
    """The latest end of the loads whose end is known."""
    load_end_at_most_ns: int
    pool_size: int | None
    hold_ns: int | None
    exhausted_by: str = "passive-exhausted"


class Figure(PredictionModel):
    """One value in closed form, beside the simulated ones."""

    name: str
    value: float
    unit: str
    equation: str
    symbols: dict[str, Symbol]


class Prediction(PredictionModel):
    """All of prediction.json."""

    schema_version: int = 1
    stamped_at: str | None
    """UTC at which the caller made it; the manifest holds the hash of the file."""
    run_id: str
    scenario: str
    variant: str | None
    service: ServiceTimes
    inputs: dict[str, Symbol]
    """Every number that the equations below use."""
    assumptions: tuple[str, ...]
    limits: tuple[Limit, ...]
    """In rising order of rate; the binding one is marked. Those that do not apply come last."""
    binding: Cause | None
    """Name of the least limit; None where no limit of a rate is known."""
    offered_per_s: float | None
    """Offered transfers a second (sessions, where no flow transfers anything); None where no schedule sets it."""
    ceiling_per_s: float | None
    """N/(H+C): what the passive pool can carry for ever; None where the pool is not known, and where ports that are
    asked for and never used share it."""
    figures: tuple[Figure, ...]
    estimator: EstimatorInputs
    expected: Expected
    simulated_until_s: float | None
    """Where a very long plan's simulation was cut, in seconds after start_at; None when it ran to the end."""
    not_predicted: tuple[NotPredicted, ...]
