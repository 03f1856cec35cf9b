"""What a prediction leaves open: quantities that the plan does not determine are made null, each with the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from ftpstorm.limits.limit import Limit
from ftpstorm.plan.plan import AnyLoad, Plan, transfers_of, unroll
from ftpstorm.scenario.flow import OnFailure
from ftpstorm.scenario.load import (
    Burst,
    ConstantSessions,
    HoldSessions,
    ProbeUntilSuccess,
    RampingSessions,
    Replay,
    SharedIterations,
)
from ftpstorm.scenario.variables import has_variables
from ftpstorm.simulate.prediction import Expected, NotPredicted
from ftpstorm.vocabulary import TRANSFERS, FailureClass, Operation

CLOSED = (ConstantSessions, RampingSessions, SharedIterations, ProbeUntilSuccess)
ACTIVE = ("active", "eprt")
CHANGING = (Operation.MKD, Operation.DELE)
"""Commands that the emulator refuses: it changes no files."""
ALL_SESSIONS = ("started", "succeeded", "failed", "interrupted", "dropped")
ALL_TRANSFERS = ("attempted", "retried", "succeeded", "failed")
ALL_PEAKS = ("client_ephemeral_in_use", "client_time_wait", "server_time_wait", "passive_pool_taken", "sessions")


def leave_open(
    plan: Plan, limits: tuple[Limit, ...], cut_at_ns: int | None, expected: Expected
) -> tuple[Expected, tuple[NotPredicted, ...]]:
    """Return `expected` without what cannot be foretold of `plan`, and what that is.

    `cut_at_ns` is where the simulation was ended early, None where it ran to its end.
    """
    reasons = {
        f"limits.{limit.name}": limit.not_applicable_reason
        for limit in limits
        if limit.unknown and limit.not_applicable_reason is not None
    }
    if plan.scenario.target.emulator is None:
        _remote(reasons)
    _protection(plan, reasons)
    _unmodelled_steps(plan, reasons)
    _speed(plan, expected, reasons)
    if cut_at_ns is not None:
        _too_long(reasons)
    _backlog(plan, reasons)
    _races(plan, expected, reasons)
    _named_by_variables(plan, reasons)
    if "expected.sustained" not in reasons and expected.sustained is not None and expected.sustained.reason:
        reasons["expected.sustained.rate_per_s"] = expected.sustained.reason
    opened = Expected.model_validate(_blank(expected.model_dump(), reasons))
    return opened, tuple(NotPredicted(quantity=quantity, why=why) for quantity, why in reasons.items())


def _set(reasons: dict[str, str], prefix: str, names: tuple[str, ...], why: str) -> None:
    for name in names:
        reasons.setdefault(f"expected.{prefix}{name}", why)


def _remote(reasons: dict[str, str]) -> None:
    why = "the server's limits and habits are not known beforehand"
    _set(
        reasons, "", ("sustained", "failures", "first_failure_s", "first_exhaustion_s", "exhausted", "recovery_s"), why
    )
    _set(reasons, "sessions.", ALL_SESSIONS, why)
    _set(reasons, "transfers.", ALL_TRANSFERS, why)
    _set(reasons, "peaks.", ALL_PEAKS, why)


def _protection(plan: Plan, reasons: dict[str, str]) -> None:
    """TLS takes round trips and CPU time that the service times leave out."""
    if plan.scenario.target.tls.mode != "none":
        why = (
            "the service times are those of plain FTP: TLS handshakes and encryption come on top, and are not modelled"
        )
        for quantity in ("inputs.C", "inputs.L"):
            reasons[quantity] = why


def _unmodelled_steps(plan: Plan, reasons: dict[str, str]) -> None:
    """Steps whose course the model does not know: it takes active mode for passive, and an abort for one command."""
    mode = plan.scenario.client.mode
    for name in plan.used_flows:
        for step in unroll(plan.scenario.flows[name]):
            opens = step.operation in TRANSFERS
            active = opens and (step.options.mode or mode) in ACTIVE
            if active:
                why = (
                    f"flow {name} transfers in active mode, in which the server connects: the model knows passive alone"
                )
            elif step.operation is Operation.ABORT:
                why = f"flow {name} aborts transfers: how far they come, and what that takes of ports, only a run shows"
            elif step.operation in CHANGING:
                why = f"flow {name} has commands ({step.operation.word}) that the model takes to succeed"
            else:
                continue
            _set(reasons, "", ("failures", "first_failure_s"), why)
            _set(reasons, "sessions.", ("succeeded", "failed"), why)
            if active or step.operation is Operation.ABORT:
                _set(reasons, "", ("sustained", "first_exhaustion_s", "exhausted", "recovery_s"), why)
                _set(reasons, "sessions.", ALL_SESSIONS, why)
                _set(reasons, "transfers.", ALL_TRANSFERS, why)
                _set(reasons, "peaks.", ALL_PEAKS, why)


def _speed(plan: Plan, expected: Expected, reasons: dict[str, str]) -> None:
    """Closed loads go as fast as both hosts let them, which service times only guess."""
    loads = [load for _, load in plan.loads]
    if any(isinstance(load, ProbeUntilSuccess) for load in loads):
        why = "a probe tries until it succeeds, and microseconds decide whether the next try still finds nothing"
        _set(reasons, "sessions.", ("planned", *ALL_SESSIONS), why)
        _set(reasons, "transfers.", ("offered", *ALL_TRANSFERS), why)
        if expected.failures:
            _set(reasons, "", ("failures",), why)
    if any(isinstance(load, ConstantSessions | RampingSessions) for load in loads):
        why = "a closed load does as many sessions as the two hosts are fast, and the service times only guess at that"
        _set(reasons, "sessions.", ("planned", *ALL_SESSIONS), why)
        _set(reasons, "transfers.", ("offered", *ALL_TRANSFERS), why)
        _set(reasons, "peaks.", ("server_time_wait", "client_time_wait", "client_ephemeral_in_use"), why)
        if expected.failures:
            _set(reasons, "", ("failures", "first_failure_s", "first_exhaustion_s"), why)
    elif any(isinstance(load, SharedIterations) for load in loads):
        why = "when a closed load meets the limit depends on how fast the two hosts are, which service times only guess"
        if expected.failures:
            _set(reasons, "sessions.", ("succeeded", "failed"), why)
            _set(reasons, "transfers.", ALL_TRANSFERS, why)
            _set(reasons, "", ("failures", "first_failure_s", "first_exhaustion_s", "recovery_s"), why)
    nothing_ran_out = expected.sustained is not None and expected.sustained.method == "achieved, nothing ran out"
    if nothing_ran_out and any(isinstance(load, CLOSED) for load in loads):
        why = "nothing runs out: a closed load goes as fast as the two hosts let it"
        reasons.setdefault("expected.sustained", why)
    if any(_at_one_instant(load) > 1 for load in loads):
        why = "how many sessions of a burst are open at one instant depends on the speed of both hosts"
        _set(reasons, "peaks.", ("client_ephemeral_in_use", "sessions"), why)


def _too_long(reasons: dict[str, str]) -> None:
    why = "the plan is too long to simulate to its end beforehand; `simulated_until_s` says how far it was"
    _set(reasons, "", ("failures", "recovery_s"), why)
    _set(reasons, "sessions.", ALL_SESSIONS, why)
    _set(reasons, "transfers.", ALL_TRANSFERS, why)
    _set(reasons, "peaks.", ALL_PEAKS, why)


def _backlog(plan: Plan, reasons: dict[str, str]) -> None:
    """A burst beyond the backlog of a listener that accepts as fast as it can: a race that the kernel decides."""
    emulator = plan.scenario.target.emulator
    if emulator is None or emulator.accept_rate is not None:
        return
    largest = max(_at_one_instant(load) for _, load in plan.loads)
    if largest > emulator.backlog + 1:
        reasons["limits.backlog-ghost"] = (
            f"{largest} sessions arrive at one instant and the listener holds {emulator.backlog + 1}: how many are "
            "refused or left unheard depends on how fast it accepts and on the kernel's SYN cookie settings"
        )


def _at_one_instant(load: AnyLoad) -> int:
    """Return how many sessions the load starts at one and the same instant, where that is part of its meaning."""
    match load:
        case Burst() | HoldSessions():
            return load.sessions if load.over == 0 else 0
        case Replay():
            return max(Counter(load.arrivals.instants_ns).values())
        case _:
            return 0


def _named_by_variables(plan: Plan, reasons: dict[str, str]) -> None:
    """A download whose name has variables: which file that is, and whether there is one, is the server's to say."""
    for name in plan.used_flows:
        for step in unroll(plan.scenario.flows[name]):
            files = step.options.file if step.operation is Operation.RETR else ()
            if any(has_variables(file) for file in (files if isinstance(files, tuple) else (files,))):
                why = f"flow {name} fetches files whose names have variables: whether there are any, a run shows"
                _set(reasons, "", ("failures",), why)
                _set(reasons, "sessions.", ("succeeded", "failed"), why)
                _set(reasons, "transfers.", ("succeeded", "failed"), why)
                return


def _races(plan: Plan, expected: Expected, reasons: dict[str, str]) -> None:
    """What microseconds decide."""
    failures = expected.failures or {}
    flows = [plan.scenario.flows[name] for name in plan.used_flows]
    contested = any(isinstance(flow.on_failure, OnFailure) or transfers_of(flow) > 1 for flow in flows)
    if contested and FailureClass.PASSIVE_EXHAUSTED.word in failures:
        why = "sessions want a port more than once, and microseconds decide which of them gets one that becomes free"
        _set(reasons, "sessions.", ("succeeded", "failed", "interrupted", "dropped", "started"), why)
    if FailureClass.BUSY_AT_GREETING.word in failures:
        why = "after a 421 greeting both sides close at once: which of them keeps the TIME_WAIT is a race"
        _set(reasons, "peaks.", ("client_time_wait", "server_time_wait", "client_ephemeral_in_use"), why)


def _blank(values: dict[str, object], reasons: Mapping[str, str]) -> dict[str, object]:
    for quantity in reasons:
        head, _, rest = quantity.partition(".")
        if head != "expected":
            continue
        section, _, field = rest.partition(".")
        inner = values.get(section)
        if not field:
            values[section] = None
        elif isinstance(inner, dict):
            inner[field] = None
    return values
