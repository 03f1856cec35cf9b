"""``ftpstorm export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A results folder, a label, or `latest`.")],
    table: Annotated[str, typer.Option(metavar="NAME", help="operations, sessions or samples.")] = "operations",
    form: Annotated[
        str | None,
        typer.Option("--format", metavar="FORMAT", help="ndjson or csv; by default as FILE ends, or ndjson."),
    ] = None,
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Where to write; - is stdout.")] = "-",
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="CONDITION", help="Only rows such as class=passive-exhausted or start_s>=5; repeatable."),
    ] = None,
    results: Annotated[
        Path, typer.Option("--results", metavar="DIR", help="Where labels and `latest` are looked for.")
    ] = Path("results"),
) -> int:
    """Write a run's records as NDJSON or CSV.

    Numbers of enumerations become words, instants UTC. The folder itself holds the same records as Parquet.
    """
    from ftpstorm.conduct.exporting import export_run

    return export_run(run, results, table, form, output, where or ())
