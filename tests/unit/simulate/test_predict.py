"""Predictions: the demo's figures, the negative controls, and honesty about what is left open."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ftpstorm
from ftpstorm.plan.plan import HostFacts, Plan
from ftpstorm.simulate.predict import Prediction, ServiceTimes, predict
from ftpstorm.vocabulary import Cause
from support.plans import demo_plan, make_plan


def open_quantities(prediction: Prediction) -> set[str]:
    return {item.quantity for item in prediction.not_predicted}


def is_null(prediction: Prediction, quantity: str) -> bool:
    value: Any = prediction.model_dump()
    for part in quantity.split("."):
        value = value[part]
        if value is None:
            return True
    return False


def test_the_demo() -> None:
    found = predict(demo_plan())
    assert found.binding is Cause.SERVER_PASSIVE_POOL
    assert found.offered_per_s == 97
    assert found.ceiling_per_s == pytest.approx(9.997, abs=0.001)
    expected = found.expected
    assert expected.sustained is not None
    assert expected.sustained.rate_per_s == pytest.approx(9.949, abs=0.001)
    assert expected.sustained.periods == 9
    assert expected.failures == {"passive-exhausted": 1740}
    assert expected.exhausted is Cause.SERVER_PASSIVE_POOL
    assert expected.sessions.model_dump() == {
        "planned": 1940, "not_due": 0, "started": 1940, "succeeded": 200, "failed": 1740, "interrupted": 0, "dropped": 0
    }  # fmt: skip
    assert expected.transfers.model_dump() == {
        "offered": 1940, "attempted": 1940, "retried": 0, "succeeded": 200, "failed": 1740
    }  # fmt: skip
    assert expected.first_failure_s == pytest.approx(20 / 97, abs=0.002)
    assert expected.peaks.passive_pool_taken == 20
    assert expected.peaks.server_time_wait == 1940 + 200
    assert expected.peaks.client_time_wait == 0
    assert expected.recovery_s == pytest.approx(0.29, abs=0.02)
    assert found.not_predicted == ()


def test_closed_form_and_simulation_agree_on_the_first_exhaustion() -> None:
    found = predict(demo_plan())
    figures = {figure.name: figure.value for figure in found.figures}
    assert figures["passive ports wanted"] == pytest.approx(194, abs=0.1)
    assert found.expected.first_exhaustion_s == pytest.approx(figures["time to first exhaustion"], rel=0.01)


def test_a_pool_of_1000_lacks_nothing() -> None:
    found = predict(demo_plan(pool=1000))
    assert found.expected.exhausted is Cause.NONE
    assert found.expected.failures == {}
    assert found.expected.sessions.succeeded == 1940
    assert found.expected.first_failure_s is None
    assert found.expected.recovery_s is None
    assert found.expected.sustained is not None
    assert found.expected.sustained.rate_per_s == 97
    assert found.expected.peaks.passive_pool_taken == 195
    assert found.not_predicted == ()
    assert [figure.name for figure in found.figures] == ["passive ports wanted"]


@pytest.mark.parametrize(("pool", "failures"), [(195, 0), (193, 1)])
def test_the_pool_that_just_suffices_is_littles(pool: int, failures: int) -> None:
    found = predict(demo_plan(pool=pool)).expected
    assert found.failures is not None
    assert bool(found.failures) == bool(failures)


def test_slower_services_hardly_move_the_sustained_rate() -> None:
    slow = ServiceTimes(1_000_000, 2_000_000, 2_000_000, 1_000_000, 50_000_000, 500_000, 500_000)
    rates = [predict(demo_plan(), service).expected.sustained for service in (ServiceTimes(), slow)]
    assert rates[0] is not None
    assert rates[1] is not None
    assert rates[1].rate_per_s == pytest.approx(rates[0].rate_per_s, rel=0.006)


def test_predictions_are_repeatable_and_survive_json() -> None:
    found = predict(demo_plan(), stamped_at="2024-05-01T12:00:00Z")
    assert predict(demo_plan(), stamped_at="2024-05-01T12:00:00Z") == found
    assert Prediction.model_validate_json(found.model_dump_json()) == found


def test_too_short_a_load_leaves_the_sustained_rate_open() -> None:
    load = {"executor": "constant-arrival-rate", "rate": "97/s", "duration": "4s"}
    found = predict(demo_plan(load=load))
    assert found.expected.sustained is not None
    assert found.expected.sustained.rate_per_s is None
    assert "expected.sustained.rate_per_s" in open_quantities(found)
    assert found.expected.failures == {"passive-exhausted": 388 - 40}


def test_of_a_remote_server_only_the_plan_is_predicted() -> None:
    found = predict(make_plan(target={"host": "192.0.2.1"}, host=HostFacts(port_range=(32_768, 60_999))))
    assert found.expected.sessions.planned == 100
    assert found.expected.transfers.offered == 100
    assert found.ceiling_per_s is None
    assert {"limits.server-passive-pool", "expected.failures", "expected.sustained"} <= open_quantities(found)
    assert found.expected.failures is None
    assert found.expected.sustained is None
    assert found.expected.exhausted is None


def test_the_time_that_tls_takes_is_not_predicted() -> None:
    found = predict(make_plan(target={"host": "192.0.2.1", "tls": {"mode": "explicit"}}))
    assert {"inputs.C", "inputs.L"} <= open_quantities(found)
    assert not {"inputs.C", "inputs.L"} & open_quantities(predict(make_plan(target={"host": "192.0.2.1"})))


def test_everything_left_open_is_null() -> None:
    plans = (
        make_plan(target={"host": "192.0.2.1"}),
        make_plan(load={"executor": "constant-sessions", "sessions": 3, "duration": "1s"}),
        demo_plan(load={"executor": "shared-iterations", "sessions": 3, "iterations": 300}),
        demo_plan(load={"executor": "burst", "sessions": 30}),
    )
    for plan in plans:
        found = predict(plan)
        assert found.not_predicted
        for quantity in open_quantities(found):
            if quantity.startswith("expected."):
                assert is_null(found, quantity), quantity


def test_a_closed_load_against_a_small_pool_has_a_rate_but_no_counts() -> None:
    load = {"executor": "constant-sessions", "sessions": 5, "duration": "10s"}
    steps = ["login", {"retr": "small.bin"}, {"think": "20ms"}, "quit"]
    found = predict(demo_plan(load=load, steps=steps))
    assert found.expected.sustained is not None
    assert found.expected.sustained.rate_per_s == pytest.approx(10, rel=0.02)
    assert found.expected.sessions.started is None
    assert found.expected.failures is None
    assert found.expected.exhausted is Cause.SERVER_PASSIVE_POOL


def test_a_closed_load_that_nothing_limits_has_no_rate() -> None:
    load = {"executor": "constant-sessions", "sessions": 5, "duration": "1s"}
    found = predict(make_plan(load=load))
    assert found.expected.sustained is None
    assert found.expected.exhausted is Cause.NONE
    assert found.expected.failures == {}


def test_shared_iterations_without_a_limit_are_all_predicted_to_succeed() -> None:
    found = predict(make_plan(load={"executor": "shared-iterations", "sessions": 3, "iterations": 30}))
    assert found.expected.sessions.succeeded == 30
    assert found.estimator.load_end_ns is None


def test_a_burst_beyond_the_backlog_is_left_to_the_kernel() -> None:
    load = {"executor": "burst", "sessions": 500}
    assert "limits.backlog-ghost" in open_quantities(predict(make_plan(load=load, emulator={"backlog": 100})))
    assert "limits.backlog-ghost" not in open_quantities(predict(make_plan(load=load)))


def test_a_plan_too_long_to_simulate_says_how_far_it_was() -> None:
    found = predict(demo_plan(), sessions_max=1000)
    assert found.simulated_until_s == pytest.approx(1000 / 97, abs=0.1)
    assert found.expected.sessions.planned == 1940
    assert found.expected.sessions.succeeded is None
    assert found.expected.failures is None
    assert found.expected.sustained is not None
    assert found.expected.sustained.rate_per_s == pytest.approx(9.949, abs=0.01)
    assert found.expected.first_failure_s == pytest.approx(20 / 97, abs=0.002)


def test_flows_without_transfers_have_no_transfer_rate() -> None:
    found = predict(make_plan(steps=["login", "quit"]))
    assert found.expected.sustained is None
    assert found.expected.transfers.offered == 0
    assert found.offered_per_s == 10


def test_a_connection_cap_is_what_runs_out() -> None:
    steps = ["login", {"think": "2s"}, "quit"]
    found = predict(make_plan(steps=steps, emulator={"max_connections": {"count": 10}}))
    assert found.binding is Cause.SERVER_CONNECTION_CAP
    assert found.expected.exhausted is Cause.SERVER_CONNECTION_CAP
    assert found.expected.failures is not None
    assert set(found.expected.failures) == {"busy-at-greeting"}


def test_who_keeps_time_wait_after_a_421_greeting_is_a_race() -> None:
    steps = ["login", {"think": "2s"}, "quit"]
    emulators = [{"max_connections": {"count": 10, "answer": answer}} for answer in ("421", "eof")]
    race, settled = (predict(make_plan(steps=steps, emulator=emulator)) for emulator in emulators)
    assert race.expected.peaks.server_time_wait is None
    assert settled.expected.peaks.server_time_wait == 100


@pytest.mark.parametrize(
    "changes",
    [
        {"on_failure": {"retry": {"times": 2, "wait": "1s"}}},
        {"steps": ["login", {"retr": "small.bin"}, {"retr": "small.bin"}, "quit"]},
    ],
    ids=["retry", "two transfers"],
)
def test_where_sessions_contend_twice_their_fates_are_open_but_not_the_transfers(changes: dict[str, Any]) -> None:
    found = predict(demo_plan(**changes)).expected
    assert found.sessions.succeeded is None
    assert found.transfers.succeeded is not None
    assert found.transfers.succeeded >= 200  # retries after the end of the load find ports as well
    assert found.sustained is not None
    assert found.sustained.rate_per_s == pytest.approx(10, rel=0.01)


def test_time_wait_of_the_server_stops_at_one_for_each_four_tuple() -> None:
    host = HostFacts(port_range=(40_000, 40_099))
    load = {"executor": "constant-arrival-rate", "rate": "50/s", "duration": "10s"}
    found = predict(make_plan(load=load, host=host, emulator={"passive_ports": 2}))
    assert found.expected.peaks.server_time_wait == 100 + 2 * 100


def test_a_refusal_with_another_code_is_another_class() -> None:
    emulator = {"passive_ports": 20, "hold": {"for": "2s"}, "reply": "450 Busy."}
    found = predict(demo_plan(emulator=emulator))
    assert found.expected.failures == {"file-error": 1740}
    assert found.expected.exhausted is Cause.UNKNOWN


def test_shards_and_workers_are_predicted_together() -> None:
    one, many = predict(demo_plan()), predict(demo_plan(workers=4))
    assert many.expected == one.expected
    assert any("all shards" in assumption for assumption in many.assumptions)


def test_predicting_loads_no_heavy_library() -> None:
    heavy = ("numpy", "pyarrow", "matplotlib")
    source = f"import sys, ftpstorm.simulate.predict; print([name for name in {heavy} if name in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(Path(ftpstorm.__file__).parent.parent)}
    command = [sys.executable, "-c", source]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"


def test_a_plan_read_back_from_its_file_gives_the_same_prediction() -> None:
    plan = demo_plan()
    assert predict(Plan.model_validate(plan.to_json())) == predict(plan)


@pytest.mark.parametrize(
    ("step", "why"),
    [
        ({"retr": {"file": "small.bin", "mode": "active"}}, "active mode"),
        ({"abort": {"retr": "small.bin"}}, "aborts transfers"),
    ],
)
def test_what_the_model_takes_for_something_else_is_not_predicted(step: dict[str, Any], why: str) -> None:
    found = predict(make_plan(steps=["login", step, "quit"]))
    for quantity in ("failures", "sustained", "sessions.succeeded", "transfers.succeeded", "peaks.server_time_wait"):
        assert f"expected.{quantity}" in open_quantities(found)
        assert is_null(found, f"expected.{quantity}")
    assert any(why in item.why for item in found.not_predicted)


def test_a_command_that_the_emulator_refuses_leaves_failures_open_and_transfers_not() -> None:
    steps = ["login", {"mkd": "d"}, {"retr": "small.bin"}, "quit"]
    found = predict(make_plan(steps=steps))
    assert is_null(found, "expected.failures")
    assert not is_null(found, "expected.transfers.succeeded")


def test_a_port_range_of_ones_own_is_the_clients_range() -> None:
    found = predict(make_plan(client={"port_range": "40000-40019", "source_addresses": ["127.0.1.0/30"]}))
    assert found.inputs["P"].value == 20
    assert found.inputs["S"].value == 2


def test_who_closes_control_first_keeps_its_time_wait_and_after_quit_that_may_be_a_race() -> None:
    def waiting(*last: dict[str, dict[str, dict[str, str]]]) -> tuple[int | None, int | None]:
        peaks = predict(make_plan(steps=["login", "noop", *last])).expected.peaks
        return peaks.client_time_wait, peaks.server_time_wait

    client, server = waiting()  # no QUIT: the server learns of the end by the client's FIN
    assert client
    assert not server
    assert waiting({"quit": {"close": {"first": "natural"}}}) == (server, client)
    assert waiting({"quit": {"close": {"first": "client"}}}) == (None, None)  # both close on 221
    assert waiting({"quit": {"close": {"first": "client", "with": "rst"}}}) == (0, 0)


def test_a_download_from_an_offset_moves_the_rest() -> None:
    from ftpstorm.simulate.stages import stages_of

    plan = make_plan(steps=["login", {"retr": {"file": "small.bin", "offset": "1000B"}}])
    stages = stages_of(plan.scenario.flows["flow"], plan.scenario, ServiceTimes())
    assert stages[1].size_bytes == plan.scenario.files["small.bin"] - 1000


# --- the first exhaustion in closed form ------------------------------------------------------------------------------

POOL = {"passive_ports": 20, "hold": {"for": "2s", "after": "any-close"}}
SERVER_CLOSE = {"passive_ports": 20, "hold": {"for": "2s", "after": "server-close"}}
STEADY = {"executor": "constant-arrival-rate", "rate": "97/s", "duration": "20s"}
RETR: dict[str, Any] = {"retr": "small.bin"}
STOR: dict[str, Any] = {"stor": {"size": "1KiB"}}
RAMP = {"executor": "ramping-arrival-rate", "stages": [{"duration": "10s", "target": "50/s"}]}


@pytest.mark.parametrize(
    "changes",
    [
        {"load": RAMP},
        {"load": {"executor": "burst", "sessions": 60, "every": "4s", "times": 3}},
        {"load": {"executor": "poisson-arrival-rate", "rate": "97/s", "duration": "20s"}},
        {"load": STEADY | {"start_time": "5s"}},
        {"steps": ["login", RETR, STOR, "quit"], "emulator": SERVER_CLOSE},
        {"steps": ["login", {"think": "3s"}, RETR, "quit"]},
        {"steps": ["login", RETR, {"think": "1s"}, RETR, "quit"]},
        {"load": STEADY | {"rate": "10/s", "duration": "1s"}},
        {"load": STEADY | {"max_sessions": 1}, "steps": ["login", RETR, {"think": "9s"}, "quit"]},
    ],
    ids=["ramp", "bursts", "poisson", "late", "half-held", "think-first", "think-between", "too-short", "capped"],
)
def test_the_first_exhaustion_has_no_closed_form_where_n_over_r_is_not_it(changes: dict[str, Any]) -> None:
    plan = make_plan(**{"load": STEADY, "emulator": POOL, **changes})
    assert "time to first exhaustion" not in {figure.name for figure in predict(plan).figures}


@pytest.mark.parametrize("steps", [["login", RETR, "quit"], ["login", RETR, STOR, "quit"]], ids=["one", "two"])
@pytest.mark.parametrize("after", ["any-close", "server-close"])
def test_where_it_has_one_the_model_agrees(steps: list[Any], after: str) -> None:
    found = predict(make_plan(load=STEADY, steps=steps, emulator=POOL | {"hold": {"for": "2s", "after": after}}))
    for figure in found.figures:
        if figure.name == "time to first exhaustion":
            assert found.expected.first_exhaustion_s == pytest.approx(figure.value, rel=0.1)
    told = "time to first exhaustion" in {figure.name for figure in found.figures}
    assert told is (len(steps) == 3 or after == "any-close")
