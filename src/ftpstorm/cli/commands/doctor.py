"""``ftpstorm doctor``."""

from __future__ import annotations

from typing import Annotated

import typer


def doctor(
    calibrating: Annotated[
        bool, typer.Option("--calibrate", help="Measure what one worker can do here, and keep it for later reports.")
    ] = False,
    seconds: Annotated[
        float | None, typer.Option(metavar="S", help="With --calibrate: length of each of its three loads.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as JSON on stdout.")] = False,
) -> int:
    """Tell whether this host can make load and labs."""
    from ftpstorm.conduct.doctor import diagnose
    from ftpstorm.errors import UsageError

    if seconds is not None and not calibrating:
        raise UsageError("--seconds belongs to --calibrate")
    return diagnose(calibrating=calibrating, seconds=seconds, as_json=as_json)
