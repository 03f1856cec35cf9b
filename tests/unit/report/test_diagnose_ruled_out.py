"""What is said of causes that were ruled out is true: no "all" where some failed, no "same ports" that were others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ftpstorm.report.summary import Summary
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import FailureClass as F
from ftpstorm.vocabulary import Operation, Phase
from support import results_folder
from support.results_folder import Fault, Story

Judge = Callable[[Story], Summary]
REMOTE = {"host": "ftp.example.org:21", "passive_ports": "10000-10099"}
FAR = Story(target=REMOTE, ports=100, rate=20, duration_s=20, hold_s=0, expect=None, thresholds={})
CLOSED = Fault(F.GREETING_EOF, Phase.GREETING)
UNREACHED = Fault(F.DATA_CONNECT_TIMEOUT, Phase.DATA_CONNECT, errno=110, after_ns=NS_PER_S)


def ruled_out(summary: Summary) -> dict[str, list[str]]:
    return {out.cause: out.evidence for out in summary.diagnosis.ruled_out}


@pytest.fixture
def one_port_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each data connection that failed be one to port 10000, and each other one to port 10001."""
    write = results_folder._operation

    def operation(worker, k, ordinal, kind, fault, stamps, *, code=0, port=0, size=0):  # type: ignore[no-untyped-def]
        if kind is Operation.RETR:
            port = 10000 if fault else 10001
        write(worker, k, ordinal, kind, fault, stamps, code=code, port=port, size=size)

    monkeypatch.setattr(results_folder, "_operation", operation)


HALF_UNREACHED = replace(FAR, fault=lambda k, _: UNREACHED if k % 2 else None)


def test_a_firewall_is_not_ruled_out_by_connections_to_other_ports(judge: Judge, one_port_blocked: None) -> None:
    summary = judge(HALF_UNREACHED)
    assert summary.diagnosis.cause == "unknown"
    assert "firewall-no-helper" not in ruled_out(summary)


def test_a_firewall_is_ruled_out_by_connections_to_the_ports_that_failed(judge: Judge) -> None:
    summary = judge(replace(HALF_UNREACHED, ports=1))
    (why,) = ruled_out(summary)["firewall-no-helper"]
    assert why == "200 data connections got through, 200 of them to ports that others failed on"


def test_that_all_data_connections_were_opened_is_said_where_all_were(judge: Judge) -> None:
    (why,) = ruled_out(judge(replace(FAR, fault=lambda k, _: CLOSED if k % 2 else None)))["data-connection-in-use"]
    assert why == "all 200 data connections in passive mode were opened"
    (why,) = ruled_out(judge(HALF_UNREACHED))["data-connection-in-use"]
    assert why == "no transfer command was answered that its data connection could not be opened"
