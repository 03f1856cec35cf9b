"""Implicit TLS has a port of its own, unless the URL names another."""

from __future__ import annotations

import json

import pytest

from ftpstorm.conduct.launch import target_override
from ftpstorm.conduct.target import parse_target_url
from ftpstorm.scenario.target import Target

IMPLICIT = Target.model_validate({"host": "127.0.0.1", "tls": {"mode": "implicit", "verify": False}})
PLAIN = Target.model_validate({"host": "127.0.0.1"})


@pytest.mark.parametrize(
    ("present", "url", "port", "mode"),
    [
        (PLAIN, "ftp://files.example", 21, "none"),
        (PLAIN, "ftps://files.example", 990, "implicit"),
        (PLAIN, "ftps://files.example:2990", 2990, "implicit"),
        (IMPLICIT, "ftp://files.example", 990, "implicit"),
        (IMPLICIT, "ftp://files.example:21", 21, "implicit"),
    ],
)
def test_the_port_follows_from_scheme_and_scenario(present: Target, url: str, port: int, mode: str) -> None:
    key, _, value = target_override(present, parse_target_url(url)).partition("=")
    fields = json.loads(value)
    assert key == "target"
    assert (fields["port"], fields.get("tls", {}).get("mode", "none")) == (port, mode)
    assert fields.get("tls", {}).get("verify", True) is (present is not IMPLICIT)
