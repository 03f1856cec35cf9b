"""``ftpstorm compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="BEFORE AFTER [...]",
            help="Folders, labels, or `latest`; repeats as RUN,RUN,RUN or LABEL:all.",
        ),
    ],
    fail_on: Annotated[
        list[str] | None,
        typer.Option(metavar="EXPRESSION", help="Exit 99 where it holds, such as transfers.sustained.rate_per_s<-5%."),
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A summary.json that was kept, to compare with.")
    ] = None,
    results: Annotated[
        Path, typer.Option("--results", metavar="DIR", help="Where labels and `latest` are looked for.")
    ] = Path("results"),
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where the page goes.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The comparison as one line of JSON on stdout.")] = False,
    no_plots: Annotated[bool, typer.Option("--no-plots", help="Leave the picture out.")] = False,
) -> int:
    """Set runs side by side: settings and figures."""
    from ftpstorm.conduct.reporting import compare_runs

    return compare_runs(runs, results, out, fail_on or (), baseline=baseline, as_json=as_json, plots=not no_plots)
