"""``ftpstorm sweep``: every combination of a scenario's grid, each in a run of its own, in random order.

All combinations are loaded before the first run, so that a wrong one costs nothing. The index is written after each
run: what an interrupted sweep has, it keeps.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from ftpstorm.conduct.launch import RunOptions, plan_requests
from ftpstorm.conduct.live import View, new_console
from ftpstorm.conduct.request import RunRequest
from ftpstorm.conduct.several import Ran, Runner, alone, new_folder, run_one, setting_text
from ftpstorm.errors import ExitCode, UsageError
from ftpstorm.report.marks import marks
from ftpstorm.report.summary import read_summary
from ftpstorm.report.sweep import (
    SWEEP_JSON,
    Axis,
    SweepIndex,
    SweptRun,
    cell_of,
    check_figure,
    setting_words,
    shown,
    swept_run,
    write_index,
    write_page,
)
from ftpstorm.scenario.figure import NAMED, parse_figure
from ftpstorm.scenario.gallery import find_scenario
from ftpstorm.scenario.loader import dump_scenario, load_scenario
from ftpstorm.scenario.schema import Scenario
from ftpstorm.scenario.sweep import Sweep
from ftpstorm.vocabulary import Status

if TYPE_CHECKING:
    from rich.table import Table

RUNS: Final = "runs"
SCENARIO: Final = "scenario.yaml"


@dataclass(frozen=True, slots=True)
class SweepOptions:
    """The options of ``ftpstorm sweep``."""

    scenario: str
    overrides: Sequence[str] = ()
    variant: str | None = None
    repeats: int | None = None
    metric: str | None = None
    seed: int | None = None
    """Of the order; None takes the scenario's."""
    workers: int = 1
    out: str = "results"
    allow_targets: Sequence[str] = ()
    label: str | None = None
    json_output: bool = False
    quiet: bool = False
    plots: bool = True
    """Draw the heat map; the single runs' pictures are never drawn, `ftpstorm report` makes them."""
    command: Sequence[str] = ()


def sweep(options: SweepOptions, run: Runner = run_one) -> int:
    """Run the sweep that `options` ask for and write its index and page; return the exit code.

    That is 0 once all ran, whatever the scenario's thresholds say of single runs (its `expect` is left aside: it is
    about the scenario as it stands); 121 where a run was invalid, 105 where it was interrupted, and the code of a run
    that could not be made. Raises FtpstormError for what cannot be swept.
    """
    loaded = load_scenario(find_scenario(options.scenario), overrides=options.overrides, variant=options.variant)
    wanted = _asked(loaded.scenario, options)
    figure = parse_figure(wanted.metric)
    if (lacking := check_figure(figure)) is not None:
        raise UsageError(f"metric {wanted.metric!r}: {lacking}")
    requests = [_request(options, [setting_text(key, value) for key, value in cell]) for cell in wanted.cells()]
    seed = loaded.scenario.seed if options.seed is None else options.seed
    folder = new_folder(options.out, loaded.scenario.name, "sweep")
    (folder / SCENARIO).write_text(dump_scenario(loaded.scenario), encoding="utf-8")
    view = View(new_console(stderr=options.json_output), quiet=options.quiet)
    view.tell(f"{loaded.scenario.name}: {wanted.runs} runs, {len(requests)} combinations; results go to {folder}")
    under_way = _UnderWay(folder, wanted, requests, _empty(loaded.scenario, wanted, options, seed), view, options.plots)
    code = under_way.carry_out(seed, run)
    page = write_page(folder, under_way.index, plots=options.plots)
    if options.json_output:
        print(json.dumps(under_way.index.model_dump(mode="json", by_alias=True)), flush=True)
    if not options.quiet:
        view.print(_table(under_way.index))
    view.tell(f"page: {page}")
    return code


def _asked(scenario: Scenario, options: SweepOptions) -> Sweep:
    if scenario.sweep is None:
        raise UsageError(
            f"{options.scenario} has no `sweep`; add one such as `sweep: {{grid: {{target.emulator.passive_ports: "
            "[10, 20, 40]}}`, or give --set 'sweep.grid.target.emulator.passive_ports=[10, 20, 40]'"
        )
    changes = {"repeats": options.repeats, "metric": options.metric}
    try:
        return Sweep.model_validate(
            scenario.sweep.model_dump() | {key: value for key, value in changes.items() if value is not None}
        )
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UsageError(f"this sweep {reason}") from None


