"""What ran out in a simulated run: the model that made it knows, or says why it leaves that open.

Signs that only a kernel gives, such as its counters, are not in a simulated run, so the model bears witness in their
place.
"""

from __future__ import annotations

import numpy as np

from ftpstorm.report.evidence import Evidence
from ftpstorm.report.finding import Finding, Sign
from ftpstorm.report.remedies import remedies, run_again
from ftpstorm.report.wording import seconds
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import Cause, Status


def left_open(evidence: Evidence) -> str | None:
    """Return why a simulated run does not tell what would run out; None where it does, and for a run that was made."""
    if evidence.status is not Status.SIMULATED or evidence.prediction is None:
        return None
    named = {item.quantity: item.why for item in evidence.prediction.not_predicted}
    return named.get("expected.exhausted")


def model_says(evidence: Evidence) -> tuple[Cause, Finding] | None:
    """Return what ran out by the model's own word; None for a run that took place, and where nothing ran out."""
    if evidence.status is not Status.SIMULATED or evidence.prediction is None:
        return None
    why = left_open(evidence)
    if why is not None:
        return Cause.UNKNOWN, Finding(
            signs=(Sign("signature", f"the model leaves this open: {why}"),),
            sentence=f"What would run out is left open: {why}.",
            would_settle=(run_again(evidence),),
        )
    expected = evidence.prediction.expected
    if expected.exhausted in (None, Cause.NONE, Cause.UNKNOWN):
        return None
    cause = Cause(expected.exhausted)
    first_ns = round((expected.first_exhaustion_s or 0.0) * NS_PER_S)
    return cause, Finding(
        signs=(Sign("witness", f"in the model this ran out first, {seconds(first_ns)} into the run"),),
        sentence=f"In the model {cause} is what ran out first, {seconds(first_ns)} into the run.",
        explained=np.ones(len(evidence.failures), bool),
        fixes=remedies(evidence, cause, None),
    )
