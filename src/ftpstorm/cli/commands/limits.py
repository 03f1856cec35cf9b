"""``ftpstorm limits``."""

from __future__ import annotations

from typing import Annotated

import typer


def limits(
    scenario: Annotated[
        str | None,
        typer.Argument(metavar="SCENARIO", help="A file or a part of a gallery name: the limits of its path."),
    ] = None,
    profile: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A platform, such as windows-2003 or linux; may be repeated. Default: all."),
    ] = None,
    for_rate: Annotated[
        str | None,
        typer.Option("--for-rate", metavar="RATE", help="Answer backwards: what does 400/s need?"),
    ] = None,
    ports: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=1_000_000, help="With --time-wait: figures of your own.")
    ] = None,
    time_wait: Annotated[
        str | None, typer.Option("--time-wait", metavar="TIME", help="With --ports, such as 120s.")
    ] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=C", help="Set one key of the scenario; may be repeated.")
    ] = None,
    variant: Annotated[str | None, typer.Option(metavar="NAME", help="Take this variant of the scenario.")] = None,
    sources: Annotated[bool, typer.Option("--sources", help="Say where each figure comes from.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> int:
    """Say what ports and TIME_WAIT allow, with no packet sent."""
    from ftpstorm.conduct.limits_asked import print_limits

    return print_limits(
        scenario,
        profile or (),
        for_rate=for_rate,
        ports=ports,
        time_wait=time_wait,
        overrides=sets or (),
        variant=variant,
        as_json=as_json,
        sources=sources,
    )