def _request(options: SweepOptions, settings: Sequence[str]) -> RunRequest:
    (request,) = plan_requests(
        RunOptions(
            scenario=options.scenario,
            overrides=[*options.overrides, *settings],
            variant=options.variant,
            workers=options.workers,
            label=options.label,
            note="; ".join(settings),
            allow_targets=options.allow_targets,
            expect=False,
            command=options.command,
        )
    )
    return request


def _empty(scenario: Scenario, wanted: Sweep, options: SweepOptions, seed: int) -> SweepIndex:
    return SweepIndex(
        name=options.label or scenario.name,
        scenario=scenario.name,
        description=scenario.description,
        started_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        status="running",
        seed=seed,
        repeats=wanted.repeats,
        metric=wanted.metric,
        metric_key=NAMED.get(wanted.metric, wanted.metric),
        axes=[Axis(key=key, values=list(values)) for key, values in wanted.grid.items()],
        cells=[cell_of(dict(cell), ()) for cell in wanted.cells()],
        cannot_show=scenario.cannot_show,
        marks=marks(scenario, Status.COMPLETED),
    )


class _UnderWay:
    """A sweep at work; `index` says what is known so far."""

    def __init__(
        self,
        folder: Path,
        wanted: Sweep,
        requests: Sequence[RunRequest],
        index: SweepIndex,
        view: View,
        plots: bool,
    ) -> None:
        self._folder = folder
        self._wanted = wanted
        self._requests = requests
        self._view = view
        self._plots = plots
        self._runs: list[list[SweptRun]] = [[] for _ in requests]
        self.index = index

    def carry_out(self, seed: int, run: Runner) -> int:
        """Run everything in the order that `seed` draws; return the exit code."""
        code = int(ExitCode.PASS)
        order = self._wanted.order(seed)
        for place, (cell, repeat) in enumerate(order, 1):
            ran = run(alone(self._requests[cell], self._folder / RUNS, plots=False))
            if not ran.whole:
                interrupted = ran.code == ExitCode.INTERRUPTED
                reason = f"run {place} of {len(order)} ended with exit code {ran.code}"
                self._view.note(reason)
                self._close("interrupted" if interrupted else "failed", reason)
                return ran.code
            if ran.code == ExitCode.INVALID_RUN:
                code = int(ExitCode.INVALID_RUN)
            self._note(cell, repeat, place, len(order), ran)
            if ran.stop and place < len(order):
                self._close("interrupted", f"stopped by request after run {place} of {len(order)}")
                return int(ExitCode.INTERRUPTED)
        self._close("completed", None)
        return code

    def _note(self, cell: int, repeat: int, place: int, of: int, ran: Ran) -> None:
        assert ran.folder is not None
        figure = parse_figure(self._wanted.metric)
        below = ran.folder.relative_to(self._folder).as_posix()
        noted = swept_run(read_summary(ran.folder), below, figure, order=place, repeat=repeat)
        self._runs[cell].append(noted)
        settings = self._wanted.cells()[cell]
        told = ", ".join(f"{key}={setting_words(value)}" for key, value in settings)
        value = "invalid" if noted.verdict == "invalid" else shown(self.index)(noted.value)
        self._view.tell(f"{place}/{of}  {told}: {self._wanted.metric} {value}, {noted.cause}")
        self.index = self.index.model_copy(
            update={"cells": [cell_of(dict(c), runs) for c, runs in zip(self._wanted.cells(), self._runs, strict=True)]}
        )
        write_index(self._folder, self.index)

    def _close(self, status: str, reason: str | None) -> None:
        self.index = self.index.model_copy(update={"status": status, "reason": reason})
        write_index(self._folder, self.index)


def _table(index: SweepIndex) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False, header_style="dim")
    for heading in headings([axis.key for axis in index.axes]):
        table.add_column(heading, overflow="fold")
    table.add_column(index.metric, justify="right")
    table.add_column("95 % interval", justify="right")
    table.add_column("what ran out", overflow="fold")
    show = shown(index)
    for cell in index.cells:
        interval = "-" if cell.low is None else f"{show(cell.low)} to {show(cell.high)}"
        settings = [setting_words(value) for value in cell.settings.values()]
        value = "-" if cell.value is None else show(cell.value)
        table.add_row(*settings, value, interval, ", ".join(cell.causes))
    return table


def headings(keys: Sequence[str]) -> list[str]:
    """Return the last word of each key, or the whole key where two end alike: a narrow terminal would fold it."""
    last = [key.rpartition(".")[2] for key in keys]
    return last if len(set(last)) == len(last) else list(keys)


__all__ = ["SWEEP_JSON", "SweepOptions", "sweep"]
