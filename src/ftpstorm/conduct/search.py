"""``ftpstorm search``: the highest load that a scenario's conditions hold for, a run for each load that is tried.

Ports remember. So a step lasts 1.1 times as long as a port may stay taken, plus its settling; it begins once those of
earlier steps are free: in a network of its own none are, on the host's they are waited for. Which load comes next is
`ftpstorm.conduct.bisection`'s, what a step came to is the report's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ftpstorm.conduct.bisection import Fate, Step, next_load
from ftpstorm.conduct.launch import RunOptions, plan_requests
from ftpstorm.conduct.live import View, new_console
from ftpstorm.conduct.request import RunRequest
from ftpstorm.conduct.several import Runner, alone, new_folder, run_one, setting_text
from ftpstorm.errors import ExitCode, Problem, ScenarioError, UsageError
from ftpstorm.plan.plan import Plan, unroll
from ftpstorm.report.marks import marks
from ftpstorm.report.search import VOID, SearchResult, SearchStep, conclude, read_step, write_page, write_result
from ftpstorm.sampler.hostfacts import read_host_facts
from ftpstorm.sampler.procnet import parse_sockstat
from ftpstorm.scenario.gallery import find_scenario
from ftpstorm.scenario.loader import dump_scenario, load_scenario
from ftpstorm.scenario.schema import Scenario
from ftpstorm.scenario.search import Quantity, Search
from ftpstorm.simulate.predict import predict
from ftpstorm.units import NS_PER_MS, NS_PER_S, format_duration
from ftpstorm.vocabulary import Status

if TYPE_CHECKING:
    from rich.table import Table

STEPS: Final = "steps"
SCENARIO: Final = "scenario.yaml"
LONGER: Final = 1.1
"""A step lasts so many times what a port is remembered for."""
WITHIN_REACH: Final = 4.0
"""A limit so many times above the highest load of a search cannot be met by it: its memory is not waited for."""
VOIDS_MAX: Final = 3
"""Runs that prove nothing, other than for the generator, after which a search gives up."""
SOCKSTAT: Final = Path("/proc/net/sockstat")
POLL_S: Final = 0.25
FREE_AGAIN_S: Final = 70.0
"""How long the host's own TIME_WAITs may take to be gone: 60 to 62 s, and some."""
NOISE: Final = 0.02
"""Part of the sockets of a step that others on this host may have added meanwhile."""


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """The options of ``ftpstorm search``."""

    scenario: str
    overrides: Sequence[str] = ()
    variant: str | None = None
    workers: int = 1
    out: str = "results"
    allow_targets: Sequence[str] = ()
    label: str | None = None
    json_output: bool = False
    quiet: bool = False
    plots: bool = True
    command: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class StepLength:
    """How long a step's load lasts."""

    duration_ns: int | None
    """None where the load that varies has no duration of its own."""
    loads: tuple[str, ...]
    """The loads that last so long."""
    remembered_s: float
    """How long a port that a search may run out of stays taken: T + C."""
    why: str


def search(options: SearchOptions, run: Runner = run_one) -> int:
    """Carry out the search that `options` ask for, write search.json and its page, and return the exit code.

    That is 0 where it came to an end (found, or no load of the range passes or fails), 121 where the generator was the
    limit or runs proved nothing, 105 where it was interrupted, and the code of a run that could not be made. Raises
    FtpstormError for what cannot be searched.
    """
    loaded = load_scenario(find_scenario(options.scenario), overrides=options.overrides, variant=options.variant)
    scenario = loaded.scenario
    if scenario.search is None:
        raise UsageError(
            f"{options.scenario} has no `search`; add one such as "
            "`search: {vary: load.steady.rate, between: [5/s, 200/s]}`"
        )
    wanted = scenario.search
    highest = Scenario.model_validate(_request(options, _settings(wanted, wanted.between[1], None)).scenario)
    length = step_length(wanted, highest)
    folder = new_folder(options.out, scenario.name, "search")
    (folder / SCENARIO).write_text(dump_scenario(scenario), encoding="utf-8")
    view = View(new_console(stderr=options.json_output), quiet=options.quiet)
    view.tell(f"{scenario.name}: {length.why} Results go to {folder}")
    under_way = _UnderWay(options, wanted, length, folder, view, _empty(scenario, wanted, length))
    code = under_way.carry_out(run)
    page = write_page(folder, under_way.result, plots=options.plots)
    if options.json_output:
        print(json.dumps(under_way.result.model_dump(mode="json", by_alias=True)), flush=True)
    if not options.quiet:
        view.print(_table(under_way.result))
    view.tell(under_way.result.headline)
    view.tell(f"page: {page}")
    return code


