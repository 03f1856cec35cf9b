"""Say what a plan will do before its first packet: limits in closed form, and what its simulation gives.

Pure: no clock, no file. `ftpstorm.records.prediction_file` writes the result and hashes it.
"""

from __future__ import annotations

from typing import Final

from ftpstorm.limits.limit import Limit, Symbol
from ftpstorm.limits.occupancy import occupancy, time_to_exhaustion_s
from ftpstorm.limits.ports import LINUX_EPHEMERAL_RANGE
from ftpstorm.limits.timewait import LINUX_TIME_WAIT
from ftpstorm.plan.plan import Plan, ends_early, load_end_ns, transfers_of
from ftpstorm.records.estimate import sustained_rate
from ftpstorm.simulate.bounds import path_limits
from ftpstorm.simulate.events import Simulation
from ftpstorm.simulate.openings import leave_open
from ftpstorm.simulate.pool import Occupancy
from ftpstorm.simulate.prediction import (
    EstimatorInputs,
    Expected,
    ExpectedPeaks,
    ExpectedSessions,
    ExpectedTransfers,
    Figure,
    NotPredicted,
    Prediction,
)
from ftpstorm.simulate.service import ServiceTimes
from ftpstorm.simulate.shape import Shape, shape_of
from ftpstorm.simulate.tally import Tally
from ftpstorm.simulate.world import Occupancies, client_ports_of
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import Cause, FailureClass, Outcome

__all__ = ["SESSIONS_MAX", "NotPredicted", "Prediction", "ServiceTimes", "predict"]

SESSIONS_MAX: Final = 250_000
"""Simulated sessions after which a prediction stops: a few seconds of work; `not_predicted` says what that leaves."""


def predict(
    plan: Plan,
    service: ServiceTimes | None = None,
    *,
    stamped_at: str | None = None,
    sessions_max: int = SESSIONS_MAX,
) -> Prediction:
    """Predict what `plan` will do.

    `service` states how long the pieces of a session take (default: loopback); `stamped_at` (UTC, ISO 8601) is kept as
    given. The same arguments give the same prediction. Raises ValueError for a flow of more steps than a plan may have.
    """
    simulation = Simulation(plan, service, sessions_max=sessions_max)
    shape = shape_of(plan, simulation.loads, simulation.service)
    limits = path_limits(plan, shape)
    tally = Tally()
    for table, row in simulation.rows():
        tally.feed(table, row)
    tally.sort()
    estimator = _estimator(plan, shape)
    expected, not_predicted = leave_open(
        plan, limits, simulation.cut_at_ns, _expected(plan, simulation, tally, estimator)
    )
    binding = next((limit for limit in limits if limit.binding), None)
    return Prediction(
        stamped_at=stamped_at,
        run_id=plan.run_id,
        scenario=plan.scenario.name,
        variant=plan.variant,
        service=simulation.service,
        inputs=_inputs(plan, shape),
        assumptions=_assumptions(plan),
        limits=limits,
        binding=None if binding is None else binding.name,
        offered_per_s=shape.offered_per_s,
        ceiling_per_s=_ceiling(limits),
        figures=_figures(plan, shape),
        estimator=estimator,
        expected=expected,
        simulated_until_s=None if simulation.cut_at_ns is None else simulation.cut_at_ns / NS_PER_S,
        not_predicted=not_predicted,
    )


# --- in closed form ---------------------------------------------------------------------------------------------------


def _ceiling(limits: tuple[Limit, ...]) -> float | None:
    return next((limit.per_s for limit in limits if limit.name is Cause.SERVER_PASSIVE_POOL), None)


def _inputs(plan: Plan, shape: Shape) -> dict[str, Symbol]:
    ports = client_ports_of(plan)
    inputs = {
        "r": Symbol(value=shape.offered_per_s, unit="1/s", meaning="offered while loads run"),
        "C": Symbol(value=shape.passive_s, unit="s", meaning="mean time a transfer uses a passive port"),
        "L": Symbol(value=shape.session_s, unit="s", meaning="mean time a session is open when nothing fails"),
        "P": Symbol(value=ports.ports, unit="ports", meaning="ephemeral ports of the client"),
        "S": Symbol(value=ports.sources, unit="addresses", meaning="source addresses of the client"),
        "T": Symbol(
            value=LINUX_TIME_WAIT.effective_s, unit="s", meaning="TIME_WAIT of a Linux kernel (60.02 to 62.07)"
        ),
        "T_client": Symbol(value=ports.hold.effective_s, unit="s", meaning=f"of it on the client: {ports.hold.why}"),
    }
    emulator = plan.scenario.target.emulator
    if emulator is not None:
        held = shape.held_part * emulator.hold.for_ / NS_PER_S
        inputs["N"] = Symbol(value=emulator.passive_count, unit="ports", meaning="ports of the passive pool")
        inputs["H"] = Symbol(value=held, unit="s", meaning="mean time a passive port is held after a transfer")
    return inputs


