"""The situations of situations.yaml, read and checked: what is run, and by which quantities it is judged."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Final, Literal

from ruamel.yaml import YAML

FILE: Final = Path(__file__).with_name("situations.yaml")
KEYS: Final = frozenset({"name", "shows", "kind", "needs", "compare", "curves", "workers", "scenario"})

Kind = Literal["counts", "rates"]


@dataclass(frozen=True, slots=True)
class Situation:
    """One situation. `scenario` is whole: the base with the situation's own part over it."""

    name: str
    shows: str
    kind: Kind
    scenario: Mapping[str, Any]
    compare: tuple[str, ...]
    """Quantities, as the report's agreement table names them."""
    curves: tuple[str, ...]
    needs: str | None
    workers: int

    @property
    def slug(self) -> str:
        """The name as a scenario and a folder may have it."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")

    def as_yaml(self) -> str:
        """Return the scenario as the text of a file."""
        out = StringIO()
        YAML(typ="safe").dump(copy.deepcopy(dict(self.scenario)) | {"name": self.slug}, out)
        return out.getvalue()


def read_situations(text: str | None = None) -> tuple[Situation, ...]:
    """Return all situations of `text`, by default of situations.yaml. Raises ValueError for one that is malformed."""
    document = YAML(typ="safe").load(FILE.read_text(encoding="utf-8") if text is None else text)
    found = tuple(_situation(entry, document["base"]) for entry in document["situations"])
    names = [situation.slug for situation in found]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"situations.yaml: more than one situation is named {', '.join(sorted(twice))}")
    return found


def _situation(entry: Mapping[str, Any], base: Mapping[str, Any]) -> Situation:
    if unknown := set(entry) - KEYS:
        raise ValueError(f"situations.yaml: {entry.get('name')}: unknown {', '.join(sorted(unknown))}")
    return Situation(
        name=str(entry["name"]),
        shows=str(entry["shows"]),
        kind=entry["kind"],
        scenario=_laid_over(base, entry["scenario"]),
        compare=tuple(entry["compare"]),
        curves=tuple(entry.get("curves", ())),
        needs=entry.get("needs"),
        workers=int(entry.get("workers", 1)),
    )


def _laid_over(base: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    """Merge mappings key by key; a `target` has one kind of server only, so it is replaced."""
    merged = dict(base)
    for key, value in part.items():
        below = merged.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping) and key != "target"
        merged[key] = _laid_over(below, value) if both else value  # type: ignore[arg-type]
    return merged
