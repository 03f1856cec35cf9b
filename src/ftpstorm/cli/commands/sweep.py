"""``ftpstorm sweep``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def sweep(
    scenario: Annotated[str, typer.Argument(metavar="SCENARIO", help="A file, or a part of a gallery name.")],
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=C", help="Set one key of the scenario; may be repeated.")
    ] = None,
    variant: Annotated[str | None, typer.Option(metavar="NAME", help="Sweep this variant of the scenario.")] = None,
    repeats: Annotated[int | None, typer.Option(metavar="N", help="Runs of each combination.")] = None,
    metric: Annotated[
        str | None, typer.Option(metavar="FIGURE", help="What the heat map shows, such as sustained or greeted.")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Seed of the order of the runs.")] = None,
    workers: Annotated[int, typer.Option(metavar="N", help="Worker processes of each run.")] = 1,
    allow_target: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST|CIDR", help="Allow load to leave loopback, to this; may be repeated."),
    ] = None,
    label: Annotated[str | None, typer.Option(metavar="TEXT", help="A name for the sweep and its runs.")] = None,
    out: Annotated[str, typer.Option(metavar="DIR", help="Where the sweep's folder is made.")] = "results",
    as_json: Annotated[
        bool, typer.Option("--json", help="Only sweep.json on stdout, as one line; the rest on stderr.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no table.")] = False,
    no_plots: Annotated[bool, typer.Option("--no-plots", help="Leave the heat map out.")] = False,
) -> int:
    """Run every combination of a scenario's `sweep`; draw a heat map."""
    from ftpstorm.conduct.sweeps import SweepOptions
    from ftpstorm.conduct.sweeps import sweep as carry_out

    return carry_out(
        SweepOptions(
            scenario=scenario,
            overrides=sets or (),
            variant=variant,
            repeats=repeats,
            metric=metric,
            seed=seed,
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
