"""The plan: repeats unrolled, sessions counted, ends computed, shares given out."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.plan import plan as plan_module
from ftpstorm.plan.plan import HostFacts, Plan, load_end_ns, planned_sessions, run_end_ns, transfers_of, unroll
from ftpstorm.scenario.flow import Flow
from ftpstorm.scenario.schema import Scenario
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import Operation
from support.plans import make_plan

CLOSED = {"executor": "constant-sessions", "sessions": 3, "duration": "7s"}
SHARED = {"executor": "shared-iterations", "sessions": 3, "iterations": 10, "max_duration": "30s"}
BURST = {"executor": "burst", "sessions": 5, "over": "1s", "every": "4s", "times": 3, "start_time": "2s"}


def flow_of(*steps: object) -> Flow:
    return Flow.model_validate({"steps": list(steps)})


def test_repeat_is_unrolled_in_order() -> None:
    flow = flow_of("login", {"repeat": {"times": 2, "steps": [{"retr": "a"}, "noop"]}}, "quit")
    assert [step.operation for step in unroll(flow)] == [
        Operation.LOGIN,
        Operation.RETR,
        Operation.NOOP,
        Operation.RETR,
        Operation.NOOP,
        Operation.QUIT,
    ]


@given(outer=st.integers(1, 6), inner=st.integers(1, 6))
def test_nested_repeats_multiply(outer: int, inner: int) -> None:
    nested = {"repeat": {"times": inner, "steps": [{"stor": "1KiB"}]}}
    flow = flow_of({"repeat": {"times": outer, "steps": [nested, "list"]}})
    assert transfers_of(flow) == outer * (inner + 1)


def test_steps_without_data_are_no_transfers() -> None:
    assert transfers_of(flow_of("login", "pasv-only", "noop", {"think": "1s"}, {"cwd": "/"}, "quit")) == 0
    assert transfers_of(flow_of({"retr": "a"}, "list", "nlst", "mlsd", {"stor": "1B"})) == 5


def test_a_flow_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "STEPS_MAX", 10)
    unroll(flow_of({"repeat": {"times": 10, "steps": ["noop"]}}))
    with pytest.raises(ValueError, match="more than 10 steps"):
        unroll(flow_of({"repeat": {"times": 11, "steps": ["noop"]}}))


def test_sessions_are_planned_where_the_plan_determines_them() -> None:
    assert planned_sessions(make_plan().loads[0][1]) == 100
    assert planned_sessions(make_plan(load=BURST).loads[0][1]) == 15
    assert planned_sessions(make_plan(load=SHARED).loads[0][1]) == 10
    assert planned_sessions(make_plan(load=CLOSED).loads[0][1]) is None


@pytest.mark.parametrize(("load", "end_s"), [(None, 10), (CLOSED, 7), (SHARED, 30), (BURST, 11)])
def test_a_load_ends_when_it_starts_no_more_sessions(load: dict[str, object] | None, end_s: int) -> None:
    assert load_end_ns(make_plan(load=load).loads[0][1]) == end_s * NS_PER_S


def test_a_run_ends_after_the_graceful_stop_or_at_its_bound() -> None:
    assert run_end_ns(make_plan(load={**CLOSED, "graceful_stop": "3s"})) == 10 * NS_PER_S
    assert run_end_ns(make_plan(load=CLOSED, stop={"max_duration": "8s"})) == 8 * NS_PER_S


def test_a_plan_survives_json() -> None:
    plan = make_plan(load=BURST, on_failure={"retry": {"on": [425], "wait": "1s..8s"}}, workers=3)
    assert Plan.model_validate(json.loads(json.dumps(plan.to_json()))) == plan


@given(machines=st.integers(1, 8), workers=st.integers(1, 8))
def test_worker_shards_of_all_machines_are_distinct_and_complete(machines: int, workers: int) -> None:
    base = make_plan(workers=workers)
    shards = {
        base.model_copy(update={"shard": (machine, machines)}).worker_shard(worker)
        for machine in range(machines)
        for worker in range(workers)
    }
    assert shards == {(index, machines * workers) for index in range(machines * workers)}


@pytest.mark.parametrize(("listed", "ports"), [("20010-20018,50000", 1), (None, 10), ("20019", 9)])
def test_reserved_ports_are_missing_from_a_range_of_the_load_s_own_too(listed: str | None, ports: int) -> None:
    """Linux passes over ip_local_reserved_ports within IP_LOCAL_PORT_RANGE as well."""
    fields = {"version": 1, "name": "x", "target": {"emulator": {}}, "flows": {"f": {"steps": ["login", "quit"]}}}
    load = {"a": {"executor": "burst", "sessions": 1, "flow": "f"}}
    scenario = Scenario.model_validate(fields | {"load": load, "client": {"port_range": "20010-20019"}})
    host = HostFacts(port_range=(32768, 60999), reserved_ports=0, reserved_list=listed)
    assert Plan(run_id="r", scenario=scenario, host=host).local_ports == ports
