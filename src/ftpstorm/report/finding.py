"""What a diagnosis rule gives back: signs for a cause, or what rules it out.

Confidence follows from the kind of the signs alone: **certain** when the server or the kernel itself bears witness,
**likely** when the records show a second, independent sign, **possible** on the failures' own word.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ftpstorm.report.evidence import Evidence
from ftpstorm.report.summary import Confidence, Fix, Generator
from ftpstorm.vocabulary import Cause

Kind = Literal["signature", "records", "witness"]


@dataclass(frozen=True, slots=True)
class Sign:
    """One observation. `witness`: told by the kernel or the server; `records`: a second sign in the load's own records;
    `signature`: the failures themselves."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A cause that the evidence speaks for."""

    signs: tuple[Sign, ...]
    explains: int
    """Failures that it explains."""
    first_ns: int | None
    sentence: str
    """What ran out, when, and what would lift it."""
    fixes: tuple[Fix, ...] = ()
    would_settle: tuple[str, ...] = ()
    overrides: bool = False
    """Stands first whatever else was found: nothing can be said of the server while this holds."""

    @property
    def confidence(self) -> Confidence:
        kinds = {sign.kind for sign in self.signs}
        return "certain" if "witness" in kinds else "likely" if "records" in kinds else "possible"


@dataclass(frozen=True, slots=True)
class Against:
    """Why a cause is ruled out."""

    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """How one cause shows. `examine` returns None where there is nothing to say either way."""

    cause: Cause
    examine: Callable[[Evidence, Generator], Finding | Against | None]
