"""What a prediction leaves open: quantities that the plan does not determine are made null, each with the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from ftpstorm.limits.limit import Limit
from ftpstorm.plan.plan import AnyLoad, Plan, PlannedStep, transfers_of, unroll
from ftpstorm.scenario.flow import Flow, OnFailure
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
from ftpstorm.simulate.stages import closes_first
from ftpstorm.simulate.world import Setting
from ftpstorm.vocabulary import TRANSFERS, Cause, FailureClass, Operation, Side

CLOSED = (ConstantSessions, RampingSessions, SharedIterations, ProbeUntilSuccess)
ACTIVE = ("active", "eprt")
ONE_GROUP = 640
"""Sessions that a client starts in 32 ms, at 20,000 a second: their repeated SYNs are likely one group of timers."""
CHANGING = (Operation.MKD, Operation.DELE)
"""Commands that the emulator refuses, since it changes no files; other servers may as well."""
ALL_SESSIONS = ("started", "succeeded", "failed", "interrupted", "dropped")
ALL_TRANSFERS = ("attempted", "retried", "succeeded", "failed")
ALL_PEAKS = (
    "client_ephemeral_in_use",
    "client_time_wait",
    "server_time_wait",
    "passive_pool_taken",
    "sessions",
    "connections",
)


def leave_open(
    plan: Plan,
    setting: Setting,
    limits: tuple[Limit, ...],
    cut_at_ns: int | None,
    expected: Expected,
    counts_depend_on_speed: Callable[[], bool],
) -> tuple[Expected, tuple[NotPredicted, ...]]:
    """Return `expected` without what cannot be foretold of `plan`, and what that is.

    `cut_at_ns` is where the simulation was ended early, None where it ran to its end. `counts_depend_on_speed` tells
    whether the simulation of slower or faster hosts counts anything differently; it is asked only where that matters.
    """
    reasons = {
        f"limits.{limit.name}": limit.not_applicable_reason
        for limit in limits
        if limit.unknown and limit.not_applicable_reason is not None
    }
    if not setting.serving.known:
        _remote(plan, reasons)
    _protection(plan, reasons)
    _between(plan, setting, expected, reasons)
    _unmodelled_steps(plan, setting, reasons)
    _speed(plan, expected, reasons)
    if cut_at_ns is not None:
        _too_long(reasons)
    _behind(plan, reasons)
    _backlog(plan, setting, reasons)
    _groups_of_repeats(plan, setting, expected, reasons)
    _races(plan, setting, expected, reasons)
    _speed_of_ports(plan, setting, expected, reasons, counts_depend_on_speed)
    _named_by_variables(plan, reasons)
    if "expected.sustained" not in reasons and expected.sustained is not None and expected.sustained.reason:
        reasons["expected.sustained.rate_per_s"] = expected.sustained.reason
    opened = Expected.model_validate(_blank(expected.model_dump(), reasons))
    return opened, tuple(NotPredicted(quantity=quantity, why=why) for quantity, why in reasons.items())


def _set(reasons: dict[str, str], prefix: str, names: tuple[str, ...], why: str) -> None:
    for name in names:
        reasons.setdefault(f"expected.{prefix}{name}", why)


def _everything(reasons: dict[str, str], why: str) -> None:
    rates = ("sustained", "failures", "first_failure_s", "first_exhaustion_s", "exhausted", "recovery_s")
    _set(reasons, "", rates, why)
    _set(reasons, "sessions.", ALL_SESSIONS, why)
    _set(reasons, "transfers.", ALL_TRANSFERS, why)
    _set(reasons, "peaks.", ALL_PEAKS, why)


def _outcomes(reasons: dict[str, str], why: str) -> None:
    _set(reasons, "", ("failures", "first_failure_s"), why)
    _set(reasons, "sessions.", ("succeeded", "failed"), why)
    _set(reasons, "transfers.", ALL_TRANSFERS, why)


def _remote(plan: Plan, reasons: dict[str, str]) -> None:
    own = plan.scenario.target.server is not None
    _everything(
        reasons,
        "the habits of a server that the scenario starts by `command` are not known beforehand"
        if own
        else "the server's limits and habits are not known beforehand",
    )


def _between(plan: Plan, setting: Setting, expected: Expected, reasons: dict[str, str]) -> None:
    """What the router and the wire do that the model has no part for."""
    lab, way = plan.scenario.lab, setting.way
    if lab is not None and lab.firewall is not None and lab.firewall.rate_limit is not None:
        why = "which connections a filter lets through that counts them by rate depends on its token bucket"
        _everything(reasons, why)
    if lab is not None and lab.link is not None and lab.link.loss:
        why = f"{lab.link.loss:.2%} of the packets are lost: which ones, and how long their repetition takes, is chance"
        for quantity in ("inputs.C", "inputs.L"):
            reasons.setdefault(quantity, why)
        _outcomes(reasons, why)
    waiting = expected.peaks.server_time_wait
    targets = 1 if lab is None else lab.server_addresses
    translated = None if way.nat_ports is None else way.nat_ports * targets
    if translated is not None and setting.kernels.client.timestamps and waiting and waiting > translated:
        why = (
            "the router gives a translated port again while the server keeps the last connection on it in TIME_WAIT: "
            "with TCP timestamps the server may refuse the SYN (PAWS), and how often shows only in a run"
        )
        _outcomes(reasons, why)
        _set(reasons, "", ("sustained", "exhausted", "first_exhaustion_s", "recovery_s"), why)
        _set(reasons, "peaks.", ("server_time_wait", "client_time_wait"), why)
    if setting.kernels.one_host and setting.serving.choice == "kernel":
        why = "client and server draw their ports from one range, and which of them finds none is a race"
        _outcomes(reasons, why)
        _set(reasons, "", ("sustained", "exhausted", "first_exhaustion_s", "recovery_s"), why)


def _protection(plan: Plan, reasons: dict[str, str]) -> None:
    """TLS takes round trips and CPU time that the service times leave out."""
    target = plan.scenario.target
    if target.tls.mode != "none" or (target.server is not None and target.server.tls != "none"):
        why = (
            "the service times are those of plain FTP: TLS handshakes and encryption come on top, and are not modelled"
        )
        for quantity in ("inputs.C", "inputs.L"):
            reasons[quantity] = why


def _unmodelled_steps(plan: Plan, setting: Setting, reasons: dict[str, str]) -> None:
    """Steps whose course the model does not know: it takes active mode for passive, and an abort for one command."""
    mode = plan.scenario.client.mode
    for name in plan.used_flows:
        for step in unroll(plan.scenario.flows[name]):
            opens = step.operation in TRANSFERS
            active = opens and (step.options.mode or mode) in ACTIVE and not _listens_alone(plan, setting, step)
            if active:
                why = (
                    f"flow {name} transfers in active mode: which port the server connects from, and whether its own "
                    "TIME_WAIT lets it, only a run shows"
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


def _listens_alone(plan: Plan, setting: Setting, step: PlannedStep) -> bool:
    """Tell whether only the client's ports decide about a transfer in active mode: the client closes it first."""
    server = plan.scenario.target.server
    known = setting.serving.known and server is not None and server.name != "aioftp"  # aioftp knows no PORT
    return known and closes_first(step) is Side.CLIENT and plan.scenario.client.active_ports is not None


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
    achieved = expected.sustained is not None and expected.sustained.method == "achieved, nothing ran out"
    if achieved and expected.exhausted is Cause.NONE and any(isinstance(load, CLOSED) for load in loads):
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


