"""`--set a.b=c`: which place a dotted key means, and what it is told when it means none."""

from __future__ import annotations

from typing import Any

import pytest

from ftpstorm.errors import ScenarioError
from ftpstorm.scenario.document import read_document
from ftpstorm.scenario.loader import load_text
from ftpstorm.scenario.overrides import assign, parse_override, split_keys

TEXT = """\
version: 1
name: sample
target: {emulator: {passive_ports: 20}}
flows:
  download:
    steps: [login, {retr: small.bin}, list, quit]
    on_failure: continue
files: {small.bin: 1KiB}
load:
  steady: {executor: constant-arrival-rate, rate: 97/s, duration: 20s, flow: download}
thresholds: {session: p(99)<1s}
"""


def after(*settings: str) -> dict[str, Any]:
    loaded = load_text(TEXT, "f.yaml", overrides=settings, environment={"NAME": "from-environment"})
    value: dict[str, Any] = loaded.scenario.model_dump(mode="json", by_alias=True)
    return value


def errors_after(*settings: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        load_text(TEXT, "f.yaml", overrides=settings, environment={})
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("dotted", "keys"),
    [
        ("a", ("a",)),
        ("a.b.c", ("a", "b", "c")),
        ('files."big file.bin"', ("files", "big file.bin")),
        ("a.'b.c'.d", ("a", "b.c", "d")),
    ],
)
def test_dots_part_keys_outside_quotes(dotted: str, keys: tuple[str, ...]) -> None:
    assert split_keys(dotted) == keys


@pytest.mark.parametrize("dotted", ["", "a..b", ".a", "a.", "a.'b"])
def test_an_empty_key_or_an_open_quote_is_refused(dotted: str) -> None:
    with pytest.raises(ValueError, match=r"empty key|closing"):
        split_keys(dotted)


def test_a_value_is_read_as_yaml() -> None:
    assert after("load.steady.rate=5/s")["load"]["steady"]["rate"] == "5/s"
    assert after("load.steady.max_sessions=7")["load"]["steady"]["max_sessions"] == 7
    assert after("description='5'")["description"] == "5"
    assert after("description=a=b=c")["description"] == "a=b=c"
    assert after("description=${NAME}")["description"] == "from-environment"
    assert after("client.timeouts={connect: 1s, data: 3s}")["client"]["timeouts"]["data"] == "3s"
    assert after("target.emulator.accept_rate=")["target"]["emulator"]["accept_rate"] is None


def test_mappings_that_the_file_leaves_out_are_made() -> None:
    assert after("client.timeouts.connect=1s")["client"]["timeouts"]["connect"] == "1s"
    assert after("target.emulator.hold.for=3s")["target"]["emulator"]["hold"]["for"] == "3s"
    assert after("expect.failures.any=count==0")["expect"]["failures"] == {"any": "count==0"}


def test_a_list_is_walked_by_index_and_shorthands_open_up() -> None:
    steps = after("flows.download.steps.1.retr.close.first=client")["flows"]["download"]["steps"]
    assert steps[1]["retr"]["file"] == "small.bin"
    assert steps[1]["retr"]["close"]["first"] == "client"
    assert after("flows.download.steps.2.list.path=pub")["flows"]["download"]["steps"][2]["list"]["path"] == "pub"
    assert after("flows.download.steps.2=noop")["flows"]["download"]["steps"][2] == {"noop": {}}


def test_a_word_gives_way_to_the_mapping_that_may_stand_in_its_place() -> None:
    assert after("flows.download.on_failure.retry.times=5")["flows"]["download"]["on_failure"]["retry"]["times"] == 5


def test_keys_with_dots_of_their_own_are_found() -> None:
    assert after("files.small.bin=4KiB")["files"] == {"small.bin": "4096B"}
    assert after("files.big.file.bin=1B")["files"] == {"small.bin": "1024B", "big.file.bin": "1B"}
    assert after('thresholds."data_connect{load:steady}"=p(99)<5ms')["thresholds"]["data_connect{load:steady}"] == [
        "p(99)<5ms"
    ]


def test_a_new_load_can_be_given_whole() -> None:
    load = after("load.extra={executor: burst, sessions: 5, flow: download}")["load"]
    assert list(load) == ["steady", "extra"]


def test_later_settings_win() -> None:
    assert after("seed=1", "seed=2")["seed"] == 2


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (
            "load.steady.rate=5",
            "--set load.steady.rate=5: load.steady.rate: not a rate (saw 5); a rate needs a unit of time",
        ),
        ("laod.steady.rate=5/s", "--set laod.steady.rate=5/s: laod: unknown key 'laod'; did you mean 'load'?"),
        (
            "load.stedy.rate=5/s",
            "--set load.stedy.rate=5/s: load.stedy.rate: `load` has no 'stedy'; did you mean 'steady'?",
        ),
        ("load.steady.rat=5/s", "load.steady.rat: unknown key 'rat'; did you mean 'rate'?"),
        ("load.steady.flow=nope", "--set load.steady.flow=nope: load.steady.flow: names no flow (saw nope)"),
        ("flows.download.steps.9.retr=a", "`flows.download.steps` is a list and has no item '9'; items: 0 to 3"),
        ("flows.download.steps.one=a", "`flows.download.steps` is a list and has no item 'one'"),
        ("flows.download.steps.0.login.x=1", "flows.download.steps.0.login.x: unknown key 'x'"),
        ("name.x=1", "`name` is a single value, it has no key 'x'"),
        ("seed", "--set seed: has no value; write seed=VALUE"),
        ("=5", "--set =5: an empty key; write a dotted key and a value"),
        ("seed=[1", "--set seed=[1: seed: YAML syntax"),
        ("description=${NONE}", "--set description=${NONE}: description: environment variable NONE is not set"),
        ("version=null", "--set version=null: version: must be 1"),
    ],
)
def test_a_setting_that_cannot_be_is_named_as_the_place(setting: str, expected: str) -> None:
    found = errors_after(setting)
    assert any(expected in line for line in found), found
    assert not any(line.startswith("f.yaml") for line in found)


def test_all_settings_that_cannot_be_applied_are_told_at_once() -> None:
    assert len(errors_after("load.stedy.rate=5/s", "seed", "name.x=1")) == 3


def test_assigning_leaves_no_place_of_the_old_value_behind() -> None:
    document, _ = read_document("target: {emulator: {hold: {for: 2s}}}\n", {})
    override, problems = parse_override("target.emulator={}", {})
    assert problems == []
    assert override is not None
    assign(document, override.keys, override.value)
    assert document.value == {"target": {"emulator": {}}}
    assert ("target", "emulator", "hold") not in document.keys
    assert document.place(("target", "emulator", "hold")).origin == "--set target.emulator={}"
