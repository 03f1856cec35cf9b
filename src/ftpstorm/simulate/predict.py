"""Say what a plan will do before its first packet: limits in closed form, and what its simulation gives.

Pure: no clock, no file. `ftpstorm.records.prediction_file` writes the result and hashes it.
"""

from __future__ import annotations

from typing import Final, Literal

from ftpstorm.limits.limit import Limit, Symbol
from ftpstorm.limits.occupancy import occupancy, time_to_exhaustion_s
from ftpstorm.limits.ports import LINUX_EPHEMERAL_RANGE, four_tuple_budget
from ftpstorm.plan.plan import Plan, ends_early, load_end_ns, transfers_of
from ftpstorm.records.estimate import sustained_rate
from ftpstorm.simulate.bounds import path_limits, pool_hold
from ftpstorm.simulate.events import Simulation
from ftpstorm.simulate.kernels import Kernels, Suppose
from ftpstorm.simulate.occupancy import Occupancies, Occupancy
from ftpstorm.simulate.openings import leave_open
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
from ftpstorm.simulate.serving import Serving
from ftpstorm.simulate.shape import Shape, begins_evenly, shape_of
from ftpstorm.simulate.tally import Tally
from ftpstorm.simulate.world import Setting, client_ports_of
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import Cause, FailureClass, Outcome

__all__ = ["SESSIONS_MAX", "NotPredicted", "Prediction", "ServiceTimes", "predict"]

SLOWER: Final = 3.0
"""Service times are a guess: what still comes out the same with so many times as much, and as little, is foretold."""
TRIED_MAX: Final = 10_000
"""Sessions of a plan that is simulated with other service times too: four times, a fraction of a second each."""
SESSIONS_MAX: Final = 250_000
"""Simulated sessions after which a prediction stops: a few seconds of work; `not_predicted` says what that leaves."""


def predict(
    plan: Plan,
    service: ServiceTimes | None = None,
    *,
    stamped_at: str | None = None,
    sessions_max: int = SESSIONS_MAX,
    suppose: Suppose | None = None,
) -> Prediction:
    """Predict what `plan` will do.

    `service` states how long the pieces of a session take (default: loopback); `stamped_at` (UTC, ISO 8601) is kept as
    given; `suppose` puts documented platforms in the place of the plan's own hosts. The same arguments give the same
    prediction. Raises ValueError for a flow of more steps than a plan may have.
    """
    simulation = Simulation(plan, service, sessions_max=sessions_max, suppose=suppose)
    tally = Tally()
    for operations, sessions in simulation.batches():
        tally.feed(operations, sessions)
    return predict_from(simulation, tally, stamped_at=stamped_at)


def predict_from(simulation: Simulation, tally: Tally, *, stamped_at: str | None = None) -> Prediction:
    """Return the prediction that a simulation gives whose rows have all been fed to `tally`."""
    plan, setting = simulation.plan, simulation.setting
    tally.sort()
    tally.name_causes(simulation.causes)
    shape = shape_of(plan, simulation.loads, simulation.service)
    limits = path_limits(plan, shape, setting)
    estimator = _estimator(plan, shape, setting, tally.exhausted)
    expected, not_predicted = leave_open(
        plan,
        setting,
        limits,
        simulation.cut_at_ns,
        _expected(plan, simulation, tally, estimator),
        lambda: _counts_depend_on_speed(simulation, tally),
    )
    binding = next((limit for limit in limits if limit.binding), None)
    return Prediction(
        stamped_at=stamped_at,
        run_id=plan.run_id,
        scenario=plan.scenario.name,
        variant=plan.variant,
        service=simulation.service,
        inputs=_inputs(plan, shape, setting),
        assumptions=_assumptions(plan, setting),
        limits=limits,
        binding=None if binding is None else binding.name,
        offered_per_s=shape.offered_per_s,
        ceiling_per_s=_ceiling(limits),
        figures=_figures(plan, shape, setting, tally.exhausted),
        estimator=estimator,
        expected=expected,
        simulated_until_s=None if simulation.cut_at_ns is None else simulation.cut_at_ns / NS_PER_S,
        not_predicted=not_predicted,
    )


