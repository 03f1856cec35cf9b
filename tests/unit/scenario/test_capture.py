"""`capture:`: what it keeps by itself, its bounds, and that it never keeps a password."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from ftpstorm.errors import ScenarioError
from ftpstorm.scenario.capture import Capture
from ftpstorm.scenario.loader import load_text

SCENARIO = """\
version: 1
name: captured
target: TARGET
flows: {download: {steps: [login, {retr: small.bin}, quit]}}
load: {once: {executor: burst, sessions: 1, flow: download}}
guard: {max_sessions: 1, max_rate: 1/s, stop_after: 1s}
capture: CAPTURE
"""
WITH_PASSWORD = "{host: 192.0.2.1, password_env: FTP_PASSWORD}"


def load(target: str, capture: str) -> Capture | None:
    return load_text(SCENARIO.replace("TARGET", target).replace("CAPTURE", capture), "f.yaml").scenario.capture


def test_by_itself_it_keeps_the_headers_of_all_connections() -> None:
    assert load(WITH_PASSWORD, "{}") == Capture(connections="all", one_in=1, max_bytes="16MiB", payload="0B")


@pytest.mark.parametrize("keys", [{"max_bytes": "1023B"}, {"max_bytes": "2GiB"}, {"payload": "1501B"}, {"one_in": 0}])
def test_what_is_out_of_bounds_is_refused(keys: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Capture.model_validate(keys)


def test_payload_is_refused_where_a_password_would_be_in_it() -> None:
    with pytest.raises(ScenarioError, match="would keep passwords"):
        load(WITH_PASSWORD, "{payload: 100B}")
    assert load("{host: 192.0.2.1}", "{payload: 100B}") == Capture(payload="100B")
