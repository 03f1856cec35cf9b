"""``ftpstorm init``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the scenario.")] = "my-scenario",
    folder: Annotated[Path, typer.Option("--in", metavar="DIR", help="Where to write NAME.yaml.")] = Path(),
) -> int:
    """Write a commented scenario to start from."""
    from ftpstorm.conduct.authoring import write_starter

    return write_starter(name, folder)
