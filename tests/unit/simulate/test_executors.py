"""The model runs every executor as the engine does: same arrivals, same flows; what it cannot foretell it says."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from ftpstorm.plan.plan import Plan
from ftpstorm.records.schema import OPERATIONS, SESSIONS
from ftpstorm.scenario.schema import Scenario
from ftpstorm.simulate.events import Simulation
from ftpstorm.simulate.predict import predict
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import Operation, Outcome

RAMP = {"executor": "ramping-arrival-rate", "stages": [{"duration": "4s", "target": "10/s"}]}
POISSON = {"executor": "poisson-arrival-rate", "rate": "20/s", "duration": "5s"}
RAMPING = {"executor": "ramping-sessions", "stages": [{"duration": "2s", "target": 5}, {"duration": "1s", "target": 0}]}
HOLD = {"executor": "hold", "sessions": 30, "over": "3s", "duration": "10s", "start_time": "1s"}
PROBE = {"executor": "probe-until-success", "every": "500ms", "max_duration": "20s"}
REPLAY = {"executor": "replay", "trace": "0.5\n0.25,up\n3\n1.5\n"}
ALL = (RAMP, POISSON, RAMPING, HOLD, PROBE, REPLAY)
COLUMN = {column.name: place for place, column in enumerate(SESSIONS.columns)}
OF_OPERATION = {column.name: place for place, column in enumerate(OPERATIONS.columns)}


def plan_of(load: dict[str, Any], flow: Any = "down", emulator: Any = None, **flows: Any) -> Plan:
    document = {
        "version": 1,
        "name": "x",
        "target": {"emulator": emulator or {}},
        "files": {"a": "1KiB", "b": "1MiB"},
        "flows": {
            "down": {"steps": ["login", {"retr": "a"}, {"think": "10ms"}, "quit"]},
            "up": {"steps": ["login", {"stor": "2KiB"}, "quit"]},
            **flows,
        },
        "load": {"only": {"flow": flow, **load}},
    }
    return Plan(run_id="run", scenario=Scenario.model_validate(document))


def rows_of(plan: Plan) -> tuple[list[Any], list[Any]]:
    simulation = Simulation(plan)
    rows = list(simulation.rows())
    return [row for table, row in rows if table is SESSIONS], [row for table, row in rows if table is OPERATIONS]


@pytest.mark.parametrize("load", [RAMP, POISSON, HOLD, REPLAY], ids=lambda load: load["executor"])
def test_the_model_starts_the_arrivals_of_the_plan(load: dict[str, Any]) -> None:
    plan = plan_of(load)
    schedule = plan.schedule("only")
    assert schedule is not None
    sessions, _ = rows_of(plan)
    start = plan.loads[0][1].start_time
    found = sorted((row[COLUMN["session"]], row[COLUMN["intended_ns"]]) for row in sessions)
    assert found == [(k, start + schedule.instant_ns(k)) for k in range(schedule.count)]


def test_ramping_sessions_are_as_many_as_the_line_says() -> None:
    sessions, _ = rows_of(plan_of(RAMPING))
    for tenths, wanted in ((9, 2), (19, 4), (24, 3), (29, 0)):
        at = tenths * NS_PER_S // 10
        open_now = sum(row[COLUMN["intended_ns"]] <= at < row[COLUMN["end_ns"]] for row in sessions)
        assert wanted <= open_now <= wanted + 1
    assert max(row[COLUMN["intended_ns"]] for row in sessions) < 3 * NS_PER_S


def test_a_probe_ends_with_its_first_success() -> None:
    # one port, held 3 s, is taken at the start by another load: tries at 0.5, 1.0 ... fail until it is free
    plan = plan_of(PROBE, emulator={"passive_ports": 1, "hold": {"for": "3s"}})
    document = plan.scenario.model_dump(mode="json", by_alias=True)
    document["load"] = {
        "first": {"executor": "burst", "sessions": 1, "flow": "down"},
        "probe": {**PROBE, "flow": "down", "start_time": "500ms"},
    }
    sessions, _ = rows_of(Plan(run_id="run", scenario=Scenario.model_validate(document)))
    tries = [row for row in sessions if row[COLUMN["load"]] == 1]
    outcomes = [row[COLUMN["outcome"]] for row in tries]
    assert outcomes == [Outcome.FAILED] * (len(tries) - 1) + [Outcome.SUCCEEDED]
    assert 5 <= len(tries) <= 8


def test_held_sessions_stay_until_the_end_and_quit() -> None:
    plan = plan_of(HOLD)
    sessions, operations = rows_of(plan)
    assert {row[COLUMN["outcome"]] for row in sessions} == {Outcome.SUCCEEDED}
    assert min(row[COLUMN["end_ns"]] for row in sessions) > 14 * NS_PER_S
    kinds = Counter(row[OF_OPERATION["operation"]] for row in operations)
    assert kinds[Operation.HOLD] == kinds[Operation.QUIT] == 30
    assert predict(plan).expected.peaks.sessions == 30


def test_each_session_runs_its_flow_and_moves_what_is_its_turn() -> None:
    lists = {"steps": ["login", {"retr": ["a", "b"]}, "quit"]}
    plan = plan_of({**RAMP, "max_sessions": 50}, {"lists": 1, "up": 1}, lists=lists)
    _, operations = rows_of(plan)
    moved = {
        row[OF_OPERATION["session"]]: row[OF_OPERATION["bytes"]] for row in operations if row[OF_OPERATION["bytes"]]
    }
    sizes = (1 << 10, 1 << 20)
    for session, size in moved.items():
        expected = 2048 if plan.flow_of("only", session) == "up" else sizes[(session + 1) % 2]
        assert size == expected
    assert len(moved) == 20
    assert predict(plan).expected.transfers.offered == 20


@pytest.mark.parametrize("load", ALL, ids=lambda load: load["executor"])
@pytest.mark.parametrize("flow", ["down", {"down": 2, "up": 1}])
def test_every_executor_has_a_prediction_whose_blanks_have_reasons(load: dict[str, Any], flow: Any) -> None:
    found = predict(plan_of(load, flow))
    blank = {item.quantity for item in found.not_predicted}
    counts_known = load["executor"] not in ("ramping-sessions", "probe-until-success")
    assert (found.expected.sessions.planned is not None) == counts_known
    assert ("expected.sessions.planned" in blank) != counts_known
    if counts_known:
        plan = plan_of(load, flow)
        assert found.expected.sessions.planned == plan.planned_sessions("only")
        assert found.expected.transfers.offered == plan.offered_transfers("only")


def test_a_probe_beside_a_load_does_not_stretch_the_load_window() -> None:
    document = plan_of(RAMP).scenario.model_dump(mode="json", by_alias=True)
    document["load"]["probe"] = {**PROBE, "flow": "down", "max_duration": "10m"}
    found = predict(Plan(run_id="run", scenario=Scenario.model_validate(document)))
    assert found.estimator.load_end_ns is None
    assert found.estimator.load_end_at_least_ns == 4 * NS_PER_S
    assert found.expected.sustained is None or found.expected.sustained.window_to_ns <= 4 * NS_PER_S


def test_files_named_by_variables_are_said_to_be_unknown() -> None:
    found = predict(plan_of(RAMP, "v", v={"steps": ["login", {"retr": "{session}.bin"}, "quit"]}))
    reasons = {item.quantity: item.why for item in found.not_predicted}
    assert "variables" in reasons["expected.failures"]
    assert found.expected.failures is None