# --- in closed form ---------------------------------------------------------------------------------------------------


def _ceiling(limits: tuple[Limit, ...]) -> float | None:
    """The pool's rate of transfers; None where it is shared with ports that are asked for and not used: how many
    of each get one is then no matter of the mean."""
    pools = (Cause.SERVER_PASSIVE_POOL, Cause.SERVER_PASSIVE_POOL_ESCAPED)
    return next((limit.per_s for limit in limits if limit.name in pools and "W" not in limit.symbols), None)


def _inputs(plan: Plan, shape: Shape, setting: Setting) -> dict[str, Symbol]:
    ports = client_ports_of(plan, setting)
    waits = setting.kernels.client.time_wait.hold
    inputs = {
        "r": Symbol(value=shape.offered_per_s, unit="1/s", meaning="offered while loads run"),
        "C": Symbol(value=shape.passive_s, unit="s", meaning="mean time a transfer uses a passive port"),
        "L": Symbol(value=shape.session_s, unit="s", meaning="mean time a session is open when nothing fails"),
        "P": Symbol(value=ports.ports, unit="ports", meaning="ephemeral ports of the client"),
        "S": Symbol(value=ports.sources, unit="addresses", meaning="source addresses of the client"),
        "T": Symbol(value=waits.effective_s, unit="s", meaning=f"TIME_WAIT of the client: {waits.why}"),
        "T_client": Symbol(value=ports.hold.effective_s, unit="s", meaning=f"of it on the client: {ports.hold.why}"),
    }
    server = setting.kernels.server
    if server.said or setting.serving.known:
        hold = server.time_wait.hold
        inputs["T_server"] = Symbol(value=hold.effective_s, unit="s", meaning=f"TIME_WAIT of the server: {hold.why}")
    if setting.serving.ports is not None:
        held = pool_hold(plan, shape, setting)
        assert held is not None
        count = len(setting.serving.ports)
        if shape.unused_s:
            each = "transfer" if shape.counts_transfers else "session"
            why = f"time that passive ports listen for nobody, for each {each}"
            inputs["W"] = Symbol(value=shape.unused_s, unit="s", meaning=why)
        inputs["N"] = Symbol(value=count, unit="ports", meaning="ports of the passive pool")
        inputs["H"] = Symbol(
            value=held.effective_s, unit="s", meaning="mean time a passive port is held after a transfer"
        )
    return inputs


def _figures(plan: Plan, shape: Shape, setting: Setting, exhausted: Cause) -> tuple[Figure, ...]:
    """The pool's occupancy by Little's law, where the offered rate is one number, and N/r where it is when the pool
    runs out, `exhausted` being what does so first."""
    serving = setting.serving
    held = pool_hold(plan, shape, setting)
    if serving.ports is None or held is None or serving.choice == "session" or shape.active_part:
        return ()
    if shape.offered_per_s is None or not shape.counts_transfers or len(plan.loads) > 1:
        return ()
    rate, connection, hold = shape.offered_per_s, shape.passive_s, held.effective_s
    wanted = occupancy(rate, connection + shape.unused_s, hold)
    every = {key: symbol for key, symbol in _inputs(plan, shape, setting).items() if key in ("r", "H", "C", "W", "N")}
    equation = "r x (H + C + W)" if shape.unused_s else "r x (H + C)"
    figures = [Figure(name="passive ports wanted", value=wanted, unit="ports", equation=equation, symbols=every)]
    first = time_to_exhaustion_s(len(serving.ports), rate, connection, hold)
    ran_out = exhausted in (Cause.SERVER_PASSIVE_POOL, Cause.SERVER_PASSIVE_POOL_ESCAPED)
    if first is not None and ran_out and begins_evenly(plan, shape, first):
        figures.append(Figure(name="time to first exhaustion", value=first, unit="s", equation="N/r", symbols=every))
    return tuple(figures)


