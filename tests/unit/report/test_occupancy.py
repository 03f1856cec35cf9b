"""What the passive replies showed: every offer of a port counts, whether a client came for it or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ftpstorm.report.evidence import Evidence
from ftpstorm.report.occupancy import passive_ports_of
from ftpstorm.vocabulary import Operation
from support.results_folder import PORTS_FROM, Story


def test_a_port_that_was_asked_for_alone_was_shown_all_the_same(evidence: Callable[[Story], Evidence]) -> None:
    story = Story(ports=20, rate=20, hold_s=0.5, duration_s=4, expect=None)
    before = passive_ports_of(evidence(story))
    assert before.distinct > 1
    assert before.reuse_interval_s is not None
    found = evidence(story)
    rows = found.operations
    rows["operation"][np.flatnonzero(rows["passive_port"])[1:]] = Operation.PASV_ONLY
    after = passive_ports_of(found)
    assert (after.distinct, after.min, after.max) == (before.distinct, PORTS_FROM, before.max)
    assert after.reuse_interval_s is None, "only the end of a data connection makes a port free"


def test_a_reply_that_names_another_host_is_an_anomaly_that_is_counted(evidence: Callable[[Story], Evidence]) -> None:
    story = Story(ports=20, rate=20, hold_s=0.5, duration_s=4, expect=None)
    assert passive_ports_of(evidence(story)).foreign_host == 0
    assert passive_ports_of(evidence(replace(story, foreign_hosts=7))).foreign_host == 14, "two workers"
