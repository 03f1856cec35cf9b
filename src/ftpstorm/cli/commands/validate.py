"""``ftpstorm validate``."""

from __future__ import annotations

from typing import Annotated

import typer


def validate(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Scenario files, or parts of gallery names.")],
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=C", help="Set one key first; may be repeated.")
    ] = None,
    variant: Annotated[str | None, typer.Option(metavar="NAME", help="Check this variant's remarks.")] = None,
) -> int:
    """Check scenario files: every error with its place."""
    from ftpstorm.conduct.authoring import validate_files

    return validate_files(files, sets or (), variant)
