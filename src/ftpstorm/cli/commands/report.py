"""``ftpstorm report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Results folders, labels, or `latest`.")],
    results: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where labels and `latest` are looked for.")
    ] = Path("results"),
    as_json: Annotated[bool, typer.Option("--json", help="Each summary as one line of JSON on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No table.")] = False,
    no_plots: Annotated[bool, typer.Option("--no-plots", help="Leave the pictures out.")] = False,
) -> int:
    """Make a run's report again, from its folder alone.

    The shards of one plan become one report, in a folder beside that of shard 0.
    """
    from ftpstorm.conduct.reporting import make_reports

    return make_reports(runs, results, as_json=as_json, quiet=quiet, plots=not no_plots)
