"""Source addresses and port ranges of a scenario."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from ftpstorm.errors import ScenarioError
from ftpstorm.scenario.client import Client, expand_addresses, parse_port_range
from ftpstorm.scenario.flow import AbortOptions, QuitOptions, RetrOptions, StorOptions
from ftpstorm.scenario.loader import load_text


def test_a_network_stands_for_its_host_addresses_in_order_and_each_counts_once() -> None:
    assert expand_addresses(("10.0.0.9", "10.0.0.8/29")) == (
        "10.0.0.9", "10.0.0.10", "10.0.0.11", "10.0.0.12", "10.0.0.13", "10.0.0.14",
    )  # fmt: skip
    assert len(expand_addresses(("10.0.0.0/28",))) == 14
    assert expand_addresses(("10.0.0.4/31", "fd00::1/128")) == ("10.0.0.4", "10.0.0.5", "fd00::1")


@pytest.mark.parametrize("entry", ["host", "10.0.0.0/8", "fd00::/64", "10.0.0.300", "10.0.0.0/33"])
def test_what_is_no_address_and_too_many_are_refused(entry: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        expand_addresses((entry,))


def test_a_port_range_has_two_ends_in_order() -> None:
    assert parse_port_range("40000-40019") == (40_000, 40_019)
    for wrong in ("40000", "5-4", "0-9", "1-65536", "a-b"):
        with pytest.raises(ValueError, match="first-last"):
            parse_port_range(wrong)


@pytest.mark.parametrize(
    "keys",
    [
        {"data_source": "other", "source_addresses": ["127.0.0.1"]},
        {"keepalive": "500ms"},
        {"active_ports": "9-1"},
        {"bind": "port"},
    ],
)
def test_a_client_that_cannot_be_is_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Client.model_validate(keys)


def test_after_is_a_size_or_a_duration() -> None:
    by_size = AbortOptions.model_validate({"retr": "f", "after": "10KiB"})
    assert (by_size.after_bytes, by_size.after_ns) == (10_240, None)
    by_time = AbortOptions.model_validate({"stor": "1MiB", "after": "10ms"})
    assert (by_time.after_bytes, by_time.after_ns) == (0, 10_000_000)
    assert AbortOptions.model_validate("f").retr == "f"


@pytest.mark.parametrize(
    ("options", "value"),
    [
        (AbortOptions, {}),
        (AbortOptions, {"retr": "f", "stor": "1B"}),
        (AbortOptions, {"retr": "f", "after": "10"}),
        (RetrOptions, {"file": "f", "verify": "md5"}),
        (RetrOptions, {"file": "f", "close": {"with": "half"}}),
        (StorOptions, {"close": {"first": "server"}}),
        (QuitOptions, {"close": {"with": "rst"}}),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: Any, value: Any) -> None:
    with pytest.raises(ValidationError):
        options.model_validate(value)


def test_files_of_size_and_abort_must_be_there_on_the_emulator() -> None:
    text = """
        version: 1
        name: files
        target: {emulator: {}}
        flows: {f: {steps: [login, {size: bog.bin}, {abort: {retr: bog.bin}}, {abort: {stor: 1B}}, {dele: any}]}}
        files: {big.bin: 1KiB}
        load: {l: {executor: burst, sessions: 1, flow: f}}
    """
    with pytest.raises(ScenarioError) as refused:
        load_text(text, "f.yaml")
    paths = [problem.path for problem in refused.value.problems]
    assert paths == ["flows.f.steps.1.size", "flows.f.steps.2.abort.retr"]
