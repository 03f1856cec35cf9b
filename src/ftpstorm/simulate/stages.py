"""A flow's steps as the model needs them: what each moves, who closes first, how long its port is held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ftpstorm.limits.timewait import time_wait_keeper
from ftpstorm.plan.plan import AnyLoad, HoldStep, PlannedStep, session_steps, unroll
from ftpstorm.records.schema import UNKNOWN
from ftpstorm.scenario.flow import Flow
from ftpstorm.scenario.load import HoldSessions
from ftpstorm.scenario.schema import Scenario
from ftpstorm.scenario.target import Hold
from ftpstorm.simulate.service import ServiceTimes
from ftpstorm.vocabulary import TRANSFERS, DataMode, FailureClass, Operation, Outcome, Phase, Side

LOGIN_REPLIES: Final = 3
"""USER, PASS and TYPE."""
_MODES: Final = {"pasv": DataMode.PASV, "active": DataMode.PORT, "eprt": DataMode.EPRT}
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
    """Asks for a data connection (a transfer), or for a passive port alone (pasv-only)."""
    asked_ns: int
    """How long after its command was sent the port is taken: half a round trip later on the server, at once here."""
    duration_ns: int
    """Of a step without data connection: its replies, or the pause."""
    size_bytes: int
    mode: DataMode
    keeper: Side | None
    """Which side keeps the TIME_WAIT of the data connection, or of control where the step quits; None for neither."""
    hold_ns: int
    """How long the emulator holds the passive port after the data connection."""
    active: bool = False
    """The server connects, to a port that the client announces."""
    sizes: tuple[int, ...] = ()
    """Where it is one of a list of files or sizes: what sessions and steps move in turn; `size_bytes` is the mean."""
    unfailed: tuple[tuple[int, ...], ...] = ()
    """What its row says from `operation` to `text` where it did not fail: by the Outcome's number."""
    until_ns: int | None = None
    """Of a stay: when it ends, in ns after start_at; `duration_ns` is the mean."""

    def moved_bytes(self, turn: int) -> int:
        """Return what is moved in turn number `turn`: the session's number plus the step's."""
        return self.sizes[turn % len(self.sizes)] if self.sizes else self.size_bytes


def stages_of(flow: Flow, scenario: Scenario, service: ServiceTimes, load: AnyLoad | None = None) -> tuple[Stage, ...]:
    """Return the stages of one session of `flow`, in `load` where that adds to them. Equal steps share one object."""
    known: dict[int, Stage] = {}
    stages = []
    for step in unroll(flow) if load is None else session_steps(load, flow):
        stage = known.get(id(step.options))
        if stage is None:
            stage = known[id(step.options)] = _stage(step, scenario, service, load)
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


def _stage(step: PlannedStep, scenario: Scenario, service: ServiceTimes, load: AnyLoad | None) -> Stage:
    operation, options = step.operation, step.options
    duration, size, keeper, hold_ns = 0, 0, None, 0
    sizes: tuple[int, ...] = ()
    transfer = operation in TRANSFERS
    passive = transfer or operation is Operation.PASV_ONLY
    if transfer:
        sizes = _sizes(step, scenario)
        size = sum(sizes) // len(sizes)
        first = closes_first(step)
        reset = options.close.with_ == "rst"
        keeper = time_wait_keeper(first, reset=reset)
        emulator = scenario.target.emulator
        if emulator is not None and holds_port(emulator.hold, first):
            hold_ns = emulator.hold.for_
    elif operation is Operation.QUIT:
        client_first = options.close.first == "client"
        keeper = time_wait_keeper(Side.CLIENT if client_first else Side.SERVER, reset=options.close.with_ == "rst")
        duration = service.reply_ns
    elif operation is Operation.THINK:
        duration = options.duration
    elif isinstance(options, HoldStep):
        assert isinstance(load, HoldSessions)
        duration = load.duration + load.over // 2
    elif not passive:
        duration = service.reply_ns * (LOGIN_REPLIES if operation is Operation.LOGIN else 1)
    mode = DataMode.NONE
    if passive:
        asked = options.mode or scenario.client.mode
        mode = _MODES.get(asked, DataMode.EPSV)
    active = mode in (DataMode.PORT, DataMode.EPRT)
    return Stage(
        operation=operation,
        logs_in=operation is Operation.LOGIN,
        quits=operation is Operation.QUIT,
        transfer=transfer,
        passive=passive,
        asked_ns=0 if active else service.reply_ns // 2,
        duration_ns=duration,
        size_bytes=size,
        mode=mode,
        keeper=keeper,
        hold_ns=hold_ns,
        active=active,
        sizes=sizes if len(sizes) > 1 else (),
        unfailed=tuple(
            (operation, outcome, FailureClass.NONE, Phase.NONE, mode, UNKNOWN, 0, 0, 0) for outcome in Outcome
        ),
        until_ns=options.until_ns if isinstance(options, HoldStep) else None,
    )


def _sizes(step: PlannedStep, scenario: Scenario) -> tuple[int, ...]:
    """Return what the step moves, in turn; the size of a file whose name has variables is not known: 0."""
    if step.operation in (Operation.STOR, Operation.APPE):
        sizes = step.options.size
        return sizes if isinstance(sizes, tuple) else (int(sizes),)
    if step.operation is Operation.RETR:
        files = step.options.file
        sizes = (scenario.files.get(file, 0) for file in (files if isinstance(files, tuple) else (files,)))
        return tuple(max(0, size - step.options.offset) for size in sizes)
    return (LISTING_LINE_BYTES * len(scenario.files),)
