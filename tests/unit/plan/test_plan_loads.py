"""What the plan says of every executor: how many sessions, of which flow, until when, and that shards partition it."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.arrivals.schedules import schedule_of
from ftpstorm.arrivals.shard import shard_count, shard_indexes
from ftpstorm.plan.plan import HoldStep, Plan, load_end_ns, session_steps, shard_sessions
from ftpstorm.scenario.schema import Scenario
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import Operation

RAMP = {"executor": "ramping-arrival-rate", "stages": [{"duration": "4s", "target": "10/s"}]}
POISSON = {"executor": "poisson-arrival-rate", "rate": "20/s", "duration": "5s"}
RAMPING = {"executor": "ramping-sessions", "stages": [{"duration": "2s", "target": 5}, {"duration": "1s", "target": 0}]}
HOLD = {"executor": "hold", "sessions": 30, "over": "3s", "duration": "10s", "start_time": "1s"}
PROBE = {"executor": "probe-until-success", "every": "500ms", "max_duration": "20s"}
TRACE = "time,flow\n0.5\n0.25,up\n\n3.000000001 # late\n1.5s;down\n"
REPLAY = {"executor": "replay", "trace": TRACE, "start_time": "2s"}
BURSTS = {"executor": "burst", "sessions": 7, "over": "1s", "every": "2s", "times": 3}
EVEN = {"executor": "constant-arrival-rate", "rate": "9/s", "duration": "3s"}
OPEN = (RAMP, POISSON, HOLD, REPLAY, BURSTS, EVEN)
MIX = {"down": 3, "up": 1}


def plan_of(load: dict[str, Any], flow: Any = "down", **keys: Any) -> Plan:
    flows = {
        "down": {"steps": ["login", {"retr": "a"}, {"retr": "a"}, "quit"]},
        "up": {"steps": ["login", {"stor": "1KiB"}, "quit"]},
        "idle": {"steps": ["login"]},
    }
    document = {
        "version": 1, "name": "x", "target": {"emulator": {}}, "files": {"a": "1KiB"}, "flows": flows,
        "load": {"only": {"flow": flow, **load}},
    }  # fmt: skip
    return Plan(run_id="run", scenario=Scenario.model_validate(document | keys))


@pytest.mark.parametrize(
    ("load", "planned", "end_s"),
    [(RAMP, 20, 4), (RAMPING, None, 3), (HOLD, 30, 14), (PROBE, None, 20), (REPLAY, 4, 5.000000001), (BURSTS, 21, 5)],
)
def test_each_executor_has_its_number_and_its_end(load: dict[str, Any], planned: int | None, end_s: float) -> None:
    plan = plan_of(load)
    assert plan.planned_sessions("only") == planned
    assert load_end_ns(plan.loads[0][1]) == round(end_s * NS_PER_S)


@pytest.mark.parametrize("load", OPEN, ids=lambda load: load["executor"])
def test_arrivals_of_an_open_load_are_in_order_and_before_its_end(load: dict[str, Any]) -> None:
    plan = plan_of(load)
    schedule = plan.schedule("only")
    assert schedule is not None
    instants = [schedule.instant_ns(k) for k in range(schedule.count)]
    assert instants == sorted(instants)
    assert instants[0] >= 0
    assert plan.loads[0][1].start_time + instants[-1] <= load_end_ns(plan.loads[0][1])


@given(st.sampled_from(OPEN), st.sampled_from(["down", MIX]), st.integers(1, 5), st.integers(1, 4))
def test_machines_and_their_workers_partition_every_open_load(
    load: dict[str, Any], flow: Any, machines: int, workers: int
) -> None:
    whole = plan_of(load, flow)
    schedule = whole.schedule("only")
    assert schedule is not None
    seen: Counter[tuple[int, int, str]] = Counter()
    offered = 0
    for machine in range(machines):
        # each machine gets its plan as JSON, as a worker does, and computes what is its own
        sent = plan_of(load, flow).model_copy(update={"shard": (machine, machines), "workers": workers})
        plan = Plan.model_validate(json.loads(json.dumps(sent.to_json())))
        own = plan.schedule("only")
        assert own is not None
        for worker in range(workers):
            i, n = plan.worker_shard(worker)
            for k in shard_indexes(own.count, i, n):
                seen[k, own.instant_ns(k), plan.flow_of("only", k)] += 1
            offered += plan.offered_transfers("only", i, n) or 0
    expected = {(k, schedule.instant_ns(k), whole.flow_of("only", k)): 1 for k in range(schedule.count)}
    assert seen == expected
    assert offered == whole.offered_transfers("only")


@given(st.integers(1, 9), st.integers(1, 60))
def test_closed_loads_divide_their_slots(shards: int, slots: int) -> None:
    assert sum(shard_count(slots, shard, shards) for shard in range(shards)) == slots


def test_a_poisson_load_hangs_on_seed_and_name_and_not_on_the_rest() -> None:
    def first(**keys: Any) -> int:
        schedule = plan_of(POISSON, **keys).schedule("only")
        assert schedule is not None
        return schedule.instant_ns(0)

    assert first() == first(description="another") != first(seed=2)
    with pytest.raises(ValueError, match="stream"):
        schedule_of(plan_of(POISSON).loads[0][1])


def test_offered_transfers_weigh_by_the_flows() -> None:
    plan = plan_of({**EVEN, "rate": "100/s", "duration": "40s"}, MIX)
    counts = plan.flow_counts("only")
    assert counts is not None
    assert counts == Counter(plan.flow_of("only", session) for session in range(4000))
    assert abs(counts["down"] - 3000) <= 5
    assert plan.offered_transfers("only") == 2 * counts["down"] + counts["up"]
    assert plan_of(RAMPING, MIX).offered_transfers("only") is None


def test_a_replay_takes_the_flow_of_its_line_else_its_own() -> None:
    plan = plan_of(REPLAY, "idle")
    assert [plan.flow_of("only", k) for k in range(4)] == ["up", "idle", "down", "idle"]
    assert plan.flow_counts("only") == {"idle": 2, "up": 1, "down": 1}
    assert plan.offered_transfers("only") == 3
    assert set(plan.used_flows) == {"idle", "up", "down"}


def test_hold_puts_its_stay_before_quit_or_at_the_end() -> None:
    plan = plan_of({**HOLD, "noop_every": "1s"})
    load = plan.loads[0][1]
    steps = session_steps(load, plan.scenario.flows["down"])
    assert [step.operation for step in steps][-2:] == [Operation.HOLD, Operation.QUIT]
    assert steps[-2].options == HoldStep(until_ns=14 * NS_PER_S, noop_every_ns=NS_PER_S)
    assert [step.operation for step in session_steps(load, plan.scenario.flows["idle"])] == [
        Operation.LOGIN,
        Operation.HOLD,
    ]
    even = plan_of(EVEN).loads[0][1]
    assert Operation.HOLD not in {step.operation for step in session_steps(even, plan.scenario.flows["down"])}


@given(shards=st.integers(1, 8), places=st.integers(1, 8), sessions=st.integers(1, 40))
def test_shards_without_a_place_start_none_and_the_others_all(shards: int, places: int, sessions: int) -> None:
    for load in (
        {"executor": "burst", "sessions": sessions, "max_sessions": places},
        {"executor": "shared-iterations", "sessions": places, "iterations": sessions},
    ):
        plan = plan_of(load)
        ((name, known),) = plan.loads
        taken: list[int] = []
        for shard in range(shards):
            numbers = shard_sessions(known, sessions, shard, shards)
            assert not numbers or shard_count(places, shard, shards)
            assert (
                plan.offered_transfers(name, shard, shards)
                == len(numbers) * (plan.offered_transfers(name) or 0) / sessions
            )
            taken += numbers
        assert sorted(taken) == list(range(sessions))
