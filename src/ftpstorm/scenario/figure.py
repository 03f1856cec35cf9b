"""How a scenario names one figure of a run: a key of summary.json, or one such key divided by another. Pure parsing.

figure      transfers.sustained.rate_per_s   latency_ms.greeting.n / sessions.started   greeted
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import AfterValidator

NAMED: Final = {
    "sustained": "transfers.sustained.rate_per_s",
    "transfers": "transfers.succeeded",
    "greeted": "latency_ms.greeting.n / sessions.started",
    "succeeded": "sessions.succeeded / sessions.started",
    "failed": "sessions.failed / sessions.started",
    "dropped": "sessions.dropped / sessions.planned",
}
"""Figures with a name of their own; shares are of 1."""

_KEY: Final = re.compile(r"[A-Za-z_][\w-]*(\.[\w-]+)+")


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure. `over` is what it is divided by, None where it is a value by itself."""

    text: str
    key: tuple[str, ...]
    over: tuple[str, ...] | None

    @property
    def share(self) -> bool:
        """Whether it is a share or another ratio."""
        return self.over is not None


def parse_figure(text: str) -> Figure:
    """Parse a figure. Raises ValueError that says what one looks like."""
    parts = [part.strip() for part in NAMED.get(text.strip(), text).split("/")]
    if len(parts) > 2 or not all(_KEY.fullmatch(part) for part in parts):
        raise ValueError(
            f"{text!r} is no figure; write {', '.join(NAMED)}, or a key of summary.json such as "
            "transfers.sustained.rate_per_s, or one such key / another"
        )
    key, over = tuple(parts[0].split(".")), tuple(parts[1].split(".")) if len(parts) > 1 else None
    return Figure(text.strip(), key, over)


def _figure_text(text: str) -> str:
    parse_figure(text)
    return text


FigureText = Annotated[str, AfterValidator(_figure_text)]
"""Text that `parse_figure` takes."""
