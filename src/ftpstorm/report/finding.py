"""What a diagnosis rule gives back: signs for a cause, or what rules it out.

Confidence follows from the kind of the signs alone: **certain** when the kernel or the program on the side that ran out
bears witness, **likely** when the records show a second, independent sign, **possible** on the failures' own word. What
a client saw of a server is never a witness, so without a view of the server's side nothing about it is certain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from ftpstorm.report.evidence import Evidence
from ftpstorm.report.summary import Confidence, Fix, Generator
from ftpstorm.vocabulary import Cause

Kind = Literal["signature", "records", "witness"]
Mask = npt.NDArray[np.bool_]
"""Which of the run's failures are meant: one truth for each row of `Evidence.failures`."""


@dataclass(frozen=True, slots=True)
class Sign:
    """One observation. `witness`: told by the kernel or the program concerned; `records`: a second sign in the load's
    own records; `signature`: the failures themselves."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A cause that the evidence speaks for."""

    signs: tuple[Sign, ...]
    sentence: str
    """What ran out, when, and what would lift it."""
    explained: Mask = field(default_factory=lambda: np.zeros(0, bool))
    """The failures that it explains; empty for none."""
    fixes: tuple[Fix, ...] = ()
    would_settle: tuple[str, ...] = ()
    overrides: bool = False
    """Stands first whatever else was found: nothing can be said of the server while this holds."""

    @property
    def explains(self) -> int:
        """How many failures it explains."""
        return int(np.count_nonzero(self.explained))

    @property
    def confidence(self) -> Confidence:
        """How sure it is, by the kinds of its signs."""
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
