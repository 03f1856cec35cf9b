"""The theory against this machine's kernel: counts, which no busy machine changes, must come out as predicted.

`make verify-theory` runs the same situations with all quantities, rates and curves among them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ftpstorm.lab.servers import why_missing
from support.lab_run import lab_refusal
from validation.judging import INSTANTS
from validation.situations import Situation, read_situations
from validation.verify import run_situation

pytestmark = [pytest.mark.lab, pytest.mark.slow]

Require = Callable[[str, bool, str], None]

CHOSEN = (
    "connect-client-closes-first",
    "connect-three-sources-and-two-destinations",
    "bind-before-connect-three-destinations",
    "ipv6-client-closes-first",
    "tcp-tw-reuse-2-across-a-wire",
    "tcp-max-tw-buckets",
    "hold-down-of-ten-seconds",
    "kernel-chosen-passive-ports-downloads",
    "one-port-for-each-control-connection",
    "active-mode-ports-of-the-client-s-own",
    "a-cap-that-answers-421",
    "address-translation-30-ports",
    "a-filter-without-the-ftp-helper",
)
"""Each mechanism once; the others differ from these in their figures only."""

SITUATIONS = {situation.slug: situation for situation in read_situations()}


@pytest.fixture(scope="module", autouse=True)
def namespaces(require: Require) -> None:
    reason = lab_refusal()
    require("lab", reason is None, reason or "")


@pytest.mark.parametrize("situation", [SITUATIONS[slug] for slug in CHOSEN], ids=CHOSEN)
def test_what_was_counted_is_what_was_predicted(situation: Situation, tmp_path: Path, require: Require) -> None:
    if situation.needs is not None:
        missing = why_missing(situation.needs)
        require(situation.needs, missing is None, missing or "")
    rows = run_situation(situation, tmp_path).rows
    counted = [row for row in rows if row.quantity not in INSTANTS and not row.quantity.endswith(" over time")]
    assert len(counted) >= len(situation.compare) - 1
    assert [row for row in counted if row.verdict != "agrees"] == []
