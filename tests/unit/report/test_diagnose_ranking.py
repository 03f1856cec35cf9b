"""How findings are weighed: what binds comes first, what is better explained goes, what follows is no riddle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from ftpstorm.records.aggregate import Failures
from ftpstorm.report.diagnose import diagnose
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.finding import Against, Finding, Kind, Rule, Sign
from ftpstorm.report.generator import generator_health
from ftpstorm.report.rules import RULES
from ftpstorm.report.summary import Summary
from ftpstorm.vocabulary import Cause, Phase
from ftpstorm.vocabulary import FailureClass as F
from support.results_folder import Fault, Story

Judge = Callable[[Story], Summary]
Gather = Callable[[Story], Evidence]

BUSY = Fault(F.BUSY_AT_GREETING, Phase.GREETING, 421, text="421 Too many connections")
STALLED = Fault(F.TRANSFER_STALLED, Phase.TRANSFER, after_ns=10**9)
HALF_FAIL = Story(duration_s=2, rate=50, ports=1000, expect=None, fault=lambda k, _: BUSY if k % 2 else None)


def test_every_cause_but_none_and_unknown_has_one_rule() -> None:
    causes = [rule.cause for rule in RULES]
    assert sorted(causes) == sorted(set(Cause) - {Cause.NONE, Cause.UNKNOWN})


def test_of_two_full_places_the_later_one_binds_though_it_explains_fewer(judge: Judge) -> None:
    """Three of four are turned away at the door; of the others the pool refuses most: a wider door would not help."""
    summary = judge(Story(duration_s=4, ports=2, expect=None, fault=lambda k, _: BUSY if k % 4 else None))
    assert summary.diagnosis.cause == "server-passive-pool"
    (other,) = summary.others
    assert other.cause == "server-connection-cap"
    assert other.failures > summary.diagnosis.failures > 0


def test_a_later_place_that_turns_few_away_does_not_bind(judge: Judge) -> None:
    def fault(k: int, _: float) -> Fault | None:
        return BUSY if k % 4 else STALLED if k % 40 == 0 else None

    summary = judge(replace(HALF_FAIL, fault=fault))
    assert summary.diagnosis.cause == "server-connection-cap"
    assert [other.cause for other in summary.others] == ["transfer-stall"]


def test_a_handful_behind_a_door_that_lets_few_in_does_not_bind(judge: Judge) -> None:
    def fault(k: int, _: float) -> Fault | None:
        return BUSY if k % 20 else STALLED if k % 40 == 0 else None

    summary = judge(replace(HALF_FAIL, fault=fault))
    assert summary.diagnosis.cause == "server-connection-cap"
    assert [other.cause for other in summary.others] == ["transfer-stall"]


def rule(cause: Cause, kind: Kind, share: float = 1.0) -> Rule:
    def examine(evidence: Evidence, _: object) -> Finding:
        mask = np.arange(len(evidence.failures)) < share * len(evidence.failures)
        return Finding((Sign(kind, "seen"),), f"it is {cause}.", mask)

    return Rule(cause, examine)


def weigh(gather: Gather, *rules: Rule) -> tuple[str, list[str], list[str]]:
    evidence = gather(HALF_FAIL)
    verdicts = diagnose(evidence, generator_health(evidence), rules)
    others = [other.cause for other in verdicts.others]
    return verdicts.main.cause, others, [out.cause for out in verdicts.main.ruled_out]


def test_what_a_witness_explains_rules_out_a_weaker_explanation_of_the_same(evidence: Gather) -> None:
    weak, strong = rule(Cause.SLOW_ACCEPT, "signature"), rule(Cause.CLOSE_WAIT_LEAK, "witness")
    assert weigh(evidence, weak, strong) == ("close-wait-leak", [], ["slow-accept"])


def test_two_explanations_that_are_equally_sure_both_stand(evidence: Gather) -> None:
    main, others, _ = weigh(evidence, rule(Cause.SLOW_ACCEPT, "records"), rule(Cause.NAT_POOL, "records"))
    assert {main, *others} == {"slow-accept", "nat-pool"}


def test_findings_that_explain_less_than_half_together_leave_it_unknown(evidence: Gather) -> None:
    main, others, _ = weigh(evidence, rule(Cause.NAT_POOL, "witness", 0.4))
    assert (main, others) == ("unknown", ["nat-pool"])


def test_a_finding_without_failures_is_told_and_never_first(evidence: Gather) -> None:
    calm = evidence(replace(HALF_FAIL, fault=lambda k, _: None))
    quiet = Rule(Cause.CLOSE_WAIT_LEAK, lambda e, g: Finding((Sign("witness", "sockets pile up"),), "it leaks."))
    verdicts = diagnose(calm, generator_health(calm), (quiet,))
    assert verdicts.main.cause == "none"
    assert [other.cause for other in verdicts.others] == ["close-wait-leak"]


def test_what_makes_all_moot_stands_first(evidence: Gather) -> None:
    moot = Rule(Cause.GENERATOR, lambda e, g: Finding((Sign("witness", "late"),), "late.", overrides=True))
    main, others, _ = weigh(evidence, rule(Cause.SERVER_CONNECTION_CAP, "witness"), moot)
    assert (main, others) == ("generator", ["server-connection-cap"])


def test_what_is_ruled_out_comes_with_its_evidence(evidence: Gather) -> None:
    against = Rule(Cause.NAT_POOL, lambda e, g: Against(("insert_failed +0",)))
    gathered = evidence(HALF_FAIL)
    main = diagnose(gathered, generator_health(gathered), (against,)).main
    assert [(out.cause, out.evidence) for out in main.ruled_out] == [("nat-pool", ["insert_failed +0"])]


def test_control_that_was_lost_after_a_refusal_in_its_session_is_no_further_riddle(evidence: Gather) -> None:
    """Some servers die of what they refused, and each later command of the session fails: one cause, many failures."""
    gathered = evidence(HALF_FAIL)
    before = gathered.failures
    lost = np.repeat(before.data, 3)
    lost["class"], lost["phase"], lost["t_ns"] = F.CONTROL_LOST, Phase.COMMAND, lost["t_ns"] + 1
    gathered.__dict__["failures"] = Failures(np.concatenate((before.data, lost)), before.texts, before.writers)

    def examine(seen: Evidence, _: object) -> Finding:
        mask = seen.failures.data["class"] == F.BUSY_AT_GREETING
        return Finding((Sign("signature", "421"),), "full.", mask)

    main = diagnose(gathered, generator_health(gathered), (Rule(Cause.SERVER_CONNECTION_CAP, examine),)).main
    assert (main.cause, main.failures) == ("server-connection-cap", len(before))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("425 All reserved TCP ports are busy", "pure-ftpd -p"),
        ("500 OOPS: vsf_sysutil_bind", "vsftpd.conf: pasv_min_port"),
        ("425 Can't open passive connection: Address already in use.", "ip_local_port_range"),
        ("425 Cannot open data connection.", "appcmd"),
        ("425 Try later, data connection in use.", "netsh"),
    ],
)
def test_fixes_come_in_the_words_of_who_refuses_like_that(judge: Judge, text: str, word: str) -> None:
    full = Fault(F.PASSIVE_EXHAUSTED, Phase.PASSIVE, int(text[:3]), text=text, survived=True)
    target = {"host": "192.0.2.7", "port": 21}
    diagnosis = judge(replace(HALF_FAIL, target=target, fault=lambda k, _: full if k % 2 else None)).diagnosis
    assert diagnosis.cause == "server-passive-pool"
    assert any(word in fix.command for fix in diagnosis.fixes), diagnosis.fixes
