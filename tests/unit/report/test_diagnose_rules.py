"""What single rules make of what a client saw, of nudges, of counters, and of a server that nobody looked into."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ftpstorm.report.summary import Diagnosis, Summary
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import FailureClass as F
from ftpstorm.vocabulary import Phase
from support.results_folder import Fault, Story

Judge = Callable[[Story], Summary]

REMOTE = {"host": "192.0.2.7", "port": 21, "passive_ports": "10000-10999"}
FAR = Story(duration_s=2, rate=50, ports=1000, expect=None, target=REMOTE)
NEAR = replace(FAR, target=None)


@pytest.fixture
def far(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> Callable[[Story], Diagnosis]:
    """Give ``far(story)``: the diagnosis where the server is elsewhere, so that nobody looked into it."""
    from ftpstorm.report.evidence import Evidence

    monkeypatch.setattr(Evidence, "sees_server", False)
    return lambda story: judge(story).diagnosis


def every_other(fault: Fault) -> Callable[[int, float], Fault | None]:
    return lambda k, _: fault if k % 2 else None


SEEN_BY_THE_CLIENT = {
    "server-passive-pool": Fault(F.PASSIVE_EXHAUSTED, Phase.PASSIVE, 425, text="425 Full.", survived=True),
    "server-connection-cap": Fault(F.BUSY_AT_GREETING, Phase.GREETING, 421, text="421 Too many connections"),
    "per-address-limit": Fault(
        F.BUSY_AT_GREETING, Phase.GREETING, 421, text="421 Too many from your internet address."
    ),
    "backlog-ghost": Fault(F.GREETING_SILENT, Phase.GREETING, after_ns=NS_PER_S),
    "reset-after-accept": Fault(F.GREETING_RESET, Phase.GREETING, errno=104),
    "nat-pool": Fault(F.CONTROL_CONNECT_TIMEOUT, Phase.CONTROL_CONNECT, after_ns=NS_PER_S),
    "data-connection-in-use": Fault(F.DATA_NOT_ESTABLISHED, Phase.FIRST_BYTE, 425, text="425 Data connection in use."),
    "login-refused": Fault(F.AUTH_FAILED, Phase.LOGIN, 530, text="530 Login incorrect."),
    "transfer-stall": Fault(F.TRANSFER_STALLED, Phase.TRANSFER, after_ns=NS_PER_S),
}


@pytest.mark.parametrize("cause", SEEN_BY_THE_CLIENT)
def test_what_only_the_client_saw_is_named_never_certain_and_says_what_would_settle_it(
    far: Callable[[Story], Diagnosis], cause: str
) -> None:
    diagnosis = far(replace(FAR, fault=every_other(SEEN_BY_THE_CLIENT[cause])))
    assert diagnosis.cause == cause
    assert diagnosis.confidence in ("likely", "possible")
    assert diagnosis.would_settle
    assert diagnosis.fixes


def test_a_remote_server_without_failures_had_nothing_run_out_likely(far: Callable[[Story], Diagnosis]) -> None:
    diagnosis = far(FAR)
    assert (diagnosis.cause, diagnosis.confidence) == ("none", "likely")
    assert diagnosis.would_settle


def test_data_connections_that_never_get_through_are_a_firewalls_doing(far: Callable[[Story], Diagnosis]) -> None:
    timeout = Fault(F.DATA_CONNECT_TIMEOUT, Phase.DATA_CONNECT, after_ns=NS_PER_S, survived=True)
    diagnosis = far(replace(FAR, fault=lambda k, _: timeout))
    assert (diagnosis.cause, diagnosis.confidence) == ("firewall-no-helper", "likely")


def test_data_connections_that_fail_now_and_then_to_the_same_port_are_not(far: Callable[[Story], Diagnosis]) -> None:
    timeout = Fault(F.DATA_CONNECT_TIMEOUT, Phase.DATA_CONNECT, after_ns=NS_PER_S, survived=True)
    diagnosis = far(replace(FAR, ports=1, hold_s=0, fault=every_other(timeout)))
    assert diagnosis.cause == "unknown"
    assert "firewall-no-helper" in {out.cause for out in diagnosis.ruled_out}


def test_ports_that_bind_could_not_find_are_a_bind_habit(judge: Judge) -> None:
    out = Fault(F.LOCAL_PORTS_EXHAUSTED, Phase.CONTROL_CONNECT, errno=98)
    assert judge(replace(NEAR, fault=every_other(out))).diagnosis.cause == "client-bind-habit"


def test_a_generator_without_ports_is_not_blamed_for_being_late(judge: Judge) -> None:
    """connect takes milliseconds to find that no port is left: lateness follows from that."""
    out = Fault(F.LOCAL_PORTS_EXHAUSTED, Phase.CONTROL_CONNECT, errno=99)
    late = replace(NEAR, fault=every_other(out), lateness_ns=lambda k: NS_PER_S // 2)
    assert judge(late).diagnosis.cause == "client-ephemeral-ports"
    assert judge(replace(late, fault=lambda k, _: None)).diagnosis.cause == "generator"


def test_resets_that_the_servers_kernel_counted_are_certain(judge: Judge) -> None:
    reset = Fault(F.GREETING_RESET, Phase.GREETING, errno=104)
    counters = {"TcpExt.ListenOverflows": 60, "TcpExt.EmbryonicRsts": 50}
    diagnosis = judge(replace(NEAR, fault=every_other(reset), counters=counters)).diagnosis
    assert (diagnosis.cause, diagnosis.confidence) == ("reset-after-accept", "certain")


def test_resets_that_the_server_counts_as_refusals_are_its_cap(judge: Judge) -> None:
    reset = Fault(F.GREETING_RESET, Phase.GREETING, errno=104)
    diagnosis = judge(replace(NEAR, fault=every_other(reset), server_off={"refused_connections": 50})).diagnosis
    assert (diagnosis.cause, diagnosis.confidence) == ("server-connection-cap", "certain")
    (why,) = (out.evidence for out in diagnosis.ruled_out if out.cause == "reset-after-accept")
    assert why == ["the server itself counts them as turned away by its cap on connections"]


def test_connects_without_answer_while_syns_were_dropped_are_a_slow_accept(judge: Judge) -> None:
    timeout = Fault(F.CONTROL_CONNECT_TIMEOUT, Phase.CONTROL_CONNECT, after_ns=NS_PER_S)
    counters = {"TcpExt.ListenOverflows": 60, "TcpExt.ListenDrops": 60}
    diagnosis = judge(replace(NEAR, fault=every_other(timeout), counters=counters)).diagnosis
    assert (diagnosis.cause, diagnosis.confidence) == ("slow-accept", "certain")


def test_the_other_sides_counters_stand_in_the_evidence(judge: Judge) -> None:
    line = judge(Story(duration_s=4)).diagnosis.evidence[-1]
    assert line == "server ListenOverflows +0; client ports 0 % used"


def test_interrupted_sessions_of_a_whole_run_make_its_health_less_sure(judge: Judge) -> None:
    summary = judge(replace(NEAR, interrupted=frozenset(range(10))))
    assert (summary.diagnosis.cause, summary.diagnosis.confidence) == ("none", "likely")
    assert "10 sessions did not come to an end in time" in summary.headline


def test_a_passive_data_connection_in_use_is_not_about_port_20(judge: Judge) -> None:
    refused = Fault(F.DATA_NOT_ESTABLISHED, Phase.FIRST_BYTE, 425, text="425 Data connection in use.")
    summary = judge(replace(NEAR, fault=every_other(refused)))
    assert summary.diagnosis.cause == "data-connection-in-use"
    said = " ".join([summary.headline, *summary.diagnosis.would_settle])
    assert "port 20" not in said
    assert "more time between the transfers of one session" in said
