"""``ftpstorm report`` and ``ftpstorm compare``: results folders in, pages and an exit code out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ftpstorm.conduct.launch import worse
from ftpstorm.conduct.live import View, new_console
from ftpstorm.errors import ExitCode
from ftpstorm.report import compare
from ftpstorm.report.build import build_report, resolve_run
from ftpstorm.report.merge import merge_shards
from ftpstorm.report.summary import exit_code
from ftpstorm.report.terminal import summary_table
from ftpstorm.report.wording import number

if TYPE_CHECKING:
    from rich.table import Table

SETTINGS_SHOWN = 12


def make_reports(runs: Sequence[str], results: Path, *, as_json: bool, quiet: bool, plots: bool) -> int:
    """Make the report of every run again; return the exit code that the worst of them had.

    Shards of one plan become one report. Raises UsageError for a text that names no run, RecordsError for a folder that
    is none and for shards that do not make a whole.
    """
    view = View(new_console(stderr=as_json))
    folders = merge_shards([resolve_run(text, results) for text in runs])
    code = int(ExitCode.PASS)
    for folder in folders:
        summary = build_report(folder, plots=plots)
        if as_json:
            print(json.dumps(summary.to_json()), flush=True)
        if not quiet:
            view.print(summary_table(summary))
            view.note(f"report: {folder / 'report.html'}")
        code = worse(code, exit_code(summary))
    return code


def compare_runs(
    runs: Sequence[str], results: Path, out: Path | None, fail_on: Sequence[str], *, as_json: bool, plots: bool
) -> int:
    """Write the before/after page of `runs`, the first being the baseline, and print its table.

    Raises UsageError for fewer than two runs, a text that names no run, or an expression that is none.
    """
    folders = [resolve_run(text, results) for text in runs]
    comparison = compare.compare_runs(folders, out, fail_on=fail_on, plots=plots)
    if as_json:
        print(json.dumps(comparison.model_dump(mode="json", by_alias=True)), flush=True)
    view = View(new_console(stderr=as_json))
    view.note(comparison.headline)
    for warning in comparison.warnings:
        view.note(f"warning: {warning}")
    view.print(_table(comparison))
    names = [run.name for run in comparison.runs]
    for setting in comparison.settings[:SETTINGS_SHOWN]:
        values = ", ".join(f"{name} {value}" for name, value in zip(names, setting.values, strict=True))
        view.note(f"changed: {setting.key}: {values}")
    for condition in comparison.fail_on:
        state = "FAILED" if condition.failed else "ok"
        view.note(f"--fail-on {condition.expression}: {state}" + (f" ({condition.reason})" if condition.reason else ""))
    view.note(f"page: {(out or folders[-1]) / compare.COMPARE_PAGE}")
    return comparison.exit_code


def _table(comparison: compare.Comparison) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False, header_style="dim")
    table.add_column("figure", overflow="fold")
    for run in comparison.runs:
        table.add_column(run.name, justify="right", overflow="fold")
    table.add_column("verdict", overflow="fold")
    for row in comparison.rows:
        values = [f"{number(value.value)} {row.unit}" if value.value is not None else "-" for value in row.values]
        table.add_row(row.quantity, *values, ", ".join(row.verdicts))
    return table
