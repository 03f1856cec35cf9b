"""The simulation: rows that balance, in the records' format, and sessions that behave as the scenario says."""

from __future__ import annotations

import struct
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftpstorm.plan.plan import UNREACHABLE_PAUSE_NS, HostFacts, Plan
from ftpstorm.records.schema import ABSENT, OPERATIONS, SESSIONS, Table
from ftpstorm.simulate.events import Simulation
from ftpstorm.simulate.service import ServiceTimes
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import FailureClass, Operation, Outcome, Phase
from support.plans import demo_plan, make_plan

MS = NS_PER_S // 1000
INSTANT = ServiceTimes(0, 0, 0, 0, 10**15, 0, 0)
"""Everything takes no time: only holds, pauses and rates remain."""


def simulate(plan: Plan, service: ServiceTimes | None = None) -> tuple[list[dict[str, int]], list[dict[str, int]]]:
    """Return session and operation rows as mappings."""
    gathered: dict[str, list[dict[str, int]]] = {"sessions": [], "operations": []}
    for table, row in Simulation(plan, service).rows():
        gathered[table.name].append(dict(zip((column.name for column in table.columns), row, strict=True)))
    return gathered["sessions"], gathered["operations"]


def outcomes(rows: list[dict[str, int]]) -> Counter[str]:
    return Counter(Outcome(row["outcome"]).word for row in rows)


def classes(rows: list[dict[str, int]]) -> Counter[str]:
    return Counter(FailureClass(row["class"]).word for row in rows if row["class"])


def burst(sessions: int, **more: Any) -> dict[str, Any]:
    return {"executor": "burst", "sessions": sessions, **more}


def test_the_demo_gives_200_successes_and_1740_refusals() -> None:
    sessions, operations = simulate(demo_plan())
    assert outcomes(sessions) == {"succeeded": 200, "failed": 1740}
    refused = [row for row in operations if row["outcome"] == Outcome.FAILED]
    assert classes(refused) == {"passive-exhausted": 1740}
    assert {(row["phase"], row["code"], row["control_survived"]) for row in refused} == {(Phase.PASSIVE, 425, 1)}


def test_every_row_packs_as_a_spool_record() -> None:
    for table, row in Simulation(demo_plan()).rows():
        struct.pack(table.struct_format, *row)


def test_the_same_plan_gives_the_same_rows() -> None:
    def rows() -> list[tuple[Table, tuple[int, ...]]]:
        return list(Simulation(demo_plan(load=burst(50))).rows())

    assert rows() == rows()


