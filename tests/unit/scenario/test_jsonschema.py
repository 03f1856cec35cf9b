"""The JSON Schema that editors get agrees with the loader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ftpstorm.errors import ScenarioError
from ftpstorm.scenario.document import read_document
from ftpstorm.scenario.jsonschema import scenario_json_schema
from ftpstorm.scenario.loader import dump_scenario, load_text
from ftpstorm.scenario.starter import starter_scenario

GALLERY = Path(__file__).parents[3] / "scenarios"

EVERY_FORM = """\
version: 1
name: forms
target: {emulator: {passive_ports: "${PORTS}", max_connections: {count: 5}, accept_rate: 5/s}}
flows:
  all:
    steps:
      - login
      - login:
      - retr: a.bin
      - retr: {file: a.bin, mode: epsv, close: {first: client, with: rst}}
      - stor
      - stor:
      - stor: 1KiB
      - list
      - list: pub
      - mlsd: {path: pub}
      - pasv-only: {mode: pasv}
      - cwd: pub
      - noop
      - think: 5ms
      - repeat: {times: 2, steps: [noop, {retr: a.bin}]}
      - quit
    on_failure: {retry: {on: [425, any], wait: 2s..30s}}
files: {a.bin: 1.5KiB}
load:
  a: {executor: burst, sessions: 5, flow: all}
  b: {executor: shared-iterations, sessions: 5, iterations: 6, flow: all}
guard: null
lab:
  topology: pair
  time_wait: 2s
  sysctls: {server: {somaxconn: 4096, tcp_syncookies: false}, client: {tcp_tw_reuse: "0"}}
thresholds: {session: p(99)<1s, "transfers{load:a}": [count>0]}
"""


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = scenario_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def errors(validator: Any, text: str) -> list[str]:
    as_written = read_document(text, {"PORTS": "${PORTS}"})[0].value
    return [error.message for error in validator.iter_errors(as_written)]


@pytest.mark.parametrize("file", sorted(GALLERY.glob("*.yaml")), ids=lambda file: file.stem)
def test_the_gallery_and_its_dumps_are_valid(validator: Any, file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert errors(validator, text) == []
    assert errors(validator, dump_scenario(load_text(text, file.name).scenario)) == []


def test_the_starter_and_every_shorthand_are_valid(validator: Any) -> None:
    for text in (starter_scenario("first"), EVERY_FORM):
        load_text(text, "f.yaml", environment={"PORTS": "5"})
        assert errors(validator, text) == []


def test_a_variable_is_admitted_where_only_its_value_can_be_checked(validator: Any) -> None:
    assert 'passive_ports: "${PORTS}"' in EVERY_FORM
    assert errors(validator, EVERY_FORM) == []
    assert errors(validator, EVERY_FORM.replace("${PORTS}", "PORTS"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version: 1", "version: 2"),
        ("name: forms", "nmae: forms"),
        ("accept_rate: 5/s", "accept_rate: 5"),
        ("count: 5", "count: 0"),
        ("think: 5ms", "think: 5"),
        ("- cwd: pub", "- cwd:"),
        ("- cwd: pub", "- cwd"),
        ("- cwd: pub", "- {cwd: a, noop: {}}"),
        ("- cwd: pub", "- chdir: pub"),
        ("mode: epsv", "mode: epsw"),
        ("executor: burst, sessions: 5", "executor: burst"),
        ("executor: burst", "executor: bust"),
        ("thresholds: {session:", "thresholds: {sesion:"),
        ("guard: null", "expect: {failures: {passive-exhausd: count>0}}"),
        ("guard: null", "password: x"),
    ],
)
def test_what_the_loader_refuses_by_shape_the_schema_refuses(validator: Any, old: str, new: str) -> None:
    assert EVERY_FORM.count(old) == 1
    text = EVERY_FORM.replace(old, new)
    with pytest.raises(ScenarioError):
        load_text(text, "f.yaml", environment={"PORTS": "5"})
    assert errors(validator, text)


def test_keys_carry_their_meaning_for_the_editor() -> None:
    schema = scenario_json_schema()
    emulator = schema["$defs"]["Emulator"]["properties"]
    assert emulator["reply"]["description"].startswith("Whole reply line when no passive port is free")
    assert schema["$defs"]["RetrOptions"]["description"] == "Download a file and discard it."
