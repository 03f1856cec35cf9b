"""`target.tls`: defaults that are safe, a port that follows the mode, and what does not go together."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from ftpstorm.scenario.target import Target


def target(**keys: Any) -> Target:
    return Target.model_validate({"host": "ftp.example", **keys})


def test_without_a_word_there_is_no_tls_and_with_one_certificates_are_checked() -> None:
    assert target().tls.mode == "none"
    tls = target(tls={"mode": "explicit"}).tls
    assert (tls.verify, tls.session_reuse, tls.prot) == (True, True, "P")


@pytest.mark.parametrize(
    ("keys", "port"),
    [
        ({}, 21),
        ({"tls": {"mode": "explicit"}}, 21),
        ({"tls": {"mode": "implicit"}}, 990),
        ({"tls": {"mode": "implicit"}, "port": 21}, 21),
    ],
)
def test_the_port_follows_the_mode_unless_it_is_given(keys: dict[str, Any], port: int) -> None:
    found = target(**keys)
    assert found.port == port
    assert Target.model_validate(found.model_dump(mode="json", by_alias=True)) == found


@pytest.mark.parametrize(
    "keys",
    [
        {"tls": {"mode": "explicit", "min_version": "1.3", "max_version": "1.2"}},
        {"tls": {"mode": "starttls"}},
        {"tls": {"mode": "explicit", "min_version": "1.0"}},
        {"tls": {"mode": "explicit", "prot": "E"}},
    ],
)
def test_what_makes_no_sense_is_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        target(**keys)


def test_the_emulator_speaks_no_tls() -> None:
    with pytest.raises(ValidationError, match="emulator speaks no TLS"):
        Target.model_validate({"emulator": {}, "tls": {"mode": "explicit"}})
