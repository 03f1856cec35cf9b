"""``ftpstorm export``: records of a results folder to a file or a pipe."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ftpstorm.errors import ExitCode, UsageError
from ftpstorm.report.build import resolve_run
from ftpstorm.report.export import FORMATS, Format, export, parse_where

STDOUT: Final = "-"


def export_run(run: str, results: Path, table: str, form: str | None, output: str, where: Sequence[str]) -> int:
    """Write the rows of one table that satisfy every condition; how many goes to stderr where a file was named.

    Raises UsageError for a run, table, format, condition or file that cannot be.
    """
    chosen = _format(form, output)
    conditions = [parse_where(text) for text in where]
    folder = resolve_run(run, results)
    if output == STDOUT:
        export(folder, table, chosen, sys.stdout, where=conditions)
        return ExitCode.PASS
    try:
        with Path(output).open("w", encoding="utf-8", newline="") as file:
            count = export(folder, table, chosen, file, where=conditions)
    except OSError as error:
        raise UsageError(f"-o {output}: cannot be written: {error.strerror}") from None
    print(f"{output}: {count} {table}", file=sys.stderr)
    return ExitCode.PASS


def _format(form: str | None, output: str) -> Format:
    if form is None:
        return "csv" if output.endswith(".csv") else "ndjson"
    for known in FORMATS:
        if form == known:
            return known
    raise UsageError(f"--format {form}: there are {', '.join(FORMATS)}")
