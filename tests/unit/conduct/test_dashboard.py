from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from ftpstorm.conduct.children import Child
from ftpstorm.conduct.dashboard import Dashboard
from ftpstorm.conduct.live import View, new_console
from ftpstorm.plan.plan import HostFacts, Plan
from ftpstorm.scenario.schema import Scenario
from ftpstorm.units import NS_PER_S
from support.short_run import scenario_of


def dashboard(**sections: object) -> Dashboard:
    plan = Plan(
        run_id="r",
        scenario=Scenario.model_validate(scenario_of(**sections)),
        host=HostFacts(port_range=(32_768, 60_999)),
    )
    return Dashboard(plan, View(new_console(), quiet=True), 8.0)


def saying(progress: dict[str, Any] | None) -> Child:
    return cast(Child, SimpleNamespace(progress=progress))


def progress(t_ns: int, attempted: int, succeeded: int, started: int = 0) -> dict[str, Any]:
    return {"t_ns": t_ns, "transfers": {"attempted": attempted, "succeeded": succeeded}, "started": started}


def test_before_anything_is_known_the_picture_is_empty() -> None:
    picture = dashboard().picture(5)
    assert (picture.state, picture.elapsed_ns, picture.total_ns) == ("starting", None, NS_PER_S)
    assert picture.pool == {}
    assert picture.offered_per_s is None


def test_rates_follow_the_instants_of_the_messages_not_of_the_drawing() -> None:
    board = dashboard()
    board.start_at_ns = 0
    board.workers = [saying(progress(0, 0, 0))]
    board.picture(17)
    board.workers = [saying(progress(NS_PER_S // 2, 50, 4))]
    picture = board.picture(3 * NS_PER_S)
    assert (picture.offered_per_s, picture.achieved_per_s) == (100.0, 8.0)


def test_the_time_before_the_first_load_is_in_no_rate() -> None:
    load = {"executor": "constant-arrival-rate", "rate": "20/s", "duration": "5s", "start_time": "500ms"}
    board = dashboard(load={"main": {**load, "flow": "download"}})
    for t_ms, count in ((0, 0), (250, 0), (500, 0), (1000, 10)):
        board.workers = [saying(progress(t_ms * 1_000_000, count, count))]
        picture = board.picture(t_ms * 1_000_000)
    assert (picture.offered_per_s, picture.achieved_per_s) == (20.0, 20.0)


def test_a_plan_without_transfers_counts_sessions() -> None:
    board = dashboard(flows={"download": {"steps": ["login", "quit"]}})
    board.workers = [saying(progress(0, 0, 0))]
    board.picture(1)
    board.workers = [saying(progress(NS_PER_S, 0, 0, started=30))]
    picture = board.picture(2)
    assert picture.counted == "sessions"
    assert picture.offered_per_s == 30.0


def test_pool_and_kernel_come_from_emulator_and_sampler() -> None:
    board = dashboard()
    board.emulator = saying({"pool": {"free": 1, "held": 3}})
    board.sampler = saying({"ephemeral": {"client": 7}, "time_wait": {"client": None, "server": 9}})
    picture = board.picture(1)
    assert picture.pool == {"free": 1, "held": 3}
    assert (picture.ephemeral, picture.ephemeral_range) == (7, 28_232)
    assert picture.time_wait == {"server": 9}


def test_until_the_start_a_run_that_is_announced_is_ready() -> None:
    board = dashboard()
    board.state, board.start_at_ns = "running", 100
    assert board.picture(99).state == "ready"
    assert board.picture(100).state == "running"


def test_it_remembers_one_rate_for_each_message_while_the_load_runs() -> None:
    board = dashboard()
    board.state, board.start_at_ns = "running", 0
    for number in range(4):
        board.workers = [saying(progress(number * NS_PER_S, 50 * number, 10 * number))]
        board.picture(1)
        board.picture(2)
    assert board.picture(3).history == (10.0, 10.0, 10.0)
    board.state = "cooling down"
    board.workers = [saying(progress(4 * NS_PER_S, 200, 40))]
    assert len(board.picture(4).history) == 3
