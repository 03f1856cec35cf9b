"""``ftpstorm run``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def run(
    scenario: Annotated[
        str, typer.Argument(metavar="SCENARIO", help="A file, a part of a gallery name, or ftp://host/file.")
    ],
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=C", help="Set one key of the scenario; may be repeated.")
    ] = None,
    variant: Annotated[str | None, typer.Option(metavar="NAME", help="Run this variant of the scenario.")] = None,
    all_variants: Annotated[
        bool, typer.Option("--all-variants", help="Run the scenario and then each of its variants.")
    ] = False,
    repeats: Annotated[
        int, typer.Option(metavar="N", help="Run it, or each of its variants in turn, so many times.")
    ] = 1,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="ftp://USER@HOST:PORT", help="Send the load there; its password is taken from FTPSTORM_PASSWORD."
        ),
    ] = None,
    workers: Annotated[int, typer.Option(metavar="N", help="Worker processes.")] = 1,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Take the i-th of n equal shares: one machine of several.")
    ] = None,
    start_at: Annotated[
        str | None, typer.Option(metavar="UTC", help="Start then, such as 2031-05-01T12:00:00Z.")
    ] = None,
    label: Annotated[str | None, typer.Option(metavar="TEXT", help="Name that report and compare find it by.")] = None,
    note: Annotated[str | None, typer.Option(metavar="TEXT", help="A remark for the report.")] = None,
    out: Annotated[str, typer.Option(metavar="DIR", help="Where the run's folder is made.")] = "results",
    allow_target: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST|CIDR", help="Allow load to leave loopback, to this; may be repeated."),
    ] = None,
    no_expect: Annotated[bool, typer.Option("--no-expect", help="Leave the scenario's expectation aside.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Only summary.json on stdout, as one line; the rest on stderr.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No live view, no table.")] = False,
    no_plots: Annotated[bool, typer.Option("--no-plots", help="Leave the pictures out of the report.")] = False,
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="ADDR:PORT", help="Publish OpenMetrics there while running; a port alone means 127.0.0.1."
        ),
    ] = None,
    markdown: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Append the summary as Markdown, such as to $GITHUB_STEP_SUMMARY."),
    ] = None,
    rate: Annotated[str | None, typer.Option(metavar="RATE", help="With ftp://: sessions, such as 10/s.")] = None,
    duration: Annotated[str | None, typer.Option(metavar="TIME", help="With ftp://: how long, such as 30s.")] = None,
) -> int:
    """Run a scenario; print summary and verdict."""
    from ftpstorm.conduct.launch import RunOptions, launch

    return launch(
        RunOptions(
            scenario=scenario,
            overrides=sets or (),
            variant=variant,
            all_variants=all_variants,
            repeats=repeats,
            target=target,
            workers=workers,
            shard=shard,
            start_at=start_at,
            label=label,
            note=note,
            out=out,
            allow_targets=allow_target or (),
            expect=not no_expect,
            json_output=as_json,
            quiet=quiet,
            plots=not no_plots,
            metrics=metrics,
            markdown=markdown,
            rate=rate,
            duration=duration,
            command=("ftpstorm", *sys.argv[1:]),
        )
    )
