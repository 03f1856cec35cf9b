"""``ftpstorm search``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def search(
    scenario: Annotated[str, typer.Argument(metavar="SCENARIO", help="A file, or a part of a gallery name.")],
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=C", help="Set one key of the scenario; may be repeated.")
    ] = None,
    variant: Annotated[str | None, typer.Option(metavar="NAME", help="Search with this variant.")] = None,
    workers: Annotated[int, typer.Option(metavar="N", help="Worker processes of each step.")] = 1,
    allow_target: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST|CIDR", help="Allow load to leave loopback, to this; may be repeated."),
    ] = None,
    label: Annotated[str | None, typer.Option(metavar="TEXT", help="A name for the runs.")] = None,
    out: Annotated[str, typer.Option(metavar="DIR", help="Where the search's folder is made.")] = "results",
    as_json: Annotated[
        bool, typer.Option("--json", help="Only search.json on stdout, as one line; the rest on stderr.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no table.")] = False,
    no_plots: Annotated[bool, typer.Option("--no-plots", help="Leave the picture out.")] = False,
) -> int:
    """Find the highest load that a scenario's `search` accepts."""
    from ftpstorm.conduct.search import SearchOptions
    from ftpstorm.conduct.search import search as carry_out

    return carry_out(
        SearchOptions(
            scenario=scenario,
            overrides=sets or (),
            variant=variant,
            workers=workers,
            out=out,
            allow_targets=allow_target or (),
            label=label,
            json_output=as_json,
            quiet=quiet,
            plots=not no_plots,
            command=("ftpstorm", *sys.argv[1:]),
        )
    )
