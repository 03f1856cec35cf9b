"""Executors, mixes, traces, accounts and variables in a scenario file: what is taken, and how a mistake is told."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.errors import ScenarioError
from ftpstorm.scenario.load import Replay
from ftpstorm.scenario.loader import Loaded, dump_scenario, load_scenario, load_text
from ftpstorm.scenario.trace import parse_trace
from ftpstorm.units import NS_PER_S

STAGES = [{"duration": "5s", "target": "10/s"}, {"duration": "0s", "target": "0/s"}]
LOADS: dict[str, dict[str, Any]] = {
    "ramp": {"executor": "ramping-arrival-rate", "start_rate": "2/s", "stages": STAGES},
    "poisson": {"executor": "poisson-arrival-rate", "rate": "2/s", "duration": "5s"},
    "users": {"executor": "ramping-sessions", "start_sessions": 1, "stages": [{"duration": "5s", "target": 3}]},
    "held": {"executor": "hold", "sessions": 3, "over": "1s", "duration": "5s", "noop_every": "2s"},
    "probe": {"executor": "probe-until-success", "every": "2s"},
    "again": {"executor": "replay", "trace": "0\n1.5,up\n"},
}


def document(loads: dict[str, Any], **keys: Any) -> dict[str, Any]:
    flows = {"down": {"steps": ["login", {"retr": "a.bin"}, "quit"]}, "up": {"steps": ["login", {"stor": "1KiB"}]}}
    return {
        "version": 1, "name": "x", "target": {"emulator": {}}, "files": {"a.bin": "1KiB", "b.bin": "1KiB"},
        "flows": flows, "load": {name: {"flow": {"down": 2, "up": 1}, **load} for name, load in loads.items()},
    } | keys  # fmt: skip


def load(loads: dict[str, Any], **keys: Any) -> Loaded:
    return load_text(json.dumps(document(loads, **keys), indent=1), "f.yaml")


def errors_of(loads: dict[str, Any], **keys: Any) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        load(loads, **keys)
    return [f"{problem.path}: {problem.message}; {problem.hint}" for problem in caught.value.problems]


def test_every_executor_loads_and_survives_its_own_dump() -> None:
    steps = ["login", {"retr": ["a.bin", "b.bin"]}, {"stor": ["1KiB", "2KiB"]}, {"stor": {"file": ["{team}", "x"]}}]
    flows = {"down": {"steps": steps}, "up": {"steps": ["login", {"appe": {"size": ["3B"]}}]}}
    loaded = load(LOADS, flows=flows, vars={"region": ["eu", "us"], "team": "red"}, seed=7)
    assert not loaded.warnings
    assert load_text(dump_scenario(loaded.scenario), "g.yaml").scenario == loaded.scenario


@pytest.mark.parametrize(
    ("changes", "path", "said"),
    [
        ({"executor": "ramping-arrival-rate", "stages": []}, "load.l.stages", "must not be empty"),
        ({"executor": "ramping-arrival-rate", "stages": [STAGES[1]]}, "load.l.stages", "longer than 0s"),
        (
            {"executor": "ramping-arrival-rate", "stages": [{"duration": "5s", "target": "0/s"}]},
            "load.l",
            "no session would start",
        ),
        (
            {"executor": "ramping-sessions", "stages": [{"duration": "5s", "target": 0}]},
            "load.l",
            "no session would start",
        ),
        ({"executor": "ramping-arrival-rat", "stages": STAGES}, "load.l.executor", "did you mean"),
        ({"executor": "hold", "sessions": 1, "duration": "1s", "noop_every": "1ms"}, "load.l.noop_every", "100ms"),
        ({"executor": "replay"}, "load.l", "needs `file` or `trace`"),
        ({"executor": "replay", "trace": "0\nnow\n"}, "load.l.trace", "line 2 of the trace: 'now'"),
        ({"executor": "replay", "trace": "0,dwon\n"}, "load.l.trace", "names no flow: 'dwon'; did you mean 'down'?"),
        ({"executor": "replay", "file": "nowhere.csv"}, "load.l.file", "cannot be read"),
        ({**LOADS["poisson"], "flow": {"down": 1, "upp": 1}}, "load.l.flow.upp", "names no flow; did you mean 'up'?"),
        ({**LOADS["poisson"], "flow": {"down": 0}}, "load.l.flow.down", "from 1 to 1000000"),
        ({**LOADS["poisson"], "flow": 5}, "load.l.flow", "must be text"),
        ({**LOADS["poisson"], "flow": {}}, "load.l.flow", "must not be empty"),
    ],
)
def test_a_mistake_in_a_load_is_told_at_its_place(changes: dict[str, Any], path: str, said: str) -> None:
    [found] = errors_of({"l": changes})
    assert found.startswith(f"{path}: ")
    assert said in found


ENDLESS: dict[str, dict[str, Any]] = {
    "duration": {"executor": "constant-arrival-rate", "rate": "2/s"},
    "duration ": {"executor": "poisson-arrival-rate", "rate": "2/s"},
    "duration  ": {"executor": "constant-sessions", "sessions": 2},
    "max_duration": {"executor": "shared-iterations", "sessions": 2, "iterations": 9},
    "max_duration ": {"executor": "probe-until-success"},
}


@pytest.mark.parametrize(("key", "executor"), [(key.strip(), load) for key, load in ENDLESS.items()])
@pytest.mark.parametrize("zero", ["0s", "0ms", "0m0s"])
def test_a_load_that_lasts_no_time_is_refused_at_its_place(key: str, executor: dict[str, Any], zero: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        load({"l": executor | {key: zero}})
    (line,) = str(caught.value).splitlines()
    told = f"load.l.{key}: must be longer than 0s, or nothing starts (saw {zero}); such as 20s"
    assert re.fullmatch(rf"f\.yaml:\d+:\d+: {re.escape(told)}", line)


def test_no_time_is_refused_where_the_whole_run_would_have_none() -> None:
    steady = {"l": LOADS["poisson"]}
    assert errors_of(steady, stop={"max_duration": "0s"})[0].startswith("stop.max_duration: must be longer than 0s")
    guard = {"max_sessions": 5, "max_rate": "5/s", "stop_after": "0s"}
    assert errors_of(steady, guard=guard)[0].startswith("guard.stop_after: must be longer than 0s")


@pytest.mark.parametrize(
    "starting",
    [
        {"executor": "burst", "sessions": 3, "over": "0s", "start_time": "0s", "graceful_stop": "0s"},
        {"executor": "hold", "sessions": 3, "over": "0s", "duration": "0s"},
        {"executor": "ramping-arrival-rate", "stages": STAGES},
    ],
)
def test_no_time_is_fine_where_sessions_start_all_the_same(starting: dict[str, Any]) -> None:
    assert load({"l": starting}).scenario.load["l"].executor == starting["executor"]


@pytest.mark.parametrize(
    ("step", "path", "said"),
    [
        ({"retr": ["a.bin", "c.bin"]}, "flows.f.steps.1.retr.1", "names no file"),
        ({"retr": {"file": ["a.bin", 5]}}, "flows.f.steps.1.retr.file.1", "must be text"),
        ({"retr": []}, "flows.f.steps.1.retr", "must not be empty"),
        ({"stor": {"file": "{sesion}"}}, "flows.f.steps.1.stor.file", "did you mean 'session'?"),
        ({"list": "/{regoin}"}, "flows.f.steps.1.list", "did you mean 'region'?"),
        ({"stor": {"size": ["1KiB", 7]}}, "flows.f.steps.1.stor.size.1", "not a size"),
    ],
)
def test_a_mistake_in_a_list_or_a_variable_is_told_at_its_place(step: dict[str, Any], path: str, said: str) -> None:
    flows = {"f": {"steps": ["login", step, "quit"]}}
    [found] = errors_of({"l": {**LOADS["poisson"], "flow": "f"}}, flows=flows, vars={"region": "eu"})
    assert found.startswith(f"{path}: ")
    assert said in found


@pytest.mark.parametrize(("name", "said"), [("session", "every scenario has"), ("Big", "lower-case letters")])
def test_a_variable_needs_a_name_of_its_own(name: str, said: str) -> None:
    [found] = errors_of({"l": LOADS["poisson"]}, vars={name: "x"})
    assert said in found


def test_a_file_name_with_variables_need_not_be_listed() -> None:
    flows = {"f": {"steps": ["login", {"retr": "{region}.bin"}, "quit"]}}
    load({"l": {**LOADS["poisson"], "flow": "f"}}, flows=flows, vars={"region": ["a", "b"]})


def test_a_replay_file_is_found_beside_the_scenario_and_kept_in_it(tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_text("time,flow\n0.5,up\n0.25\n")
    path = tmp_path / "s.yaml"
    path.write_text(json.dumps(document({"l": {"executor": "replay", "file": "trace.csv"}})))
    scenario = load_scenario(path).scenario
    (tmp_path / "trace.csv").unlink()
    again = load_text(dump_scenario(scenario), "elsewhere.yaml").scenario
    assert again == scenario
    replayed = again.load["l"]
    assert isinstance(replayed, Replay)
    assert replayed.arrivals.instants_ns == (NS_PER_S // 4, NS_PER_S // 2)
    assert replayed.arrivals.flows == (None, "up")


def test_a_flow_that_a_replay_file_names_must_exist(tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_text("0,upp\n")
    path = tmp_path / "s.yaml"
    path.write_text(json.dumps(document({"l": {"executor": "replay", "file": "trace.csv"}})))
    with pytest.raises(ScenarioError, match=r"load\.l\.file: names no flow: 'upp'.*did you mean 'up'"):
        load_scenario(path)


def test_accounts_are_looked_for_beside_the_scenario_and_their_passwords_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text("anna,secret-of-anna\n")
    path = tmp_path / "s.yaml"
    path.write_text(json.dumps(document({"l": LOADS["poisson"]}, users={"from": "users.csv"})))
    scenario = load_scenario(path).scenario
    assert scenario.users is not None
    assert Path(scenario.users.from_) == tmp_path / "users.csv"
    assert "secret-of-anna" not in dump_scenario(scenario)


@given(st.lists(st.integers(0, 10**15), min_size=1, max_size=50))
def test_a_trace_of_seconds_reads_back_to_the_nanosecond_and_in_order(instants: list[int]) -> None:
    text = "\n".join(f"{instant // NS_PER_S}.{instant % NS_PER_S:09}" for instant in instants)
    assert list(parse_trace(text).instants_ns) == sorted(instants)


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "time\n", "-1\n", "0,a,b\n", "0\n1.5.2\n", "1e3\n", "time,flow\ntime,flow\n0\n"]
)
def test_what_is_no_trace_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="trace"):
        parse_trace(text)


def test_a_trace_may_have_headings_comments_and_other_separators() -> None:
    trace = parse_trace("seconds;flow\n# from the proxy's log\n 2 ; a\n1\tb\n\n0.5 c\n250ms\n")
    assert trace.instants_ns == tuple(NS_PER_S * quarter // 4 for quarter in (1, 2, 4, 8))
    assert trace.flows == (None, "c", "b", "a")
