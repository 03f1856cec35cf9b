"""``ftpstorm simulate``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def simulate(
    scenario: Annotated[str, typer.Argument(metavar="SCENARIO", help="A file, or a part of a gallery name.")],
    profiles: Annotated[
        list[str] | None,
        typer.Option(
            "--profile",
            metavar="[client=|server=]NAME",
            help="Suppose a platform, such as windows-2003 or gcp-nat, in place of the scenario's hosts; "
            "`ftpstorm limits` lists them.",
        ),
    ] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=C", help="Set one key of the scenario; may be repeated.")
    ] = None,
    variant: Annotated[str | None, typer.Option(metavar="NAME", help="Simulate this variant of the scenario.")] = None,
    from_run: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Take service times from this run's records: a folder, label or latest."),
    ] = None,
    scale: Annotated[
        str | None, typer.Option(metavar="N", help="N times the rates, sessions and iterations of the scenario.")
    ] = None,
    label: Annotated[str | None, typer.Option(metavar="TEXT", help="Name that report and compare find it by.")] = None,
    out: Annotated[str, typer.Option(metavar="DIR", help="Where the folder is made.")] = "results",
    as_json: Annotated[
        bool, typer.Option("--json", help="Only summary.json on stdout, as one line; the rest on stderr.")
    ] = False,
    no_plots: Annotated[bool, typer.Option("--no-plots", help="Leave the pictures out of the report.")] = False,
) -> int:
    """Simulate a scenario and report on it, with no packet sent.

    On any platform and at any scale; the report is that of a run.
    """
    from ftpstorm.conduct.simulated import SimulateOptions
    from ftpstorm.conduct.simulated import simulate as run

    return run(
        SimulateOptions(
            scenario=scenario,
            overrides=sets or (),
            variant=variant,
            profiles=profiles or (),
            from_run=from_run,
            scale=scale,
            label=label,
            out=out,
            json_output=as_json,
            plots=not no_plots,
            command=("ftpstorm", *sys.argv[1:]),
        )
    )