def _behind(plan: Plan, reasons: dict[str, str]) -> None:
    """What an emulator with a back end, or with sockets that it never closes, leaves to a run."""
    emulator = plan.scenario.target.emulator
    if emulator is None:
        return
    if emulator.leak is not None:
        _set(reasons, "", ("recovery_s",), "what a server forgets to close is never free again")
        why = "a client whose close is never answered keeps FIN_WAIT_2, not TIME_WAIT, until its kernel gives up"
        _set(reasons, "peaks.", ("client_time_wait",), why)
    if emulator.backend is not None and emulator.backend.no_port == "wait":
        why = "transfers that wait for a port towards the back end come when one is free, not when they are asked for"
        _everything(reasons, why)
    elif emulator.backend is not None and emulator.backend.per == "pool" and emulator.backend.takes:
        why = "a transfer waits for an idle connection to the back end: how long depends on who else waits"
        _set(reasons, "", ("sustained",), why)


def _backlog(plan: Plan, setting: Setting, reasons: dict[str, str]) -> None:
    """A burst beyond the backlog of a listener that accepts as fast as it can: a race that the kernel decides."""
    serving = setting.serving
    if serving.backlog is None or serving.accept_interval_ns is not None:
        return
    backlog = min(serving.backlog, setting.kernels.server.somaxconn)
    largest = max(_at_one_instant(load) for _, load in plan.loads)
    if largest > backlog + 1:
        why = (
            f"{largest} sessions arrive at one instant and the listener holds {backlog + 1}: how many are "
            "refused or left unheard depends on how fast it accepts and on the kernel's SYN cookie settings"
        )
        reasons["limits.backlog-ghost"] = why
        _outcomes(reasons, why)