def test_a_held_port_goes_to_the_first_arrival_after_its_release() -> None:
    """Two ports held 1 s, five arrivals a second, everything instant: 0.0 and 0.2, then 1.0 and 1.2 s ..."""
    plan = make_plan(
        load={"executor": "constant-arrival-rate", "rate": "5/s", "duration": "3s"},
        emulator={"passive_ports": "20000-20001", "hold": {"for": "1s"}},
    )
    _, operations = simulate(plan, INSTANT)
    good = [row for row in operations if row["operation"] == Operation.RETR and row["outcome"] == Outcome.SUCCEEDED]
    assert [row["end_ns"] // (MS * 100) for row in good] == [0, 2, 10, 12, 20, 22]
    assert [row["passive_port"] for row in good] == [20_000, 20_001] * 3


@pytest.mark.parametrize(("after", "succeeded"), [("any-close", 2), ("server-close", 10), ("none", 10)])
def test_uploads_are_held_only_by_the_rule_that_says_so(after: str, succeeded: int) -> None:
    load = {"executor": "constant-arrival-rate", "rate": "10/s", "duration": "1s"}
    emulator = {"passive_ports": 2, "hold": {"for": "9s", "after": after}}
    sessions, _ = simulate(make_plan(steps=["login", {"stor": "1KiB"}, "quit"], load=load, emulator=emulator))
    assert outcomes(sessions)["succeeded"] == succeeded


def test_stamps_of_an_operation_and_a_session_are_in_order() -> None:
    sessions, operations = simulate(make_plan())
    for row in operations:
        if row["operation"] == Operation.RETR:
            stamps = [row[name] for name in ("start_ns", "passive_ns", "data_connected_ns", "first_byte_ns")]
            stamps += [row["data_end_ns"], row["end_ns"]]
            assert stamps == sorted(stamps)
            assert stamps[0] >= 0
    for row in sessions:
        stamps = [
            row[name] for name in ("intended_ns", "start_ns", "connected_ns", "greeting_ns", "login_ns", "end_ns")
        ]
        assert stamps == sorted(stamps)


def test_a_session_takes_what_service_times_add_up_to() -> None:
    sessions, _ = simulate(make_plan())
    assert sessions[0]["end_ns"] - sessions[0]["start_ns"] == 2_102_048


def test_an_arrival_without_a_slot_is_dropped_and_never_started() -> None:
    steps = ["login", {"think": "1s"}, "quit"]
    load = {"executor": "constant-arrival-rate", "rate": "10/s", "duration": "2s", "max_sessions": 5}
    sessions, _ = simulate(make_plan(steps=steps, load=load), INSTANT)
    assert outcomes(sessions) == {"succeeded": 10, "dropped": 10}
    dropped = [row for row in sessions if row["outcome"] == Outcome.DROPPED]
    assert all(row["start_ns"] == row["end_ns"] == ABSENT for row in dropped)
    assert [row["intended_ns"] // (100 * MS) for row in dropped] == [5, 6, 7, 8, 9, 15, 16, 17, 18, 19]


def test_after_the_graceful_stop_sessions_are_interrupted() -> None:
    steps = ["login", {"think": "60s"}, "quit"]
    sessions, operations = simulate(make_plan(steps=steps, load=burst(3, graceful_stop="2s")))
    assert outcomes(sessions) == {"interrupted": 3}
    assert {row["end_ns"] for row in sessions} == {2 * NS_PER_S}
    assert outcomes(operations) == {"succeeded": 3, "interrupted": 3}


def test_a_transfer_that_is_cut_off_keeps_what_it_moved() -> None:
    plan = make_plan(steps=["login", {"stor": "1000MB"}, "quit"], load=burst(1, graceful_stop="1s"))
    _, operations = simulate(plan, ServiceTimes(0, 0, 0, 0, 10**8, 0, 0))
    cut = operations[-1]
    assert cut["outcome"] == Outcome.INTERRUPTED
    assert cut["bytes"] == 10**8
    assert cut["data_end_ns"] == ABSENT
    assert cut["end_ns"] == NS_PER_S


@pytest.mark.parametrize(("habit", "executed"), [("continue", 4), ("end-session", 2)])
def test_after_a_refusal_a_flow_goes_on_or_ends(habit: str, executed: int) -> None:
    steps = ["login", {"retr": "small.bin"}, {"retr": "small.bin"}, "quit"]
    emulator = {"passive_ports": 1, "hold": {"for": "60s"}}
    sessions, _ = simulate(make_plan(steps=steps, load=burst(2), emulator=emulator, on_failure=habit))
    assert outcomes(sessions) == {"failed": 2}
    second = next(row for row in sessions if row["session"] == 1)
    assert second["operations"] == executed


def test_a_retry_waits_shares_its_ordinal_and_may_succeed() -> None:
    steps = ["login", {"retr": "small.bin"}, {"retr": "small.bin"}, "quit"]
    retry = {"retry": {"on": [425], "times": 5, "wait": "1s..4s"}}
    emulator = {"passive_ports": 1, "hold": {"for": "2s"}}
    sessions, operations = simulate(make_plan(steps=steps, load=burst(1), emulator=emulator, on_failure=retry), INSTANT)
    tries = [row for row in operations if row["ordinal"] == 2]
    assert [(row["attempt"], row["end_ns"] // NS_PER_S) for row in tries] == [(0, 0), (1, 1), (2, 3)]
    assert [row["outcome"] for row in tries] == [Outcome.FAILED, Outcome.FAILED, Outcome.SUCCEEDED]
    assert sessions[0]["outcome"] == Outcome.SUCCEEDED
    assert sessions[0]["operations_failed"] == 2


def test_a_code_that_is_not_listed_is_not_retried() -> None:
    emulator = {"passive_ports": 1, "hold": {"for": "60s"}, "reply": "421 No more."}
    retry = {"retry": {"on": [425], "times": 5, "wait": "1s"}}
    _, operations = simulate(make_plan(load=burst(2), emulator=emulator, on_failure=retry))
    assert all(row["attempt"] == 0 for row in operations)


def test_a_passive_port_that_nobody_uses_is_never_held() -> None:
    steps = ["login", "pasv-only", "pasv-only", {"think": "1s"}, "quit"]
    load = {"executor": "constant-sessions", "sessions": 1, "duration": "4s"}
    emulator = {"passive_ports": 1, "hold": {"for": "60s"}}
    sessions, _ = simulate(make_plan(steps=steps, load=load, emulator=emulator))
    assert set(outcomes(sessions)) == {"succeeded"}


def test_a_passive_port_that_nobody_uses_is_taken_while_its_session_lasts() -> None:
    steps = ["login", "pasv-only", {"think": "1s"}, "quit"]
    _, operations = simulate(make_plan(steps=steps, load=burst(3), emulator={"passive_ports": 2}))
    assert classes(operations) == {"passive-exhausted": 1}


@pytest.mark.parametrize(
    ("answer", "failure"), [("421", "busy-at-greeting"), ("eof", "greeting-eof"), ("reset", "greeting-reset")]
)
def test_sessions_beyond_the_cap_are_turned_away_as_it_says(answer: str, failure: str) -> None:
    steps = ["login", {"think": "1s"}, "quit"]
    emulator = {"max_connections": {"count": 4, "answer": answer}}
    sessions, operations = simulate(make_plan(steps=steps, load=burst(10), emulator=emulator))
    assert classes(sessions) == {failure: 6}
    assert {row["control_survived"] for row in sessions if row["class"]} == {0}
    assert len(operations) == 12


def test_a_place_of_the_cap_is_free_again_when_its_session_ends() -> None:
    steps = ["login", {"think": "450ms"}, "quit"]
    load = {"executor": "constant-arrival-rate", "rate": "2/s", "duration": "5s"}
    sessions, _ = simulate(make_plan(steps=steps, load=load, emulator={"max_connections": {"count": 1}}))
    assert outcomes(sessions) == {"succeeded": 10}


def test_a_slow_accept_leaves_the_last_waiting_beyond_their_patience() -> None:
    emulator = {"accept_rate": "10/s", "backlog": 4096}
    sessions, _ = simulate(make_plan(load=burst(100), emulator=emulator))
    assert classes(sessions) == {"greeting-silent": 50}  # the 51st would be greeted after its 5 s


def test_beyond_the_backlog_nobody_answers() -> None:
    emulator = {"accept_rate": "1000/s", "backlog": 20}
    sessions, _ = simulate(make_plan(load=burst(100), emulator=emulator))
    # one is accepted at once, B + 1 wait; when the others' SYNs come again together, B + 1 are kept, and one enters
    assert classes(sessions)["greeting-silent"] == 100 - 22 - 22


def test_constant_sessions_keep_so_many_in_flight() -> None:
    load = {"executor": "constant-sessions", "sessions": 3, "duration": "5s"}
    simulation = Simulation(make_plan(steps=["login", {"think": "1s"}, "quit"], load=load))
    starts = [row[SESSION_START] for table, row in simulation.rows() if table is SESSIONS]
    assert len(starts) == 15
    assert simulation.world.occupancies.sessions.peak() == 3


SESSION_START = [column.name for column in SESSIONS.columns].index("start_ns")


def test_shared_iterations_are_done_once_each() -> None:
    load = {"executor": "shared-iterations", "sessions": 4, "iterations": 30}
    sessions, _ = simulate(make_plan(load=load))
    assert sorted(row["session"] for row in sessions) == list(range(30))


def test_uploads_over_a_network_run_out_of_local_ports() -> None:
    """Ten ports, one destination of two, the client closes first, no reuse off loopback."""
    host = HostFacts(port_range=(40_000, 40_009), tcp_tw_reuse=0)
    plan = make_plan(
        steps=["login", {"stor": "1KiB"}, "quit"],
        load={"executor": "constant-arrival-rate", "rate": "10/s", "duration": "5s"},
        emulator={"passive_ports": 2},
        host=host,
    )
    _, operations = simulate(plan)
    stors = [row for row in operations if row["operation"] == Operation.STOR]
    assert outcomes(stors) == {"succeeded": 20, "failed": 30}
    assert {row["errno"] for row in stors if row["class"]} == {99}
    assert classes(stors) == {"local-ports-exhausted": 30}


def test_binding_first_has_one_space_for_control_and_data() -> None:
    plan = make_plan(
        steps=["login", {"stor": "1KiB"}, "quit"],
        load=burst(40, over="4s"),
        client={"bind": "port", "source_addresses": ["127.0.0.1"]},
        host=HostFacts(port_range=(40_000, 40_009)),
    )
    sessions, operations = simulate(plan)
    stors = [row for row in operations if row["operation"] == Operation.STOR]
    # The tenth session's control connection takes the last port, so the ninth upload is the last to find one.
    assert outcomes(stors)["succeeded"] == 9
    assert {row["errno"] for row in (*stors, *sessions) if row["class"]} == {98}


def test_a_closed_load_whose_sessions_fail_at_once_pauses_as_the_engine_does() -> None:
    plan = make_plan(
        steps=["login", {"stor": "1KiB"}],
        load={"executor": "constant-sessions", "sessions": 2, "duration": "2s"},
        client={"bind": "port", "source_addresses": ["127.0.0.1"]},
        host=HostFacts(port_range=(40_000, 40_001)),
    )
    sessions, _ = simulate(plan, INSTANT)
    assert 2 * NS_PER_S // UNREACHABLE_PAUSE_NS <= classes(sessions)["local-ports-exhausted"] <= 41
    assert len(sessions) < 50


def test_quit_leaves_time_wait_with_the_server_and_its_absence_with_the_client() -> None:
    for steps, server, client in ((["login", "quit"], 5, 0), (["login"], 0, 5)):
        simulation = Simulation(make_plan(steps=steps, load=burst(5)))
        list(simulation.rows())
        seen = simulation.world.occupancies
        assert (seen.server_control_time_wait.peak(), seen.client_time_wait.peak()) == (server, client)


def test_the_run_bound_leaves_later_arrivals_out() -> None:
    simulation = Simulation(make_plan(stop={"max_duration": "4s"}))
    rows = [row for table, row in simulation.rows() if table is SESSIONS]
    assert (len(rows), simulation.not_due) == (40, 60)


def test_a_simulation_can_be_cut_at_a_number_of_sessions() -> None:
    simulation = Simulation(make_plan(), sessions_max=30)
    rows = [row for table, row in simulation.rows() if table is SESSIONS]
    assert 25 <= len(rows) <= 30
    assert simulation.cut_at_ns is not None
    assert 2 * NS_PER_S < simulation.cut_at_ns < 4 * NS_PER_S


def test_replies_are_given_as_texts() -> None:
    emulator = {"reply": "425 Later.", "max_connections": {"count": 1, "text": "Full"}}
    assert Simulation(make_plan(emulator=emulator)).texts == {1: "425 Later.", 2: "421 Full"}


def test_two_loads_share_the_server() -> None:
    raw = demo_plan().scenario.model_dump(by_alias=True, mode="json")
    raw["load"]["other"] = {**raw["load"]["only"], "start_time": "5s", "duration": "5s"}
    plan = Plan(run_id="run", scenario=type(demo_plan().scenario).model_validate(raw))
    sessions, _ = simulate(plan)
    assert {row["load"] for row in sessions} == {0, 1}
    assert len(sessions) == 1940 + 485
    assert outcomes(sessions)["succeeded"] == 200


@settings(max_examples=25)
@given(
    rate=st.integers(1, 60),
    pool=st.integers(1, 30),
    hold_ms=st.integers(0, 3_000),
    think_ms=st.integers(0, 1_500),
    slots=st.integers(1, 40),
    repeats=st.integers(1, 3),
)
def test_books_balance_whatever_the_plan(
    rate: int, pool: int, hold_ms: int, think_ms: int, slots: int, repeats: int
) -> None:
    plan = make_plan(
        steps=[
            "login",
            {"repeat": {"times": repeats, "steps": [{"retr": "small.bin"}, {"think": f"{think_ms}ms"}]}},
            "quit",
        ],
        load={
            "executor": "constant-arrival-rate",
            "rate": f"{rate}/s",
            "duration": "4s",
            "max_sessions": slots,
            "graceful_stop": "1s",
        },
        emulator={"passive_ports": pool, "hold": {"for": f"{hold_ms}ms"}},
    )
    simulation = Simulation(plan)
    sessions: list[dict[str, int]] = []
    operations: list[dict[str, int]] = []
    for table, row in simulation.rows():
        named = dict(zip((column.name for column in table.columns), row, strict=True))
        (operations if table is OPERATIONS else sessions).append(named)
    assert sorted(row["session"] for row in sessions) == list(range(rate * 4))
    assert sum(row["operations"] for row in sessions) == len(operations)
    assert sum(row["operations_failed"] for row in sessions) == sum(
        row["outcome"] == Outcome.FAILED for row in operations
    )
    assert sum(row["bytes"] for row in sessions) == sum(row["bytes"] for row in operations)
    seen = simulation.world.occupancies
    assert seen.passive_pool.peak() <= pool
    assert seen.sessions.peak() <= slots
    started = [row for row in sessions if row["outcome"] != Outcome.DROPPED]
    connects = len(started) + sum(row["data_port"] > 0 for row in operations)
    assert sum(row["connects"] for row in sessions) == connects
