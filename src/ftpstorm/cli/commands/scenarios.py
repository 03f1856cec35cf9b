"""``ftpstorm scenarios``."""

from __future__ import annotations

from typing import Annotated

import typer


def scenarios(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> int:
    """List the scenarios that come with ftpstorm."""
    from ftpstorm.conduct.authoring import print_gallery

    return print_gallery(as_json=as_json)
