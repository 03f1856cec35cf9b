"""Loading: every problem of a file at once, each with place, path, value and remedy; variants and `--set` on top."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ftpstorm.errors import ExitCode, ScenarioError, UsageError
from ftpstorm.scenario.load import ConstantArrivalRate
from ftpstorm.scenario.loader import Loaded, dump_scenario, load_scenario, load_text
from ftpstorm.scenario.schema import Scenario
from ftpstorm.units import NS_PER_S, parse_rate
from ftpstorm.vocabulary import Cause

GALLERY = Path(__file__).parents[3] / "scenarios"

WHOLE = """\
version: 1
name: sample
target:
  emulator: {passive_ports: 20, hold: {for: 2s}}
flows:
  download:
    steps:
      - login
      - retr: small.bin
      - quit
files: {small.bin: 1KiB}
load:
  steady: {executor: constant-arrival-rate, rate: 97/s, duration: 20s, flow: download}
expect: {cause: server-passive-pool, failures: {passive-exhausted: "count>0"}}
variants:
  after: {set: {target.emulator.passive_ports: 1000}, expect: {cause: none}}
"""


def load(text: str = WHOLE, *overrides: str, variant: str | None = None, **environment: str) -> Loaded:
    return load_text(text, "f.yaml", overrides=overrides, variant=variant, environment=environment)


def steady(loaded: Loaded) -> ConstantArrivalRate:
    steady = loaded.scenario.load["steady"]
    assert isinstance(steady, ConstantArrivalRate)
    return steady


def errors_of(text: str, *overrides: str, variant: str | None = None) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        load(text, *overrides, variant=variant)
    assert caught.value.exit_code is ExitCode.BAD_SCENARIO
    return str(caught.value).splitlines()


def with_line(old: str, new: str) -> str:
    assert WHOLE.count(old) == 1, old
    return WHOLE.replace(old, new)


def test_a_good_file_loads_without_a_remark() -> None:
    loaded = load()
    assert loaded.warnings == ()
    assert loaded.scenario == loaded.base
    assert loaded.source == Path("f.yaml")
    assert steady(loaded).rate == parse_rate("97/s")


@pytest.mark.parametrize("file", sorted(GALLERY.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_scenario_of_the_gallery_and_each_of_its_variants_loads_without_a_remark(file: Path) -> None:
    loaded = load_scenario(file)
    assert loaded.warnings == ()
    assert loaded.scenario.name == file.stem
    for variant in loaded.base.variants:
        assert load_scenario(file, variant=variant).warnings == ()


# Each line: what is replaced, by what, and the whole message expected (line and column of the replacement's text).
WRONG: list[tuple[str, str, str]] = [
    ("version: 1", "version: 2", "f.yaml:1:10: version: must be 1 (saw 2)"),
    ("name: sample", "name: My Sample", "2:7: name: must be lower-case letters, digits and hyphens (saw My Sample)"),
    ("name: sample", "nmae: sample", "f.yaml:1:1: name: key 'name' is required; add `name:`, lower-case letters"),
    ("name: sample", "nmae: sample", "f.yaml:2:1: nmae: unknown key 'nmae'; did you mean 'name'?"),
    (
        "hold: {for: 2s}",
        "hold: {for: 2}",
        "4:45: target.emulator.hold.for: not a duration (saw 2); a number needs a unit: 2s",
    ),
    ("hold: {for: 2s}", "hold: {fro: 2s}", "4:40: target.emulator.hold.fro: unknown key 'fro'; did you mean 'for'?"),
    (
        "hold: {for: 2s}",
        "hold: {after: any-clsoe}",
        "must be any-close, server-close or none (saw any-clsoe); did you mean 'any-close'?",
    ),
    (
        "passive_ports: 20,",
        "passive_ports: ten,",
        "must be a whole number from 1 up or a range of ports such as 10000-10019",
    ),
    ("passive_ports: 20,", "passive_ports: 99999,", "target.emulator.passive_ports: at most 20000 ports (saw 99999)"),
    (
        "passive_ports: 20,",
        "backlog: true,",
        "target.emulator.backlog: must be a whole number, not true or false (saw true)",
    ),
    ("passive_ports: 20,", "backlog: 70000,", "backlog: must be a whole number from 0 to 65535 (saw 70000)"),
    ("passive_ports: 20,", "reply: busy,", "reply: must be one reply line: a code from 400 to 599, a space and a text"),
    (
        "passive_ports: 20,",
        "max_connections: {count: 5, answer: 421},",
        "answer: must be 421, eof or reset (saw 421); put it in quotes",
    ),
    (
        "target:\n",
        "target:\n  host: 127.0.0.1\n",
        "f.yaml:3:1: target: give exactly one of `emulator`, `server` and `host`",
    ),
    (
        "target:\n",
        "target: 5\nx:\n",
        "f.yaml:3:9: target: must be a mapping, not a number (saw 5); keys: emulator, server, host",
    ),
    ("- login", "- logn", "f.yaml:8:9: flows.download.steps.0: unknown step 'logn'; did you mean 'login'?"),
    ("- login", "- login: yes", "8:16: flows.download.steps.0.login: takes options as a mapping, not text (saw yes)"),
    ("- login", "- 5", "f.yaml:8:9: flows.download.steps.0: must be a step (saw 5); steps: login, retr, stor"),
    (
        "- login",
        "- noop",
        "f.yaml:8:9: flows.download.steps.0: 'noop' comes before login; begin the flow with `- login`",
    ),
    (
        "- retr: small.bin",
        "- retr: 5",
        "9:15: flows.download.steps.1.retr: must be text, and this is a number (saw 5); put",
    ),
    ("- retr: small.bin", "- retr:", "f.yaml:9:9: flows.download.steps.1.retr: needs its file; write `retr: FILE`"),
    (
        "- retr: small.bin",
        "- retr: {}",
        "9:9: flows.download.steps.1.retr.file: key 'file' is required; add `file:`, text",
    ),
    (
        "- retr: small.bin",
        "- retr: smal.bin",
        "retr: names no file that the emulator has (`files`) (saw smal.bin); did you",
    ),
    (
        "- retr: small.bin",
        "- retr: {file: smal.bin}",
        "f.yaml:9:22: flows.download.steps.1.retr.file: names no file that the emulator has",
    ),
    (
        "- retr: small.bin",
        "- repeat: {times: 2, steps: [{retr: nope}]}",
        "flows.download.steps.1.repeat.steps.0.retr: names no file",
    ),
    ("- retr: small.bin", "- {retr: a, noop: {}}", "9:9: flows.download.steps.1: a step has exactly one key"),
    ("- retr: small.bin", "- repeat: 3", "steps.1.repeat: must be a mapping, not a number (saw 3); keys: times, steps"),
    (
        "- retr: small.bin",
        "- repeat: {times: 0, steps: []}",
        "9:25: flows.download.steps.1.repeat.times: must be a whole",
    ),
    (
        "- retr: small.bin",
        "- repeat: {times: 0, steps: []}",
        "9:28: flows.download.steps.1.repeat.steps: must not be empty",
    ),
    ("- retr: small.bin", "- stor: {close: {first: server}}", "an upload ends when the client closes"),
    (
        "- quit",
        "- quit\n      - noop",
        "f.yaml:11:9: flows.download.steps.3: 'noop' comes after quit, when control is closed",
    ),
    (
        "- quit",
        "- repeat: {times: 2, steps: [quit]}",
        "flows.download.steps.2.repeat.steps.0: quit inside a repeat ends the session",
    ),
    (
        "files: {small.bin: 1KiB}",
        "files: {small.bin: 1024}",
        "11:20: files.small.bin: not a size (saw 1024); a size needs",
    ),
    (
        "files: {small.bin: 1KiB}",
        "files: [small.bin]",
        "11:1: files: must be a mapping (lines of `key: value`), not a list",
    ),
    (
        "rate: 97/s",
        "rate: 97",
        "13:51: load.steady.rate: not a rate (saw 97); a rate needs a unit of time: 97/s, or 97/min",
    ),
    ("rate: 97/s", "rate: 0/s", "load.steady.rate: must be above 0 (saw 0/s)"),
    ("rate: 97/s, ", "", "13:3: load.steady.rate: key 'rate' is required; add `rate:`, a rate such as 97/s"),
    (
        "rate: 97/s",
        "rate: 97/s, max_session: 5",
        "load.steady.max_session: unknown key 'max_session'; did you mean 'max_sessions'?",
    ),
    (
        "rate: 97/s",
        "rate: 97/s, iterations: 5",
        "unknown key 'iterations'; it belongs to shared-iterations; keys here: flow",
    ),
    (
        "executor: constant-arrival-rate",
        "executor: constant-arival-rate",
        "13:22: load.steady.executor: unknown executor (saw constant-arival-rate); did you mean 'constant-arrival",
    ),
    (
        "executor: constant-arrival-rate, ",
        "",
        "13:3: load.steady: key 'executor' is required; add `executor:`, one of burst",
    ),
    ("flow: download}", "flow: downlod}", "load.steady.flow: names no flow (saw downlod); did you mean 'download'?"),
    (
        "cause: server-passive-pool",
        "cause: server-pasive-pool",
        "expect.cause: is none of the words known here (saw server-pasive",
    ),
    (
        'passive-exhausted: "count>0"',
        'passive-exhausd: "count>0"',
        "expect.failures.passive-exhausd: 'passive-exhausd' is no failure class; did you mean 'passive-exhausted'?",
    ),
    (
        '"count>0"',
        '"rate>0"',
        "passive-exhausted: a condition on failures is on `count` (saw rate>0); write one such as",
    ),
    ('"count>0"', '"count=0"', "passive-exhausted: 'count=0' is no condition (saw count=0); write one such as"),
    ("files: ", "client: {source_addresses: 127.0.0.1}\nfiles: ", "client.source_addresses: must be a list, not text"),
    (
        "files: ",
        "client: {source_addresses: [localhost]}\nfiles: ",
        "source_addresses.0: must be an IP address of this host",
    ),
    ("files: ", "client: {bind: port}\nfiles: ", "f.yaml:11:1: client: `bind: port` needs `source_addresses`"),
    ("files: ", "sampling: {every: 1ms}\nfiles: ", "sampling.every: must be at least 10ms (saw 1ms)"),
    ("files: ", "seed: -1\nfiles: ", "seed: must be a whole number from 0 up (saw -1)"),
    ("files: ", "description: 5\nfiles: ", "description: must be text, and this is a number (saw 5); put it in quotes"),
    (
        "files: ",
        "thresholds: {data_conect: p(99)<5ms}\nfiles: ",
        "'data_conect' is no metric; did you mean 'data_connect'?",
    ),
    ("files: ", "thresholds: {data_connect: p(101)<5ms}\nfiles: ", "between 0 and 100 (saw p(101)<5ms)"),
    (
        "files: ",
        "thresholds: {data_connect: 5}\nfiles: ",
        "thresholds.data_connect: must be a list, not a number (saw 5)",
    ),
    (
        "files: ",
        'thresholds: {"data_connect{load:stedy}": p(99)<5ms}\nfiles: ',
        "tag load:stedy names none of the loads; did you mean 'steady'?",
    ),
    (
        "files: ",
        'thresholds: {"failures{class:passive-exhausd}": count==0}\nfiles: ',
        "tag class:passive-exhausd names none of the failure classes; did you mean 'passive-exhausted'?",
    ),
    (
        "      - quit",
        "      - quit\n    on_failure: contineu",
        "flows.download.on_failure: must be 'continue' or 'end-session' or a mapping with `retry` (saw contineu); "
        "did you mean 'continue'?",
    ),
    (
        "      - quit",
        "      - quit\n    on_failure: {retry: {times: 0}}",
        "flows.download.on_failure.retry.times: must be a whole number from 1 to 255 (saw 0)",
    ),
    (
        "      - quit",
        "      - quit\n    on_failure: {retry: {times: 256}}",
        "flows.download.on_failure.retry.times: must be a whole number from 1 to 255 (saw 256)",
    ),
    (
        "      - quit",
        "      - quit\n    on_failure: {retry: {on: [42, soon]}}",
        "flows.download.on_failure.retry.on.1: must be a whole number from 400 to 599 or 'any' (saw soon)",
    ),
    (
        "      - quit",
        "      - quit\n    on_failure: {retry: {wait: 9s..2s}}",
        "flows.download.on_failure.retry.wait: the first pause is longer than the last (saw 9s..2s)",
    ),
    (
        "      - quit",
        "      - quit\n    on_failure: {rety: {}}",
        "flows.download.on_failure.rety: unknown key 'rety'; did you mean 'retry'?",
    ),
    (
        "target.emulator.passive_ports: 1000",
        "target.emulator.pasive_ports: 1000",
        "16:17: variants.after.set.target.emulator.pasive_ports: unknown key 'pasive_ports'; did you mean 'passive",
    ),
    (
        "target.emulator.passive_ports: 1000",
        "target.emulator.passive_ports: many",
        "16:48: variants.after.set.target.emulator.passive_ports: must be a whole number from 1 up or a range",
    ),
    (
        "target.emulator.passive_ports: 1000",
        "load.stedy.rate: 5/s",
        "16:17: variants.after.set.load.stedy.rate: `load` has no 'stedy'; did you mean 'steady'?",
    ),
    (
        "target.emulator.passive_ports: 1000",
        "target.host: example.org",
        "16:3: variants.after: with this variant target: give exactly one of `emulator`, `server` and `host`",
    ),
    (
        "expect: {cause: none}",
        "expect: {cause: nothing}",
        "variants.after.expect.cause: must be none, client-ephemeral",
    ),
    (
        "expect: {cause: none}",
        "expct: {cause: none}",
        "variants.after.expct: unknown key 'expct'; did you mean 'expect'?",
    ),
]


@pytest.mark.parametrize(("old", "new", "expected"), WRONG, ids=[f"{old}=>{new}" for old, new, _ in WRONG])
def test_a_wrong_file_is_told_where_what_and_what_to_do(old: str, new: str, expected: str) -> None:
    found = errors_of(with_line(old, new))
    assert any(expected in line for line in found), found


@pytest.mark.parametrize(
    ("old", "new"), [(old, new) for old, new, _ in WRONG], ids=[f"{old}=>{new}" for old, new, _ in WRONG]
)
def test_no_message_shows_the_machinery_behind_it(old: str, new: str) -> None:
    text = "\n".join(errors_of(with_line(old, new)))
    for word in (
        "Input",
        "Value error",
        "literal[",
        "function-",
        "constrained",
        "Options",
        "pydantic",
        "tuple",
        "dict",
    ):
        assert word not in text


def test_all_problems_of_a_file_come_at_once_and_in_its_order() -> None:
    text = WHOLE
    for old, new in (
        ("name: sample", "name: My Sample"),
        ("hold: {for: 2s}", "hold: {for: 2}"),
        ("- login", "- login\n      - retr: nope"),
        ("executor: constant-arrival-rate, rate: 97/s", "executor: constant-arival-rate, rate: 97"),
        ("flow: download}", "flow: downlod}\n  steady: {}"),
        ("target.emulator.passive_ports: 1000", "load.stedy.rate: 5/s"),
    ):
        text = text.replace(old, new)
    lines = [line.split(": ")[0] for line in errors_of(text)]
    assert lines == [
        "f.yaml:2:7",
        "f.yaml:4:45",
        "f.yaml:9:15",
        "f.yaml:14:22",
        "f.yaml:14:50",
        "f.yaml:14:75",
        "f.yaml:15:3",
        "f.yaml:18:17",
    ]


@pytest.mark.parametrize(
    "text",
    [
        with_line("target:\n", "target:\n  password: hunter2\n"),
        with_line("target:\n", "target:\n  pasword: hunter2\n"),
        with_line("target:\n", "password: hunter2\ntarget:\n"),
        with_line("emulator: {passive_ports: 20, hold: {for: 2s}}", "host: ftp://user:hunter2@example.org/"),
    ],
)
def test_a_password_in_a_file_is_refused_and_never_repeated(text: str) -> None:
    found = "\n".join(errors_of(text))
    assert "hunter2" not in found
    assert "password_env" in found


def test_a_password_on_the_command_line_is_refused_and_never_repeated() -> None:
    found = "\n".join(errors_of(WHOLE, "target.password=hunter2"))
    assert found.startswith("--set target.password=***: target.password: key 'password' is not allowed")
    assert "hunter2" not in found


def test_a_file_that_is_not_there_or_no_text_is_a_scenario_error(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"absent\.yaml: cannot be read: No such file"):
        load_scenario(tmp_path / "absent.yaml")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"version: \xff\xfe")
    with pytest.raises(ScenarioError, match="not UTF-8 text"):
        load_scenario(binary)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "f.yaml: the file is empty; ftpstorm init writes a file to start from"),
        ("null", "f.yaml: the file holds no scenario, only null"),
        ("[1]", "f.yaml:1:1: must be a mapping, not a list; keys: version, name"),
        ("text", "f.yaml:1:1: must be a mapping, not text (saw text)"),
    ],
)
def test_a_file_that_is_no_mapping_is_told_so(text: str, expected: str) -> None:
    assert errors_of(text)[0].startswith(expected)


def test_a_missing_variable_is_one_problem_and_hides_no_other() -> None:
    text = with_line("rate: 97/s", "rate: '${RATE}'").replace("duration: 20s", "duration: 20")
    assert [line.split(": ", 2)[1] for line in errors_of(text)] == ["load.steady.rate", "load.steady.duration"]


def test_variables_come_from_the_process_unless_given(monkeypatch: pytest.MonkeyPatch) -> None:
    text = with_line("rate: 97/s", "rate: '${FTPSTORM_TEST_RATE}'")
    monkeypatch.setenv("FTPSTORM_TEST_RATE", "5/s")
    assert steady(load_text(text, "f.yaml")).rate == parse_rate("5/s")
    assert steady(load(text, FTPSTORM_TEST_RATE="7/s")).rate == parse_rate("7/s")


def test_a_variant_changes_its_keys_and_the_expectation() -> None:
    loaded = load(variant="after")
    assert loaded.variant == "after"
    assert loaded.scenario.target.emulator is not None
    assert loaded.scenario.target.emulator.passive_ports == 1000
    assert loaded.scenario.target.emulator.hold.for_ == 2 * NS_PER_S
    assert loaded.scenario.expect is not None
    assert loaded.scenario.expect.cause is Cause.NONE
    assert loaded.scenario.expect.failures == {}
    assert loaded.base.target.emulator is not None
    assert loaded.base.target.emulator.passive_ports == 20


def test_an_unknown_variant_is_a_usage_error_that_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"f\.yaml has no variant 'aftr'; did you mean 'after'\?"):
        load(variant="aftr")


def test_the_command_line_wins_over_the_variant() -> None:
    loaded = load(WHOLE, "target.emulator.passive_ports=30", variant="after")
    assert loaded.scenario.target.emulator is not None
    assert loaded.scenario.target.emulator.passive_ports == 30


def test_a_variant_that_a_setting_made_impossible_is_left_out_with_a_remark() -> None:
    loaded = load(WHOLE, "target={host: 127.0.0.1}", "expect=null")
    assert loaded.scenario.variants == {}
    assert "after" in loaded.base.variants
    assert [warning.path for warning in loaded.warnings] == ["variants.after"]
    assert load(dump_scenario(loaded.scenario)).scenario == loaded.scenario


def test_the_effective_scenario_reads_back_from_its_dump() -> None:
    for loaded in (load(), load(variant="after"), load(WHOLE, "flows.download.steps.1.retr.close.first=client")):
        again = load(dump_scenario(loaded.scenario))
        assert again.scenario == loaded.scenario
        assert dump_scenario(again.scenario) == dump_scenario(loaded.scenario)


EVERYTHING = """\
version: 1
name: everything
description: "a: #b 'c' \\" ünï ${NAME:-x} $${LITERAL} \\t\\u0001"
imitates: "421"
cannot_show: "yes"
target: {host: 127.0.0.1, port: 2121, user: "null", password_env: FTP_PASSWORD, passive_ports: 10000-10019}
client:
  mode: pasv
  bind: port
  source_addresses: [127.0.0.2, "::1"]
  timeouts: {connect: 1m30s, greeting: 250ms, reply: 1ns, data: 2h}