def _figures(plan: Plan, shape: Shape) -> tuple[Figure, ...]:
    """The pool's occupancy and first exhaustion by Little's law, where the offered rate is one number."""
    emulator = plan.scenario.target.emulator
    if emulator is None or shape.offered_per_s is None or not shape.counts_transfers or len(plan.loads) > 1:
        return ()
    rate, connection = shape.offered_per_s, shape.passive_s
    hold = shape.held_part * emulator.hold.for_ / NS_PER_S
    wanted = occupancy(rate, connection, hold)
    every = {key: symbol for key, symbol in _inputs(plan, shape).items() if key in ("r", "H", "C", "N")}
    figures = [
        Figure(name="passive ports wanted", value=wanted, unit="ports", equation="r x (H + C)", symbols=every),
    ]
    first = time_to_exhaustion_s(emulator.passive_count, rate, connection, hold)
    if first is not None:
        figures.append(Figure(name="time to first exhaustion", value=first, unit="s", equation="N/r", symbols=every))
    return tuple(figures)


def _assumptions(plan: Plan) -> tuple[str, ...]:
    host = plan.host
    said = [
        "services take as long as `service` says; the server does one thing at a time, the client never waits for CPU",
        "each arrival starts when it is due",
        f"TIME_WAIT lasts {LINUX_TIME_WAIT.low_s:g} to {LINUX_TIME_WAIT.high_s:g} s, {LINUX_TIME_WAIT.effective_s:g} s "
        "in the mean, and stays with the side that closes first: control after QUIT and downloads with the server, "
        "uploads with the client",
        "an incoming SYN replaces a TIME_WAIT of the server, so the server keeps at most one for each 4-tuple",
        "after a failed step: " + "; ".join(_habits(plan)),
    ]
    if host.port_range is None:
        first, last = LINUX_EPHEMERAL_RANGE
        said.append(f"the host did not say its ephemeral range: {first} to {last}, the kernel's default")
    if plan.shard[1] > 1 or plan.workers > 1:
        said.append("counts are of the whole plan, all shards and workers together")
    emulator = plan.scenario.target.emulator
    if emulator is not None and emulator.accept_rate is not None:
        said.append("a connection beyond the backlog is left unheard until the greeting's timeout (SYN cookies are on)")
    if emulator is None:
        said.append("the server refuses nothing")
    return tuple(said)


def _habits(plan: Plan) -> list[str]:
    habits = []
    for name in sorted(plan.used_flows):
        habit = plan.scenario.flows[name].on_failure
        habits.append(
            f"{name}: {habit if isinstance(habit, str) else f'retry {habit.retry.times} times, then continue'}"
        )
    return habits


# --- simulated --------------------------------------------------------------------------------------------------------


def _estimator(plan: Plan, shape: Shape) -> EstimatorInputs:
    emulator = plan.scenario.target.emulator
    ends = [load_end_ns(load) for _, load in plan.loads if not ends_early(load)]
    certain = min(max(ends, default=0), plan.scenario.stop.max_duration)
    return EstimatorInputs(
        load_start_ns=shape.load_start_ns,
        load_end_ns=None if certain < shape.load_end_ns else shape.load_end_ns,
        load_end_at_least_ns=certain,
        load_end_at_most_ns=shape.load_end_ns,
        pool_size=None if emulator is None else emulator.passive_count,
        hold_ns=None if emulator is None else 0 if emulator.hold.after == "none" else emulator.hold.for_,
    )


