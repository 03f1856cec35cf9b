"""Words and their numbers are a file format: results on disk are read by them years later."""

from __future__ import annotations

import re

import pytest

from ftpstorm.vocabulary import (
    COUNTERS,
    FAILURE_CLASSES,
    GENERATOR_CLASSES,
    LATENCY_PHASES,
    TRANSFERS,
    Cause,
    DataMode,
    FailureClass,
    Metric,
    Operation,
    Outcome,
    Phase,
    PoolState,
    Side,
    Status,
    TcpState,
    Verdict,
    Word,
)

# Append to these, never renumber or remove: a record of an older run would change its meaning.
FROZEN: dict[type[Word], tuple[int, str]] = {
    FailureClass: (
        0,
        "none control-connect-refused control-connect-timeout control-connect-reset greeting-silent greeting-eof "
        "greeting-reset busy-at-greeting busy-at-login auth-failed passive-exhausted passive-out-of-range "
        "data-connect-refused data-connect-timeout data-connect-reset data-not-established data-tls tls-failed "
        "transfer-aborted transfer-stalled transfer-short final-reply-timeout reply-timeout control-lost file-error "
        "unsupported protocol-error unreachable local-ports-exhausted local-files-exhausted local-buffers-exhausted",
    ),
    Phase: (
        0,
        "none control-connect tls greeting login passive data-connect first-byte transfer final-reply command",
    ),
    Operation: (
        0,
        "none login retr stor list nlst mlsd pasv-only noop cwd quit abort think appe size mkd dele hold",
    ),
    Outcome: (0, "none succeeded failed interrupted dropped"),
    DataMode: (0, "none pasv epsv port eprt"),
    PoolState: (0, "free listening in-use held"),
    TcpState: (
        1,
        "established syn-sent syn-recv fin-wait1 fin-wait2 time-wait close close-wait last-ack listen closing "
        "new-syn-recv",
    ),
}


@pytest.mark.parametrize("words", FROZEN, ids=lambda words: words.__name__)
def test_numbers_behind_stored_words_never_change(words: type[Word]) -> None:
    first, frozen = FROZEN[words]
    expected = {first + index: word for index, word in enumerate(frozen.split())}
    actual = {member.value: member.word for member in words}
    assert {number: actual.get(number) for number in expected} == expected


def test_every_stored_enumeration_is_frozen() -> None:
    assert set(Word.__subclasses__()) == set(FROZEN)


@pytest.mark.parametrize("words", FROZEN, ids=lambda words: words.__name__)
def test_a_word_and_its_member_name_each_other_and_fit_a_byte(words: type[Word]) -> None:
    assert len(words.words()) == len(set(words.words())) == len(words)
    for member in words:
        assert words.from_word(member.word) is member
        assert 0 <= member.value <= 255


def test_an_unknown_word_is_refused() -> None:
    with pytest.raises(KeyError):
        FailureClass.from_word("passive-exhausd")


def test_causes_statuses_verdicts_and_sides_are_the_published_words() -> None:
    assert " ".join(Cause) == (
        "none client-ephemeral-ports client-bind-habit client-files server-passive-pool server-passive-pool-escaped "
        "data-connection-in-use server-connection-cap per-address-limit backlog-ghost backlog-syn-refused "
        "reset-after-accept slow-accept nat-pool firewall-no-helper active-port-reused close-wait-leak "
        "server-ephemeral-ports login-refused server-down transfer-stall generator unknown"
    )
    assert " ".join(Status) == "completed interrupted stopped-early cut-short simulated"
    assert " ".join(Verdict) == "pass fail invalid"
    assert " ".join(Side) == "client server router"


def test_every_public_word_is_lower_case_with_hyphens() -> None:
    words = [*Cause, *Status, *Verdict, *Side, *(word for enumeration in FROZEN for word in enumeration.words())]
    assert [word for word in words if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", word)] == []


def test_none_is_no_failure_and_the_generators_own_are() -> None:
    assert FailureClass.NONE not in FAILURE_CLASSES
    assert len(FAILURE_CLASSES) == len(FailureClass) - 1
    assert set(FAILURE_CLASSES) > GENERATOR_CLASSES
    assert {member.word for member in GENERATOR_CLASSES} == {word for word in FailureClass.words() if "local-" in word}


def test_transfers_are_the_operations_with_a_data_connection() -> None:
    assert {member.word for member in TRANSFERS} == {"retr", "stor", "appe", "list", "nlst", "mlsd"}


def test_latency_phases_are_phases_and_the_whole_session() -> None:
    assert LATENCY_PHASES[-1] == "session"
    for name in LATENCY_PHASES[:-1]:
        assert Phase.from_word(name.replace("_", "-"))


def test_metric_and_counter_names_are_unique_and_dotted() -> None:
    assert len(set(COUNTERS)) == len(COUNTERS)
    assert all(re.fullmatch(r"(Tcp|TcpExt)\.[A-Za-z]+", name) for name in COUNTERS)
    assert all(re.fullmatch(r"[a-z]+\.[a-z_]+", metric) for metric in Metric)
