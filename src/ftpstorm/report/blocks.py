"""Runs under comparison, cut into blocks of time: what intervals of their figures are resampled from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from ftpstorm.records.aggregate import Instants
from ftpstorm.report.bootstrap import BLOCKS_MIN, Floats, weights
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.summary import Summary
from ftpstorm.vocabulary import Verdict

BLOCKS_MAX: Final = 40


@dataclass(frozen=True)
class Member:
    """One run of a subject. `evidence` is None of a baseline that only its summary is left of."""

    summary: Summary
    evidence: Evidence | None = None

    @property
    def valid(self) -> bool:
        """Whether it proves anything."""
        return self.summary.verdict is not Verdict.INVALID

    @cached_property
    def edges(self) -> Instants:
        """Edges of equal blocks over the load's window, whole holds of the server's pool where those are known.

        Two edges, a block that is the whole window, where it would be fewer than BLOCKS_MIN.
        """
        assert self.evidence is not None
        return block_edges(self.evidence.load_start_ns, self.evidence.load_end_ns, self.evidence.hold_ns)

    def counts(self, instants: Instants) -> Floats:
        """Return how many instants lie in each block; those outside the window count in the first or the last."""
        places = np.clip(np.searchsorted(self.edges, instants, side="right") - 1, 0, len(self.edges) - 2)
        return np.bincount(places, minlength=len(self.edges) - 1).astype(np.float64)

    def split(self, instants: Instants, values: Instants) -> list[Floats]:
        """Return `values` by the block that their instants lie in."""
        places = np.clip(np.searchsorted(self.edges, instants, side="right") - 1, 0, len(self.edges) - 2)
        return [values[places == block].astype(np.float64) for block in range(len(self.edges) - 1)]


def block_edges(from_ns: int, to_ns: int, hold_ns: int | None) -> Instants:
    """Return the edges of blocks over [from, to]; the last one takes what a whole number of them leaves over."""
    length = max(to_ns - from_ns, 1)
    block = -(-length // BLOCKS_MAX)
    if hold_ns:
        block = -(-block // hold_ns) * hold_ns
    count = length // block
    if count < BLOCKS_MIN:
        return np.array([from_ns, from_ns + length], np.int64)
    edges = from_ns + block * np.arange(count + 1, dtype=np.int64)
    edges[-1] = from_ns + length
    return edges


@dataclass(frozen=True)
class Subject:
    """One column of a comparison: a run, or several that repeat each other."""

    name: str
    members: tuple[Member, ...]

    @property
    def evidence(self) -> Evidence | None:
        """The evidence of the first run: what pictures are drawn of."""
        return self.members[0].evidence

    @property
    def summary(self) -> Summary:
        """The summary of the first run."""
        return self.members[0].summary

    @property
    def recorded(self) -> bool:
        """Whether the records of all its runs are there."""
        return all(member.evidence is not None for member in self.members)

    @property
    def cause(self) -> str:
        """What ran out in most of its runs."""
        return Counter(member.summary.diagnosis.cause for member in self.members).most_common(1)[0][0]

    @cached_property
    def drawn(self) -> Floats | None:
        """How often each block of each run is drawn in each resample; None where there is nothing to draw from."""
        if not self.recorded:
            return None
        blocks = [len(member.edges) - 1 for member in self.members]
        return weights(blocks) if sum(blocks) > 1 else None

    @property
    def method(self) -> str:
        """How its intervals come about, in words."""
        if not self.recorded:
            return "from its summary alone"
        blocks = sum(len(member.edges) - 1 for member in self.members)
        if len(self.members) == 1:
            return f"bootstrap over {blocks} blocks of time" if blocks > 1 else "too short for blocks of time"
        within = f" and the {blocks} blocks of time in them" if blocks > len(self.members) else ""
        return f"bootstrap over {len(self.members)} runs{within}"
