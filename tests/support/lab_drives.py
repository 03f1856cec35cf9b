"""What test modules of the lab's servers share: a script in a lab with real servers, or a skip that says why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ftpstorm.lab.servers import why_missing
from support.lab_run import lab_drive, lab_refusal

Drive = Callable[..., list[dict[str, Any]]]
"""``drive(server, script, **options)``: what the script told, line by line; `server` "" where it needs none."""

IMPORTS = """
from support.lab_servers import Occupants, counters, engine, listeners, served, tell
"""

_refusals: list[str | None] = []


def make_drive(require: Callable[[str, bool, str], None]) -> Drive:
    """Return the `drive` of one test. Whether there are namespaces is found out once."""
    if not _refusals:
        _refusals.append(lab_refusal())
    (refusal,) = _refusals

    def run(server: str, script: str, **options: Any) -> list[dict[str, Any]]:
        require("namespaces", refusal is None, str(refusal))
        if server:
            missing = why_missing(server)
            require(server, missing is None, str(missing))
        return [json.loads(line) for line in lab_drive(IMPORTS + script, **options).splitlines()]

    return run