def _expected(plan: Plan, simulation: Simulation, tally: Tally, estimator: EstimatorInputs) -> Expected:
    exhausted = tally.exhausted
    first_ns = tally.first_failure_ns
    ran_out = exhausted not in (Cause.NONE, Cause.UNKNOWN)
    load_end_ns = estimator.load_end_ns
    if load_end_ns is None:
        load_end_ns = min(estimator.load_end_at_most_ns, max(estimator.load_end_at_least_ns, tally.last_start_ns or 0))
    seen_until_ns = load_end_ns if simulation.cut_at_ns is None else min(load_end_ns, simulation.cut_at_ns)
    seen_until_ns = max(seen_until_ns, estimator.load_start_ns)
    pool_empty_ns = tally.first_ns.get(FailureClass.PASSIVE_EXHAUSTED)
    sustained = sustained_rate(
        tally.success_ns,
        seen_until_ns,
        estimator.pool_size,
        estimator.hold_ns,
        pool_empty_ns if pool_empty_ns is not None and pool_empty_ns <= seen_until_ns else None,
        load_start_ns=estimator.load_start_ns,
    )
    return Expected(
        sustained=sustained if _transfers_at_all(plan) else None,
        sessions=_sessions(plan, simulation, tally),
        transfers=_transfers(plan, tally),
        failures=tally.failures_by_word(),
        first_failure_s=None if first_ns is None else first_ns / NS_PER_S,
        first_exhaustion_s=None if first_ns is None or not ran_out else first_ns / NS_PER_S,
        exhausted=exhausted,
        peaks=_peaks(plan, simulation.world.occupancies),
        recovery_s=_recovery_s(exhausted, simulation.world.occupancies, load_end_ns),
    )


def _transfers_at_all(plan: Plan) -> bool:
    return any(transfers_of(plan.scenario.flows[name]) for name in plan.used_flows)


def _sessions(plan: Plan, simulation: Simulation, tally: Tally) -> ExpectedSessions:
    outcomes = tally.outcomes
    started = outcomes[Outcome.SUCCEEDED] + outcomes[Outcome.FAILED] + outcomes[Outcome.INTERRUPTED]
    planned = [plan.planned_sessions(name) for name, _ in plan.loads]
    counted = started + outcomes[Outcome.DROPPED] + simulation.not_due
    known = [count for count in planned if count is not None]
    return ExpectedSessions(
        planned=sum(known) if len(known) == len(planned) else counted,
        not_due=simulation.not_due,
        started=started,
        succeeded=outcomes[Outcome.SUCCEEDED],
        failed=outcomes[Outcome.FAILED],
        interrupted=outcomes[Outcome.INTERRUPTED],
        dropped=outcomes[Outcome.DROPPED],
    )


def _transfers(plan: Plan, tally: Tally) -> ExpectedTransfers:
    offered = [plan.offered_transfers(name) for name, _ in plan.loads]
    known = [count for count in offered if count is not None]
    return ExpectedTransfers(
        offered=sum(known) if len(known) == len(offered) else None,
        attempted=sum(tally.transfers.values()),
        retried=tally.retried,
        succeeded=tally.transfers[Outcome.SUCCEEDED],
        failed=tally.transfers[Outcome.FAILED],
    )


def _peaks(plan: Plan, seen: Occupancies) -> ExpectedPeaks:
    ports = client_ports_of(plan)
    control, data = seen.server_control_time_wait.peak(), seen.server_data_time_wait.peak()
    if not ports.port_space:
        control = min(control, ports.control_budget)
        data = data if ports.data_budget is None else min(data, ports.data_budget)
    return ExpectedPeaks(
        client_ephemeral_in_use=seen.client_ports.peak(),
        client_time_wait=seen.client_time_wait.peak(),
        server_time_wait=control + data,
        passive_pool_taken=seen.passive_pool.peak() if plan.scenario.target.emulator is not None else None,
        sessions=seen.sessions.peak(),
    )


def _recovery_s(exhausted: Cause, seen: Occupancies, load_end_ns: int) -> float | None:
    """The pool's or the client's ports, whichever ran out, until the last of them is free."""
    resource: Occupancy | None = {
        Cause.SERVER_PASSIVE_POOL: seen.passive_pool,
        Cause.CLIENT_EPHEMERAL_PORTS: seen.client_ports,
        Cause.CLIENT_BIND_HABIT: seen.client_ports,
        Cause.SERVER_CONNECTION_CAP: seen.sessions,
    }.get(exhausted)
    last = None if resource is None else resource.last_end_ns()
    return None if last is None else max(0, last - load_end_ns) / NS_PER_S
