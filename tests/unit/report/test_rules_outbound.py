"""A server that runs out of ephemeral ports in active mode: who was refused, and how many took a port before."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ftpstorm.report import rules_outbound
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.finding import Finding
from ftpstorm.report.generator import generator_health
from ftpstorm.vocabulary import DataMode, Phase
from ftpstorm.vocabulary import FailureClass as F
from support.results_folder import Fault, Story

REFUSED = Fault(F.DATA_NOT_ESTABLISHED, Phase.PASSIVE, 425, text="425 Can't connect to it.", survived=True)
SILENT = Fault(F.REPLY_TIMEOUT, Phase.PASSIVE)


@pytest.mark.parametrize(("silent", "named"), [(0, True), (2, True), (10, False)])
def test_a_transfer_that_hangs_has_taken_a_port_as_one_that_succeeds_has(
    evidence: Callable[[Story], Evidence], monkeypatch: pytest.MonkeyPatch, silent: int, named: bool
) -> None:
    monkeypatch.setattr(rules_outbound, "server_ports", lambda evidence: 10)
    hanging = range(8, 8 + silent)

    def fault(k: int, _: float) -> Fault | None:
        if k < 10 - min(silent, 2):
            return None
        return SILENT if k in hanging else REFUSED

    found = evidence(Story(duration_s=2, rate=50, ports=1000, expect=None, fault=fault))
    found.operations["mode"] = DataMode.PORT
    finding = rules_outbound.server_ephemeral_ports(found, generator_health(found))
    assert isinstance(finding, Finding) == named
    if isinstance(finding, Finding):
        assert finding.fixes[0].command.startswith("passive mode")
        assert not [fix for fix in finding.fixes if "back end" in fix.command]