def _groups_of_repeats(plan: Plan, setting: Setting, expected: Expected, reasons: dict[str, str]) -> None:
    """A burst so large that more SYNs come again than a listener keeps requests, and what it cannot accept is reset."""
    serving, kernel = setting.serving, setting.kernels.server
    if serving.backlog is None or serving.accept_interval_ns is None or setting.way.trip_ns:
        return
    if kernel.syncookies or not kernel.abort_on_overflow:
        return
    places = min(serving.backlog, kernel.somaxconn) + 1
    again = max(_at_one_instant(load) for _, load in plan.loads) - places
    if again <= max(places, ONE_GROUP):
        return
    why = (
        f"{again:,} clients send their SYN again within moments of each other: "
        f"about {expected.sessions.succeeded or 0:,} sessions succeed where all of these SYNs arrive together, and "
        f"fewer where the client's kernel lets them go in groups: of each, up to {places:,} are answered and reset"
    )
    _set(reasons, "", ("sustained", "failures"), why)
    _set(reasons, "sessions.", ("succeeded", "failed"), why)
    _set(reasons, "transfers.", ("attempted", "succeeded"), why)
    _set(reasons, "peaks.", ("server_time_wait",), why)


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


def _speed_of_ports(
    plan: Plan, setting: Setting, expected: Expected, reasons: dict[str, str], depend: Callable[[], bool]
) -> None:
    """A pool whose ports nobody holds runs out only as transfers take their time, which service times guess."""
    failures = expected.failures or {}
    short = {FailureClass.PASSIVE_EXHAUSTED.word, FailureClass.PASSIVE_OUT_OF_RANGE.word} & failures.keys()
    if not short or plan.scenario.target.emulator is not None or setting.serving.held:
        return
    if setting.serving.choice != "tries" and not depend():
        return
    why = (
        "the server can open a port again at once, so how many are taken depends on how long a transfer takes, which "
        "the service times only guess"
    )
    if setting.serving.choice == "session":
        why = "a port is free again when its control connection ends: how long that takes the service times only guess"
    if setting.serving.choice == "tries":
        why += f"; and which {setting.serving.tries} ports the server draws is chance"
    _outcomes(reasons, why)
    _set(reasons, "", ("sustained", "first_exhaustion_s", "recovery_s"), why)


def _makes_ghosts(expected: Expected) -> bool:
    """Tell whether a full accept queue leaves clients connected to nobody."""
    return expected.exhausted is Cause.BACKLOG_GHOST


def _races(plan: Plan, setting: Setting, expected: Expected, reasons: dict[str, str]) -> None:
    """What microseconds decide."""
    foreign = plan.scenario.client.driver != "storm"
    if foreign and FailureClass.GREETING_RESET.word in (expected.failures or {}) and not setting.way.trip_ns:
        why = "whether a reset comes before or after asyncio's connect has returned, and so its class, is a race"
        _set(reasons, "", ("failures",), why)
    if _makes_ghosts(expected):
        why = "how long a client's kernel goes on telling nobody that it closes depends on its orphan retries"
        _set(reasons, "peaks.", ("client_time_wait", "client_ephemeral_in_use"), why)
    nudged = plan.scenario.client.greeting_nudge is not None
    if nudged and FailureClass.GREETING_SILENT.word in (expected.failures or {}):
        why = "`client.greeting_nudge` may have the kernel take a ghost in after all, or answer it with RST"
        _outcomes(reasons, why)
    failures = expected.failures or {}
    flows = [plan.scenario.flows[name] for name in plan.used_flows]
    contested = any(isinstance(flow.on_failure, OnFailure) or transfers_of(flow) > 1 for flow in flows)
    if contested and FailureClass.PASSIVE_EXHAUSTED.word in failures:
        why = "sessions want a port more than once, and microseconds decide which of them gets one that becomes free"
        _set(reasons, "sessions.", ("succeeded", "failed", "interrupted", "dropped", "started"), why)
    if any(_leaves_first(flow) for flow in flows):
        why = "after 221 the server closes at once and so does the client: which of them keeps the TIME_WAIT is a race"
        _set(reasons, "peaks.", ("client_time_wait", "server_time_wait", "client_ephemeral_in_use"), why)
        if FailureClass.LOCAL_PORTS_EXHAUSTED.word in failures:
            _outcomes(reasons, why)
            _set(reasons, "", ("sustained", "first_exhaustion_s", "recovery_s"), why)
    if FailureClass.BUSY_AT_GREETING.word in failures:
        why = "after a 421 greeting both sides close at once: which of them keeps the TIME_WAIT is a race"
        _set(reasons, "peaks.", ("client_time_wait", "server_time_wait", "client_ephemeral_in_use"), why)


def _leaves_first(flow: Flow) -> bool:
    """Tell whether the client closes its control connection as soon as QUIT is answered."""
    quits = [step.options.close for step in unroll(flow) if step.operation is Operation.QUIT]
    return any(close.first == "client" and close.with_ != "rst" for close in quits)


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
