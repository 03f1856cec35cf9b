"""Error locations of the schema, as the user's own key paths."""

from __future__ import annotations

from typing import Any

import pytest

from ftpstorm.scenario.document import KeyPath
from ftpstorm.scenario.flow import OnFailure, RetrOptions, Step
from ftpstorm.scenario.load import Burst, ConstantArrivalRate
from ftpstorm.scenario.schema import Scenario
from ftpstorm.scenario.shapes import MISSING, child, choices, keys_of, locate, model_at, tagged_models
from ftpstorm.scenario.target import Target
from ftpstorm.scenario.wording import PATTERN_WORDS

VALUE: dict[str, Any] = {
    "target": {"emulator": {"passive_ports": "x"}},
    "flows": {
        "a": {"steps": ["logn", {"retr": 5}, {"retr": {"file": 5}}], "on_failure": {"retry": {"on": [1]}}},
    },
    "load": {"burst": {"executor": "burst", "burst": 1}},
    "thresholds": {"x": "y"},
}


@pytest.mark.parametrize(
    ("location", "path"),
    [
        (("name",), ("name",)),
        (("target", "emulator", "passive_ports", "constrained-int"), ("target", "emulator", "passive_ports")),
        (("flows", "a", "steps", 0, "logn"), ("flows", "a", "steps", 0)),
        (("flows", "a", "steps", 1, "retr", "file"), ("flows", "a", "steps", 1, "retr")),
        (("flows", "a", "steps", 2, "retr", "file"), ("flows", "a", "steps", 2, "retr", "file")),
        (
            ("flows", "a", "on_failure", "OnFailure", "retry", "on", 0, "literal['any']"),
            ("flows", "a", "on_failure", "retry", "on", 0),
        ),
        (("load", "burst", "burst", "sessions"), ("load", "burst", "sessions")),
        (("load", "burst", "burst", "burst"), ("load", "burst", "burst")),
        (("thresholds", "x", "[key]"), ("thresholds", "x")),
        (("thresholds", "x", 0), ("thresholds", "x")),
    ],
)
def test_tags_and_shorthand_fields_vanish_from_a_location(location: tuple[str | int, ...], path: KeyPath) -> None:
    assert locate(location, Scenario, VALUE).path == path


def test_a_location_knows_the_union_it_passed_and_whether_it_is_about_a_key() -> None:
    passed = locate(("flows", "a", "on_failure", "OnFailure", "retry"), Scenario, VALUE)
    assert passed.union == (("flows", "a", "on_failure"), "OnFailure")
    assert locate(("thresholds", "x", "[key]"), Scenario, VALUE).about_key
    assert not locate(("thresholds", "x", 0), Scenario, VALUE).about_key


def test_keys_are_spelled_as_users_write_them() -> None:
    assert {"pasv-only", "retr"} <= set(keys_of(Step))
    assert "pasv_only" not in keys_of(Step)


def test_a_tagged_union_is_told_apart_by_its_executor() -> None:
    load = child(keys_of(Scenario)["load"], {}, "any-name")
    assert tagged_models(load)["constant-arrival-rate"] is ConstantArrivalRate
    assert model_at(load, {"executor": "burst"}) is Burst
    assert model_at(load, {"executor": "bust"}) is None


def test_the_type_at_a_place_is_found_through_optional_and_union() -> None:
    flow = child(keys_of(Scenario)["flows"], {}, "a")
    assert model_at(child(flow, {}, "on_failure"), {}) is OnFailure
    assert choices(child(flow, {}, "on_failure")) == ("continue", "end-session")
    step = child(child(flow, {}, "steps"), [], 0)
    assert model_at(child(step, {}, "retr"), "small.bin") is RetrOptions
    assert child(keys_of(Scenario)["target"], {}, "hots") is MISSING
    assert model_at(keys_of(Scenario)["target"], {}) is Target


def test_every_text_pattern_of_the_schema_has_plain_words() -> None:
    patterns: set[str] = set()

    def collect(schema: Any) -> None:
        if isinstance(schema, dict):
            if schema.get("type") == "string" and "pattern" in schema and "examples" not in schema:
                patterns.add(schema["pattern"])
            for part in schema.values():
                collect(part)
        elif isinstance(schema, list):
            for part in schema:
                collect(part)

    collect(Scenario.model_json_schema())
    assert patterns == set(PATTERN_WORDS)
