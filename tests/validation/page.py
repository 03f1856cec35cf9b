"""docs/theory/measured.md: the table and the pictures of one verification, made by the same command."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from validation.judging import CURVE, INSTANT, INSTANT_FLOOR_S, RATE, Row
from validation.pictures import draw_curves, draw_ratios
from validation.verify import Verified, shown, summed_up

PAGE: Final = "measured.md"
CURVES: Final = "measured-occupancy.svg"
RATIOS: Final = "measured-ratios.svg"
MARKS: Final = {"agrees": "agrees", "disagrees": "**disagrees**", "not-measurable": "not measurable"}

INTRODUCTION: Final = """# The theory, measured

Made by `make verify-theory` on {system}, with the emulator and real servers in namespaces of the run's own.

{summary}.

Each situation is a scenario (`tests/validation/situations.yaml`) that goes through `ftpstorm run` like any other: its
prediction is written and hashed before the first packet, the report lays measurement beside it, and only then the rules
below are asked. They go by kind of quantity and never by situation.

| quantity | agrees |
|---|---|
| counts: sessions, transfers, failures by class, peaks | exactly |
| sustained rate | within {rate:.0%} |
| time to the first failure | within {instant:.0%}, or {floor:g} s where that is more: a busy machine takes that long |
| occupancy over time | mean distance at most {curve:.0%} of the peak |

What nobody can foretell the prediction leaves open, and says why: that is *not measurable*. Situations that are about
rates compare no counts: which of two sessions gets a port that becomes free in the same millisecond is no theory's
business. Failures of classes that were not foretold count in all of them.

![Measured over predicted, for each quantity that is not zero](measured-ratios.svg)

## Occupancy over time

The distance of two curves is the mean over the run's time of |simulated - sampled|, divided by the simulated peak, both
taken at the instants at which the sampler read. Both have the run's clock, and nothing is shifted to fit.

![Occupancy over time, simulated and sampled](measured-occupancy.svg)

## All situations
"""


def write_page(verified: Sequence[Verified], folder: Path) -> list[Path]:
    """Write the page and its pictures into `folder`; return what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / PAGE
    page.write_text(page_text(verified, _system()), encoding="utf-8")
    curves, ratios = folder / CURVES, folder / RATIOS
    named = [(each.situation.name, curve) for each in verified for curve in each.curves if curve.t_s is not None]
    draw_curves(named, curves)
    draw_ratios([row for each in verified for row in each.rows], ratios)
    return [page, curves, ratios]


def page_text(verified: Sequence[Verified], system: str) -> str:
    """Return the page. `system` says where it was measured."""
    parts = [
        INTRODUCTION.format(
            system=system, summary=summed_up(verified), rate=RATE, instant=INSTANT, floor=INSTANT_FLOOR_S, curve=CURVE
        )
    ]
    for each in verified:
        what = each.situation.shows
        server = f" Server: {each.situation.needs}." if each.situation.needs else ""
        parts.append(f"### {each.situation.name}\n\n{what[0].upper()}{what[1:]}.{server}\n\n{_table(each.rows)}\n")
    return "\n".join(parts)


def _table(rows: Sequence[Row]) -> str:
    lines = ["| quantity | predicted | measured | ratio | verdict |", "|---|---:|---:|---:|---|"]
    for row in rows:
        verdict = MARKS[row.verdict] + (f": {row.why}" if row.why and row.why != "exact" else "")
        cells = (shown(row.predicted, row.unit), shown(row.measured, row.unit), shown(row.ratio))
        lines.append(f"| {row.quantity} | {' | '.join(cells)} | {verdict.replace('|', '/')} |")
    return "\n".join(lines)


def _system() -> str:
    release = ".".join(platform.release().split("-")[0].split(".")[:2])
    return f"{platform.system()} {release}, {os.cpu_count()} cores"
