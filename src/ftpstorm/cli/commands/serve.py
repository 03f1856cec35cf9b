"""``ftpstorm serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def serve(
    scenario: Annotated[
        str | None,
        typer.Argument(metavar="[SCENARIO]", help="Take emulator and files from this scenario."),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A.B=C", help="Set one key of the scenario, such as target.emulator.backlog=5."),
    ] = None,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(metavar="PORT", min=1, max=65535, help="Control port; by default from 2121 upward.")
    ] = None,
    log: Annotated[Path | None, typer.Option(metavar="FILE", help="Where warnings go; by default nowhere.")] = None,
) -> int:
    """Serve the emulator alone, for any FTP client."""
    from ftpstorm.conduct.standalone import serve_emulator

    return serve_emulator(scenario, sets or (), host, port, log)