def _assumptions(plan: Plan, setting: Setting) -> tuple[str, ...]:
    kernels, serving = setting.kernels, setting.serving
    said = [
        "services take as long as `service` says; the server does one thing at a time, the client never waits for CPU",
        "each arrival starts when it is due",
        *(f"TIME_WAIT {_waiting(kernels, name)}" for name in ("client", "server")),
        "TIME_WAIT stays with the side that closes first: control after QUIT and downloads with the server, uploads "
        "with the client",
        "an incoming SYN replaces a TIME_WAIT of the server, so the server keeps at most one for each 4-tuple",
        "after a failed step: " + "; ".join(_habits(plan)),
    ]
    if not kernels.client.said:
        first, last = LINUX_EPHEMERAL_RANGE
        said.append(f"the host did not say its ephemeral range: {first} to {last}, the kernel's default")
    if plan.shard[1] > 1 or plan.workers > 1:
        said.append("counts are of the whole plan, all shards and workers together")
    if serving.accept_interval_ns is not None:
        said.append(f"a connection beyond the backlog {_beyond(kernels)}")
    if plan.scenario.target.server is not None and serving.known:
        said.append(f"{serving.name} does as its measured release did: {_server_habit(serving)}")
    if setting.way.nat_ports is not None:
        said.append("a closed connection's translated port is free " + _until(setting.way.nat_hold.effective_s))
    if not serving.known:
        said.append("the server refuses nothing")
    return tuple(said)


def _waiting(kernels: Kernels, side: Literal["client", "server"]) -> str:
    kernel = kernels.client if side == "client" else kernels.server
    hold = kernel.time_wait.hold
    length = f"{hold.effective_s:g} s"
    if hold.high_s > hold.low_s:
        length = f"{hold.low_s:g} to {hold.high_s:g} s, {hold.effective_s:g} s in the mean"
    platform = "" if kernel.platform is None else f" ({kernel.platform})"
    return f"of the {side}{platform} lasts {length}"


def _beyond(kernels: Kernels) -> str:
    if kernels.server.syncookies:
        return (
            "is left unheard until the greeting's timeout where handshakes overlap (SYN cookies are on); on a wire "
            "without delay its SYN is dropped, and repeated from 1 s on together with all others"
        )
    if kernels.server.abort_on_overflow:
        return "is reset (tcp_syncookies=0, tcp_abort_on_overflow=1)"
    return "sends its SYN again from 1 s on until there is room (tcp_syncookies=0)"


def _until(hold_s: float) -> str:
    return f"{hold_s:g} s later" if hold_s else "at once"


def _server_habit(serving: Serving) -> str:
    choices = {
        "oldest": "the port that has been free longest",
        "random": "any free port of its range",
        "tries": f"at most {serving.tries} ports of its range drawn at random",
        "kernel": "the kernel's choice, which no TIME_WAIT may hold",
        "session": "one port for each control connection",
    }
    full = "opens one outside the range" if serving.escapes else f"answers {serving.reply!r}"
    return f"{choices[serving.choice]}; where there is none it {full}"


def _habits(plan: Plan) -> list[str]:
    habits = []
    for name in sorted(plan.used_flows):
        habit = plan.scenario.flows[name].on_failure
        habits.append(
            f"{name}: {habit if isinstance(habit, str) else f'retry {habit.retry.times} times, then continue'}"
        )
    return habits


def _counts_depend_on_speed(simulation: Simulation, tally: Tally) -> bool:
    """Tell whether anything is counted differently where waits or the server's work take longer or less long.

    One of them at a time: what all arrives at one instant is the same whatever both take. A long plan is not tried: it
    counts as one that depends.
    """
    if sum(tally.outcomes.values()) > TRIED_MAX:
        return True
    for factor in (SLOWER, 1 / SLOWER):
        if _counts_differ(simulation.stretched(waits=factor), tally):
            return True
        if _counts_differ(simulation.stretched(work=factor), tally):
            return True
    return False


