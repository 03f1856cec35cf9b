"""``ftpstorm schema``."""

from __future__ import annotations

from typing import Annotated

import typer


def schema(
    summary: Annotated[bool, typer.Option("--summary", help="That of summary.json, for scripts.")] = False,
) -> int:
    """Print the JSON Schema of scenario files, for editors."""
    from ftpstorm.conduct.authoring import print_schema, print_summary_schema

    return print_summary_schema() if summary else print_schema()
