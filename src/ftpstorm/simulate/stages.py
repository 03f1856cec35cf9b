"""A flow's steps as the model needs them: what each moves, who closes first, how long its port is held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ftpstorm.limits.timewait import time_wait_keeper
from ftpstorm.plan.plan import PlannedStep, unroll
from ftpstorm.scenario.flow import Flow
from ftpstorm.scenario.schema import Scenario
from ftpstorm.scenario.target import Hold, Target
from ftpstorm.simulate.service import ServiceTimes
from ftpstorm.vocabulary import TRANSFERS, DataMode, Operation, Side

LOGIN_REPLIES: Final = 3
"""USER, PASS and TYPE."""
LISTING_LINE_BYTES: Final = 64
"""About what one file takes in a listing."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One executed step."""

    operation: Operation
    logs_in: bool
    quits: bool
    transfer: bool
    """Opens a data connection and moves bytes."""
    passive: bool
    """Asks for a passive port (a transfer, or pasv-only)."""
    duration_ns: int
    """Of a step without data connection: its replies, or the pause."""
    size_bytes: int
    mode: DataMode
    keeper: Side | None
    """Which side keeps the data connection's TIME_WAIT; None for neither."""
    hold_ns: int
    """How long the emulator holds the passive port after the data connection."""


def stages_of(flow: Flow, scenario: Scenario, service: ServiceTimes) -> tuple[Stage, ...]:
    """Return the stages of one session of `flow`. Equal steps share one object."""
    known: dict[int, Stage] = {}
    stages = []
    for step in unroll(flow):
        stage = known.get(id(step.options))
        if stage is None:
            stage = known[id(step.options)] = _stage(step, scenario, service)
        stages.append(stage)
    return tuple(stages)


def closes_first(step: PlannedStep) -> Side:
    """Return who closes the data connection of a transfer first: its sender, unless the scenario says otherwise."""
    if step.options.close.first == "natural":
        return Side.CLIENT if step.operation in (Operation.STOR, Operation.APPE) else Side.SERVER
    return Side(step.options.close.first)


def holds_port(hold: Hold, first_closer: Side) -> bool:
    """Return whether the emulator's rule holds a port whose data connection `first_closer` closed first."""
    return hold.for_ > 0 and (
        hold.after == "any-close" or (hold.after == "server-close" and first_closer is Side.SERVER)
    )


def on_loopback(target: Target) -> bool:
    """Return whether the target is known to be on loopback: the emulator is, and so are 127/8, ::1 and localhost."""
    return target.host is None or target.host in ("::1", "localhost") or target.host.startswith("127.")


def _stage(step: PlannedStep, scenario: Scenario, service: ServiceTimes) -> Stage:
    operation, options = step.operation, step.options
    duration, size, keeper, hold_ns = 0, 0, None, 0
    transfer = operation in TRANSFERS
    passive = transfer or operation is Operation.PASV_ONLY
    if transfer:
        size = _size(step, scenario)
        first = closes_first(step)
        reset = options.close.with_ == "rst"
        keeper = time_wait_keeper(first, reset=reset)
        emulator = scenario.target.emulator
        if emulator is not None and holds_port(emulator.hold, first):
            hold_ns = emulator.hold.for_
    elif operation is Operation.THINK:
        duration = options.duration
    elif not passive:
        duration = service.reply_ns * (LOGIN_REPLIES if operation is Operation.LOGIN else 1)
    mode = DataMode.NONE
    if passive:
        asked = options.mode or scenario.client.mode
        mode = DataMode.PASV if asked == "pasv" else DataMode.EPSV
    return Stage(
        operation=operation,
        logs_in=operation is Operation.LOGIN,
        quits=operation is Operation.QUIT,
        transfer=transfer,
        passive=passive,
        duration_ns=duration,
        size_bytes=size,
        mode=mode,
        keeper=keeper,
        hold_ns=hold_ns,
    )


def _size(step: PlannedStep, scenario: Scenario) -> int:
    if step.operation in (Operation.STOR, Operation.APPE):
        return int(step.options.size)
    if step.operation is Operation.RETR:
        return scenario.files.get(step.options.file, 0)
    return LISTING_LINE_BYTES * len(scenario.files)
