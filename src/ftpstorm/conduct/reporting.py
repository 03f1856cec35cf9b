"""``ftpstorm report`` and ``ftpstorm compare``: results folders in, pages and an exit code out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ftpstorm.conduct.launch import worse
from ftpstorm.conduct.live import View, new_console
from ftpstorm.errors import ExitCode, UsageError
from ftpstorm.records.manifest import read_manifest
from ftpstorm.records.reader import is_results_folder
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
    runs: Sequence[str],
    results: Path,
    out: Path | None,
    fail_on: Sequence[str],
    *,
    baseline: Path | None = None,
    as_json: bool,
    plots: bool,
) -> int:
    """Write the before/after page of `runs`, the first or the kept `baseline` being the baseline, and print its table.

    Raises UsageError for fewer than two columns, a text that names no run, a run that is given twice, a baseline or an
    expression that is none.
    """
    folders = [resolve_repeats(text, results) for text in runs]
    return show_comparison(folders, out, fail_on, baseline=baseline, as_json=as_json, plots=plots)


def resolve_repeats(text: str, results: Path) -> list[Path]:
    """Return the runs of one column: one run, several with commas between, or ``LABEL:all``, all runs of a label.

    Raises UsageError for a text that names no run.
    """
    label, colon, _ = text.rpartition(":all")
    if colon and not Path(text).exists():
        inside = sorted(results.iterdir()) if results.is_dir() else []
        found = [path for path in inside if path.is_dir() and is_results_folder(path) and _label_of(path) == label]
        if not found:
            raise UsageError(
                f"{text}: no run in {results} has the label {label!r}; give it with: ftpstorm run ... --label"
            )
        return found
    if "," in text and not Path(text).exists():
        return [resolve_run(part.strip(), results) for part in text.split(",") if part.strip()]
    return [resolve_run(text, results)]


def _label_of(folder: Path) -> str | None:
    try:
        return read_manifest(folder).label
    except (OSError, ValueError):
        return None


def show_comparison(
    folders: Sequence[Sequence[Path]],
    out: Path | None,
    fail_on: Sequence[str] = (),
    *,
    baseline: Path | None = None,
    as_json: bool = False,
    plots: bool = True,
) -> int:
    """Compare columns of results folders, write the page and print the table; return the exit code."""
    comparison = compare.compare_runs(folders, out, baseline=baseline, fail_on=fail_on, plots=plots)
    if as_json:
        print(json.dumps(comparison.model_dump(mode="json", by_alias=True)), flush=True)
    view = View(new_console(stderr=as_json))
    view.note(comparison.headline)
    for warning in comparison.warnings:
        view.note(f"warning: {warning}")
    view.print(_table(comparison))
    for row in comparison.rows:
        for reason in dict.fromkeys(filter(None, row.reasons)):
            view.note(f"not compared: {row.quantity}: {reason}")
    names = [run.name for run in comparison.runs]
    for setting in comparison.settings[:SETTINGS_SHOWN]:
        values = ", ".join(f"{name} {value}" for name, value in zip(names, setting.values, strict=True))
        view.note(f"changed: {setting.key}: {values}")
    for condition in comparison.fail_on:
        state = "FAILED" if condition.failed else "ok"
        view.note(f"--fail-on {condition.expression}: {state}" + (f" ({condition.reason})" if condition.reason else ""))
    view.note(f"page: {(out or folders[-1][-1]) / compare.COMPARE_PAGE}")
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
