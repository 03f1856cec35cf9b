"""``ftpstorm doctor``: all checks of this host in one table, and what to do about each that is not well.

The checks are `ftpstorm.conduct.checkup`'s and `lab_checkup`'s, the calibration `calibrate`'s; here they are gathered,
shown and turned into an exit code: 0 where load can be made, 120 where it cannot.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ftpstorm.conduct.calibrate import SECONDS, calibrate, known_calibration
from ftpstorm.conduct.checkup import Check, host_checks
from ftpstorm.conduct.lab_checkup import lab_checks
from ftpstorm.errors import ExitCode
from ftpstorm.records.calibration import Calibration

if TYPE_CHECKING:
    from rich.console import Group

STYLES: Final = {"ok": "green", "warn": "yellow", "fail": "bold red", "unknown": "dim"}
CALIBRATE_HINT: Final = "ftpstorm doctor --calibrate"


def diagnose(*, calibrating: bool, seconds: float | None, as_json: bool) -> int:
    """Check this host, with `calibrating` measure it too, and print the result; return the exit code.

    `seconds` is how long each of the calibration's loads is, None: the usual two. Raises UsageError and
    EnvironmentUnavailableError where a calibration that was asked for cannot be had.
    """
    measured = None
    if calibrating:
        if not as_json:
            print("measuring this host's ceiling, some ten seconds ...", file=sys.stderr, flush=True)
        measured = calibrate(SECONDS if seconds is None else seconds)
    checks = {"load": host_checks(), "lab": lab_checks()} if not calibrating else {}
    calibration = measured or known_calibration(os.environ)
    checks.setdefault("load", []).append(check_calibration(calibration))
    code = verdict([each for group in checks.values() for each in group])
    if as_json:
        print(json.dumps(_as_json(checks, calibration, code), indent=2))
        return code
    from rich.console import Console

    Console(highlight=False).print(_shown(checks, calibration if calibrating else None, code))
    return code


def verdict(checks: Sequence[Check]) -> ExitCode:
    """Return the exit code: 120 where a check failed, 0 where there are no more than warnings."""
    failed = any(check.status == "fail" for check in checks)
    return ExitCode.ENVIRONMENT if failed else ExitCode.PASS


def check_calibration(calibration: Calibration | None) -> Check:
    """Judge the calibration that holds here and now."""
    why = "reports then say how far from its own ceiling the generator was"
    if calibration is None:
        seen = "not measured with this kernel, Python and ftpstorm"
        return Check("ceiling", "unknown", seen, why, CALIBRATE_HINT)
    seen = (
        f"one worker: {calibration.open_connections.per_s:,.0f} downloads/s on open connections, "
        f"{calibration.whole_sessions.per_s:,.0f} whole sessions/s ({calibration.measured_at})"
    )
    bound = sorted({each.bound_by for each in (calibration.open_connections, calibration.whole_sessions)} - {"worker"})
    if bound:
        what = {"host": "others used the CPU", "sink": "the measuring server was the slower one"}
        told = " and ".join(what[each] for each in bound)
        seen += f"; a lower bound: {told}"
        if "host" in bound:
            return Check("ceiling", "warn", seen, why, f"once this machine is idle: {CALIBRATE_HINT}")
    return Check("ceiling", "ok", seen, why)


def _as_json(checks: Mapping[str, Sequence[Check]], calibration: Calibration | None, code: int) -> dict[str, Any]:
    return {
        "can_make_load": code == ExitCode.PASS,
        "checks": [{"group": group, **each.to_json()} for group, found in checks.items() for each in found],
        "calibration": None if calibration is None else calibration.model_dump(mode="json"),
    }


def _shown(checks: Mapping[str, Sequence[Check]], calibration: Calibration | None, code: int) -> Group:
    """Return what a person reads: a table for each group, then why and how for all that is not well."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    parts: list[Any] = []
    titles = {"load": "To make load", "lab": "For the lab (missing parts are warnings)"}
    for group, found in checks.items():
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for check in found:
            table.add_row(check.name, Text(check.status, style=STYLES[check.status]), Text(check.seen))
        parts += [Text(titles[group], style="bold"), Padding(table, (0, 0, 1, 2))]
    if calibration is not None:
        parts += [_ceilings(calibration), Text()]
    for check in (each for found in checks.values() for each in found):
        if check.status != "ok":
            line = Text.assemble((check.name, "bold"), f" matters because {check.why}.")
            parts.append(line)
            if check.mend:
                parts.append(Padding(Text(f"-> {check.mend}"), (0, 0, 0, 4)))
    counts: Counter[str] = Counter(each.status for found in checks.values() for each in found)
    summary = ", ".join(f"{counts[status]} {status}" for status in STYLES if counts[status])
    told = "This host can make load" if code == ExitCode.PASS else "This host cannot make load"
    style = "bold green" if code == ExitCode.PASS else "bold red"
    return Group(*parts, Text(), Text.assemble((told, style), f" ({summary})."))


def _ceilings(calibration: Calibration) -> Group:
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False, header_style="dim")
    for name in ("One worker here", "per s", "CPU us", "of core", "of sink's", "bound by"):
        table.add_column(name, justify="left" if name in ("One worker here", "bound by") else "right", no_wrap=True)
    for name, ceiling in (
        ("open connections", calibration.open_connections),
        ("whole sessions", calibration.whole_sessions),
    ):
        sink = "unknown" if ceiling.sink_cpu_share is None else f"{ceiling.sink_cpu_share:.0%}"
        table.add_row(
            name,
            f"{ceiling.per_s:,.0f}",
            f"{ceiling.cpu_us_each:.0f}",
            f"{ceiling.worker_cpu_share:.0%}",
            sink,
            ceiling.bound_by,
        )
    late = calibration.lateness
    return Group(
        table,
        Text(
            f"At {late.rate_per_s:,.0f} sessions/s they start late by: p50 {late.p50_us:,.0f} us, "
            f"p99 {late.p99_us:,.0f} us, at most {late.max_us:,.0f} us."
        ),
    )