def _counts_differ(simulation: Simulation, tally: Tally) -> bool:
    other = Tally()
    for operations, sessions in simulation.batches():
        other.feed(operations, sessions)
    return (other.outcomes, other.transfers, other.failures) != (tally.outcomes, tally.transfers, tally.failures)


# --- simulated --------------------------------------------------------------------------------------------------------


def _estimator(plan: Plan, shape: Shape, setting: Setting, exhausted: Cause) -> EstimatorInputs:
    """The resource whose rounds are counted: the client's ports where they are what runs out, else the pool."""
    emulator = plan.scenario.target.emulator
    ends = [load_end_ns(load) for _, load in plan.loads if not ends_early(load)]
    certain = min(max(ends, default=0), plan.scenario.stop.max_duration)
    size: int | None = None
    hold: int | None = None
    by = FailureClass.PASSIVE_EXHAUSTED
    if exhausted in (Cause.CLIENT_EPHEMERAL_PORTS, Cause.CLIENT_BIND_HABIT):
        by = FailureClass.LOCAL_PORTS_EXHAUSTED
        hold = round(client_ports_of(plan, setting).hold.effective_s * NS_PER_S)
    elif exhausted is Cause.SERVER_EPHEMERAL_PORTS:
        by, kernel = FailureClass.TRANSFER_ABORTED, setting.kernels.server
        size, hold = four_tuple_budget(kernel.ports), round(kernel.outgoing_hold.effective_s * NS_PER_S)
    elif emulator is not None:
        size, hold = emulator.passive_count, 0 if emulator.hold.after == "none" else emulator.hold.for_
    elif setting.serving.held and setting.serving.ports is not None:
        size = len(setting.serving.ports)
        hold = round(setting.kernels.server.time_wait.hold.effective_s * NS_PER_S)
    return EstimatorInputs(
        load_start_ns=shape.load_start_ns,
        load_end_ns=None if certain < shape.load_end_ns else shape.load_end_ns,
        load_end_at_least_ns=certain,
        load_end_at_most_ns=shape.load_end_ns,
        pool_size=size,
        hold_ns=hold,
        exhausted_by=by.word,
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
    pool_empty_ns = tally.first_ns.get(FailureClass.from_word(estimator.exhausted_by))
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
        peaks=_peaks(plan, simulation),
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


def _peaks(plan: Plan, simulation: Simulation) -> ExpectedPeaks:
    setting, seen = simulation.setting, simulation.world.occupancies
    ports = client_ports_of(plan, setting)
    control, data = seen.server_control_time_wait.peak(), seen.server_data_time_wait.peak()
    if not ports.port_space:
        control = min(control, ports.control_budget)
        data = data if ports.data_budget is None else min(data, ports.data_budget)
    return ExpectedPeaks(
        client_ephemeral_in_use=min(seen.client_ports.peak(), ports.ports * ports.sources),
        client_time_wait=seen.client_time_wait.peak(),
        server_time_wait=control + data,
        passive_pool_taken=seen.passive_pool.peak() if setting.serving.known else None,
        sessions=seen.sessions.peak(),
        connections=seen.connections.peak(),
    )


def _recovery_s(exhausted: Cause, seen: Occupancies, load_end_ns: int) -> float | None:
    """Whichever resource ran out, until the last of its places is free."""
    resource: Occupancy | None = {
        Cause.SERVER_PASSIVE_POOL: seen.passive_pool,
        Cause.SERVER_PASSIVE_POOL_ESCAPED: seen.passive_pool,
        Cause.CLIENT_EPHEMERAL_PORTS: seen.client_ports,
        Cause.CLIENT_BIND_HABIT: seen.client_ports,
        Cause.ACTIVE_PORT_REUSED: seen.client_ports,
        Cause.SERVER_CONNECTION_CAP: seen.sessions,
        Cause.PER_ADDRESS_LIMIT: seen.sessions,
        Cause.NAT_POOL: seen.sessions,
    }.get(exhausted)
    last = None if resource is None else resource.last_end_ns()
    return None if last is None else max(0, last - load_end_ns) / NS_PER_S