def step_length(wanted: Search, highest: Scenario) -> StepLength:
    """Return how long each step lasts: `highest` is the scenario at the highest load that may be tried."""
    remembered = remembered_s(highest)
    parts = wanted.vary.split(".")
    varied = parts[1] if parts[0] == "load" and len(parts) > 1 else None
    names = [varied] if varied in highest.load else list(highest.load)
    lasting = tuple(name for name in names if name is not None and "duration" in type(highest.load[name]).model_fields)
    told = f"a port stays taken for {remembered:.3g} s (T + C)"
    if not lasting:
        return StepLength(None, (), remembered, f"Each step is one run of the load as it stands; {told}.")
    least = wanted.settle + round(LONGER * remembered * NS_PER_S)
    asked = wanted.step if wanted.step is not None else max(_duration(highest, name) for name in lasting)
    duration = -(-max(asked, least) // NS_PER_MS) * NS_PER_MS
    settling = f" after settling for {format_duration(wanted.settle)}" if wanted.settle else ""
    why = (
        f"Each step's load lasts {format_duration(duration)}: {told}, and a step needs {LONGER:g} times that{settling}."
    )
    if asked < least:
        why += f" The {format_duration(asked)} asked for would show what a buffer of free ports bears."
    return StepLength(duration, lasting, remembered, why)


def _duration(scenario: Scenario, name: str) -> int:
    load: Any = scenario.load[name]
    return int(load.duration)


def remembered_s(scenario: Scenario) -> float:
    """Return how long a port stays taken, T + C, by the slowest limit that the scenario's load could meet.

    By Little's law that is N / R of a limit of N places and R a second. Of a server that is not ours nobody knows its
    ports: there a kernel's TIME_WAIT is supposed.
    """
    for name, flow in scenario.flows.items():
        try:
            unroll(flow)
        except ValueError as error:
            raise ScenarioError(scenario.name, [Problem(str(error), path=f"flows.{name}")]) from None
    prediction = predict(Plan(run_id="search", scenario=scenario, host=read_host_facts()), sessions_max=1)
    life = prediction.inputs["L"].value or 0.0
    offered = prediction.offered_per_s
    holds = [
        limit.concurrent / limit.per_s
        for limit in prediction.limits
        if limit.applies and limit.concurrent and limit.per_s
        and (offered is None or limit.per_s <= WITHIN_REACH * offered)
    ]  # fmt: skip
    if scenario.target.host is not None:
        holds.append((prediction.inputs["T"].value or 0.0) + life)
    return max([life, *holds])


def _settings(wanted: Search, load: Quantity, length: StepLength | None) -> list[str]:
    settings = [setting_text(wanted.vary, load.setting())]
    if length is not None and length.duration_ns is not None:
        settings += [f"load.{name}.duration={format_duration(length.duration_ns)}" for name in length.loads]
    return settings


def _request(options: SearchOptions, settings: Sequence[str]) -> RunRequest:
    (request,) = plan_requests(
        RunOptions(
            scenario=options.scenario,
            overrides=[*options.overrides, *settings],
            variant=options.variant,
            workers=options.workers,
            label=options.label,
            note="; ".join(settings),
            allow_targets=options.allow_targets,
            command=options.command,
        )
    )
    return request


def _empty(scenario: Scenario, wanted: Search, length: StepLength) -> SearchResult:
    return SearchResult(
        scenario=scenario.name,
        description=scenario.description,
        started_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        status="running",
        headline="The search goes on.",
        vary=wanted.vary,
        between=(str(wanted.between[0]), str(wanted.between[1])),
        accept=wanted.accept,
        settle_s=wanted.settle / NS_PER_S,
        step_s=None if length.duration_ns is None else length.duration_ns / NS_PER_S,
        step_why=length.why,
        precision=wanted.precision,
        confirm=wanted.confirm,
        highest_passing=None,
        lowest_failing=None,
        cause=None,
        steps=[],
        marks=marks(scenario, Status.COMPLETED),
    )


class _UnderWay:
    """A search at work; `result` says what is known so far."""

    def __init__(
        self,
        options: SearchOptions,
        wanted: Search,
        length: StepLength,
        folder: Path,
        view: View,
        result: SearchResult,
    ) -> None:
        self._options = options
        self._wanted = wanted
        self._length = length
        self._folder = folder
        self._view = view
        self._baseline = read_time_waits()
        self._own_network = True
        self.result = result

    def carry_out(self, run: Runner) -> int:
        """Make steps until the search is over; return the exit code."""
        while True:
            judged = [Step(self._load(step), Fate(step.fate)) for step in self.result.steps if step.fate != VOID]
            load = next_load(self._wanted, judged)
            if not isinstance(load, Quantity):
                self._close(load.value)
                return int(ExitCode.INVALID_RUN if load.value == "generator" else ExitCode.PASS)
            if sum(step.fate == VOID for step in self.result.steps) >= VOIDS_MAX:
                self._close("failed")
                return int(ExitCode.INVALID_RUN)
            try:
                waited_s = self._wait()
            except KeyboardInterrupt:
                self._close("interrupted")
                return int(ExitCode.INTERRUPTED)
            request = _request(self._options, _settings(self._wanted, load, self._length))
            ran = run(self._as_step(request))
            if not ran.whole:
                self._close("interrupted" if ran.code == ExitCode.INTERRUPTED else "failed")
                return ran.code
            assert ran.folder is not None
            self._note(load, ran.folder, waited_s)
            if ran.stop:
                self._close("interrupted")
                return int(ExitCode.INTERRUPTED)

    def _as_step(self, request: RunRequest) -> RunRequest:
        """The scenario's thresholds give way to the search's conditions; they judge nothing before a step settled."""
        judged = {} if self._wanted.settle else {key: list(items) for key, items in self._wanted.accept.items()}
        request = alone(request, self._folder / STEPS, plots=False)
        return request.model_copy(update={"scenario": {**request.scenario, "thresholds": judged}})

    def _load(self, step: SearchStep) -> Quantity:
        low = self._wanted.between[0]
        found = next((bound for bound in self._wanted.between if str(bound) == step.load), None)
        return found or low.with_value(step.value)

    def _note(self, load: Quantity, folder: Path, waited_s: float) -> None:
        step = read_step(
            folder,
            self._wanted,
            number=len(self.result.steps) + 1,
            load=str(load),
            value=float(load.value),
            below=folder.relative_to(self._folder).as_posix(),
            waited_s=waited_s,
        )
        from ftpstorm.records.manifest import read_manifest

        self._own_network = read_manifest(folder).namespace.private
        told = f": {step.why[0]}" if step.why else ""
        self._view.tell(f"step {step.number}  {step.load}: {step.fate}{told}")
        self.result = conclude(self.result.model_copy(update={"steps": [*self.result.steps, step]}), "running")
        write_result(self._folder, self.result)

    def _wait(self) -> float:
        """Wait until no port of an earlier step is taken any more; return how long that took, in s."""
        if not self.result.steps or self._own_network:
            return 0.0
        last = self.result.steps[-1]
        used = round(2 * max(last.offered_per_s or 0, last.rate_per_s) * last.duration_s)
        self._view.tell("waiting until the ports of the last step are free again ...")
        waited, back = wait_for_baseline(
            self._baseline, round(NOISE * used), at_least_s=self._length.remembered_s, within_s=FREE_AGAIN_S
        )
        if not back:
            warning = "this host still had sockets in TIME_WAIT when a step began: others use its network too"
            if warning not in self.result.warnings:
                self.result = self.result.model_copy(update={"warnings": [*self.result.warnings, warning]})
        return waited

    def _close(self, status: str) -> None:
        self.result = conclude(self.result, status)
        write_result(self._folder, self.result)


def read_time_waits(path: Path = SOCKSTAT) -> int | None:
    """Return the sockets in TIME_WAIT of this process's network; None where the system does not say it."""
    try:
        return parse_sockstat(path.read_bytes()).get("TCP", {}).get("tw")
    except OSError:
        return None


def wait_for_baseline(
    baseline: int | None,
    noise: int,
    *,
    at_least_s: float,
    within_s: float,
    read: Callable[[], int | None] = read_time_waits,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> tuple[float, bool]:
    """Wait until no more than `baseline` + `noise` sockets are in TIME_WAIT, and at least `at_least_s`.

    Returns how long that took and whether it came to it: after `within_s` (or `at_least_s` where that is longer) it
    gives up. What the server remembers cannot be seen from here: hence the time.
    """
    began = clock()
    while True:
        waited = clock() - began
        now = read()
        back = baseline is None or now is None or now <= baseline + noise
        if (back and waited >= at_least_s) or waited >= max(within_s, at_least_s):
            return waited, back
        pause(POLL_S)


def _table(result: SearchResult) -> Table:
    from rich import box
    from rich.table import Table

    from ftpstorm.report.wording import per_second

    table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False, header_style="dim")
    for heading in ("step", result.vary, "result", "offered", "carried", "what ran out"):
        table.add_column(heading, overflow="fold")
    for step in result.steps:
        offered, carried = per_second(step.offered_per_s), per_second(step.rate_per_s)
        table.add_row(str(step.number), step.load, step.fate, offered, carried, step.cause)
    return table
