"""``ftpstorm scenarios``."""

from __future__ import annotations

from typing import Annotated

import typer


def scenarios(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="All that one scenario, or a part of its name, says of itself."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> int:
    """List the scenarios that come with ftpstorm."""
    from ftpstorm.conduct.authoring import print_gallery

    return print_gallery(as_json=as_json, name=name)