flows:
  all:
    steps:
      - login
      - retr: {file: "5", mode: epsv, close: {first: client, with: rst}}
      - stor: 4KiB
      - stor: {file: "up-{session}.bin", size: 1B}
      - list
      - nlst: pub
      - mlsd:
      - pasv-only: {mode: auto}
      - cwd: /pub
      - noop
      - think: 5ms
      - repeat: {times: 2, steps: [{retr: a}, {repeat: {times: 3, steps: [noop]}}]}
      - quit
    on_failure: {retry: {on: [425, any], times: 2, wait: 2s..30s}}
  idle: {steps: [think: 1s], on_failure: {retry: {wait: 5s}}}
load:
  a: {executor: burst, sessions: 5, over: 1s, every: 2s, times: 3, flow: all}
  b: {executor: constant-arrival-rate, rate: 0.7/min, duration: 20s, flow: all}
  c: {executor: constant-sessions, sessions: 5, duration: 20s, flow: idle}
  d: {executor: shared-iterations, sessions: 5, iterations: 7, flow: idle, start_time: 1s}
guard: {max_sessions: 5, max_rate: 10/h, stop_after: 1d}
stop: {unreachable_sessions: 3}
expect: {cause: none, failures: {any: count==0}}
thresholds: {"data_connect{load:a}": [p(99)<5ms, count>0], session: avg<1s}
variants:
  x: {set: {load.a.sessions: 7, guard: null, "flows.all.steps.1.retr.file": b}, description: more}
seed: 7
"""


def test_every_feature_of_the_schema_survives_dump_and_load() -> None:
    loaded = load(EVERYTHING)
    assert loaded.scenario.description == "a: #b 'c' \" ünï x ${LITERAL} \t\x01"
    assert load(dump_scenario(loaded.scenario)).scenario == loaded.scenario
    changed = load(EVERYTHING, variant="x")
    assert changed.scenario.guard is None
    assert load(dump_scenario(changed.scenario)).scenario == changed.scenario


@settings(max_examples=40)
@given(st.text(max_size=40), st.text(min_size=1, max_size=20))
@example("two\nlines\n", "\x85")
@example("\u2028 \ufeff", " # ")
@example("${HOME}", "$${HOME}")
@example("null", "0o17")
def test_any_text_survives_dump_and_load(description: str, path: str) -> None:
    value: dict[str, Any] = load().scenario.model_dump(mode="json", by_alias=True)
    value["description"] = description
    value["flows"]["download"]["steps"].insert(1, {"cwd": {"path": path}})
    value["variants"]["after"]["set"]["description"] = path
    scenario = Scenario.model_validate(value)
    assert load(dump_scenario(scenario)).scenario == scenario
