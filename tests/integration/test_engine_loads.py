"""Executors, mixes, accounts and variables at work: what sessions start, when they were due, and what they do."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ftpstorm.plan.plan import Plan
from ftpstorm.records.schema import SESSIONS
from ftpstorm.records.spool import spool_path
from ftpstorm.scenario.schema import Scenario
from support.engine_run import EngineRun, make_scenario, run_engine
from support.scripted_server import Peer, scripted_server

MS = 1_000_000
ANSWERS = {"USER": "331 go on", "PASS": "230 in", "TYPE": "200 ok", "NOOP": "200 ok", "CWD": "250 ok"}


class Server:
    """Answers logins and plain commands; remembers what it was told, by connection."""

    def __init__(self, refuse: int = 0) -> None:
        self.refuse = refuse
        """Turn so many connections away with 421 first."""
        self.peers: list[Peer] = []
        self.open = self.most = 0

    async def __call__(self, peer: Peer) -> None:
        if len(self.peers) < self.refuse:
            self.peers.append(peer)
            await peer.send("421 busy")
            return
        self.peers.append(peer)
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            await peer.send("220 ready")
            while line := await peer.command():
                verb = line.split(" ")[0]
                if verb == "QUIT":
                    await peer.send("221 bye")
                    return
                await peer.send(ANSWERS.get(verb, "502 no"))
        finally:
            self.open -= 1

    @property
    def commands(self) -> Counter[str]:
        return Counter(line for peer in self.peers for line in peer.commands)


async def drive(load: dict[str, Any], folder: Path, server: Server, steps: Any = None, **keys: Any) -> EngineRun:
    async with scripted_server(server) as port:
        scenario = make_scenario(port, steps or ["login", "quit"], load)
        changed = keys.pop("changes", {})
        if changed:
            scenario = Scenario.model_validate(scenario.model_dump(mode="json", by_alias=True) | changed)
        run = await run_engine(scenario, folder, **keys)
    check_books(run)
    return run


def check_books(run: EngineRun) -> None:
    counts = run.counts
    assert run.sessions_left == run.watched_left == 0
    assert run.planned == counts.started + counts.dropped + run.not_due
    assert counts.started == counts.succeeded + counts.failed + counts.interrupted
    assert len(run.sessions) == counts.started + counts.dropped


def due(run: EngineRun) -> list[int]:
    return sorted(row["intended_ns"] for row in run.sessions)


OPEN_LOADS = [
    {"executor": "ramping-arrival-rate", "stages": [{"duration": "400ms", "target": "200/s"}]},
    {"executor": "poisson-arrival-rate", "rate": "100/s", "duration": "400ms"},
    {"executor": "replay", "trace": "0.3\n0.1\n0.1\n0.25\n"},
    {"executor": "hold", "sessions": 10, "over": "200ms", "duration": "100ms"},
]


@pytest.mark.parametrize("load", OPEN_LOADS, ids=lambda load: load["executor"])
async def test_two_shards_offer_exactly_the_arrivals_of_the_plan(tmp_path: Path, load: dict[str, Any]) -> None:
    seen: list[tuple[int, int]] = []
    for shard in (0, 1):
        folder = tmp_path / str(shard)
        folder.mkdir()
        run = await drive({**load, "start_time": "50ms"}, folder, Server(), shard=(shard, 2))
        assert [row["outcome"] for row in run.sessions] == ["succeeded"] * len(run.sessions)
        seen += [(row["session"], row["intended_ns"]) for row in run.sessions]
    scenario = make_scenario(1, ["login", "quit"], {**load, "start_time": "50ms"})
    schedule = Plan(run_id="test", scenario=scenario).schedule("load")
    assert schedule is not None
    assert sorted(seen) == [(k, 50 * MS + schedule.instant_ns(k)) for k in range(schedule.count)]


async def test_arrivals_of_a_ramp_that_find_no_slot_are_drops_at_their_intended_start(tmp_path: Path) -> None:
    load = {**OPEN_LOADS[0], "max_sessions": 1, "graceful_stop": "50ms"}
    run = await drive(load, tmp_path, Server(), ["login", {"think": "10s"}, "quit"])
    outcomes = Counter(row["outcome"] for row in run.sessions)
    assert outcomes == {"interrupted": 1, "dropped": run.planned - 1}
    assert due(run)[-1] < 400 * MS


async def test_ramping_sessions_rise_and_fall(tmp_path: Path) -> None:
    server = Server()
    stages = [
        {"duration": "200ms", "target": 4},
        {"duration": "200ms", "target": 4},
        {"duration": "200ms", "target": 0},
    ]
    load = {"executor": "ramping-sessions", "stages": stages}
    run = await drive(load, tmp_path, server, ["login", {"think": "20ms"}, "quit"])
    assert server.most == 4
    assert {row["outcome"] for row in run.sessions} == {"succeeded"}
    assert len({row["session"] for row in run.sessions}) == len(run.sessions) > 8
    assert due(run)[0] == 50 * MS, "the first slot opens at a quarter of the ramp"
    assert max(due(run)) < 551 * MS, "no session begins once the line is below one"


async def test_slots_of_ramping_sessions_divide_over_shards(tmp_path: Path) -> None:
    stages = [{"duration": "300ms", "target": 5}]
    most = []
    for shard in (0, 1):
        folder = tmp_path / str(shard)
        folder.mkdir()
        server = Server()
        load = {"executor": "ramping-sessions", "start_sessions": 5, "stages": stages}
        await drive(load, folder, server, ["login", {"think": "30ms"}, "quit"], shard=(shard, 2))
        most.append(server.most)
    assert most == [3, 2]


async def test_a_probe_tries_until_it_succeeds_and_no_longer(tmp_path: Path) -> None:
    server = Server(refuse=3)
    run = await drive({"executor": "probe-until-success", "every": "60ms"}, tmp_path, server)
    assert [row["class"] for row in run.sessions] == ["busy-at-greeting"] * 3 + ["none"]
    assert [row["session"] for row in run.sessions] == [0, 1, 2, 3]
    first, *later = due(run)
    assert first == 0
    assert all(instant >= number * 60 * MS for number, instant in enumerate(later, 1))


async def test_a_probe_gives_up_at_its_end_and_only_one_shard_probes(tmp_path: Path) -> None:
    load = {"executor": "probe-until-success", "every": "50ms", "max_duration": "180ms"}
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    run = await drive(load, tmp_path / "a", Server(refuse=1000), shard=(0, 2))
    assert 1 <= len(run.sessions) <= 4
    assert (await drive(load, tmp_path / "b", Server(), shard=(1, 2))).sessions == []


async def test_held_sessions_are_all_open_together_and_then_quit(tmp_path: Path) -> None:
    server = Server()
    load = {"executor": "hold", "sessions": 20, "over": "100ms", "duration": "1500ms", "noop_every": "150ms"}
    run = await drive(load, tmp_path, server)
    assert server.most == 20
    assert [row["outcome"] for row in run.sessions] == ["succeeded"] * 20
    stays = [row for row in run.operations if row["operation"] == "hold"]
    assert len(stays) == 20
    assert all(row["end_ns"] >= 1600 * MS for row in stays)
    assert server.commands["NOOP"] >= 20
    assert server.commands["QUIT"] == 20


@pytest.mark.parametrize("ending", ["eof", "421"])
async def test_a_server_that_ends_a_held_session_is_noticed_at_once(tmp_path: Path, ending: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        if ending == "421":
            await peer.send("421 Timeout.")

    async with scripted_server(script) as port:
        load = {"executor": "hold", "sessions": 2, "duration": "60s"}
        run = await run_engine(make_scenario(port, ["login", "quit"], load), tmp_path, within_s=20)
    check_books(run)
    assert [row["class"] for row in run.sessions] == ["control-lost"] * 2
    assert [row["code"] for row in run.sessions] == [421 if ending == "421" else 0] * 2


@pytest.mark.parametrize("driver", ["storm", "aioftp"])
async def test_a_drain_lets_held_sessions_quit(tmp_path: Path, driver: str) -> None:
    server = Server()

    async def drain(dispatcher: Any) -> None:
        async with asyncio.timeout(20):
            while server.commands["PASS secret"] < 5:
                await asyncio.sleep(0.005)
        dispatcher.drain(dispatcher.work.reactor.clock())

    load = {"executor": "hold", "sessions": 5, "duration": "60s"}
    changes = {"client": {"driver": driver}}
    run = await drive(load, tmp_path, server, changes=changes, meanwhile=drain, within_s=20)
    assert [row["outcome"] for row in run.sessions] == ["succeeded"] * 5
    assert server.commands["QUIT"] == 5


async def test_a_mix_runs_its_flows_by_the_number_of_the_session(tmp_path: Path) -> None:
    server = Server()
    flows = {"a": {"steps": ["login", {"cwd": "/a"}, "quit"]}, "b": {"steps": ["login", {"cwd": "/b"}, "quit"]}}
    load = {"executor": "shared-iterations", "sessions": 4, "iterations": 40, "flow": {"a": 3, "b": 1}}
    run = await drive(load, tmp_path, server, changes={"flows": flows, "load": {"load": load}})
    plan = Plan(run_id="test", scenario=Scenario.model_validate(_mixed(flows, load)))
    counts = plan.flow_counts("load")
    assert counts is not None
    assert {name: server.commands[f"CWD /{name}"] for name in counts} == counts
    assert len(run.sessions) == 40


def _mixed(flows: dict[str, Any], load: dict[str, Any]) -> dict[str, Any]:
    return {"version": 1, "name": "x", "target": {"emulator": {}}, "flows": flows, "load": {"load": load}}


async def test_several_loads_start_at_their_own_times(tmp_path: Path) -> None:
    loads = {
        "late": {"executor": "burst", "sessions": 3, "start_time": "200ms", "flow": "flow"},
        "early": {"executor": "constant-arrival-rate", "rate": "50/s", "duration": "100ms", "flow": "flow"},
    }
    run = await drive({}, tmp_path, Server(), changes={"load": loads})
    by_load: dict[int, list[int]] = {0: [], 1: []}
    for row in run.sessions:
        by_load[row["load"]].append(row["intended_ns"])
    assert by_load[0] == [200 * MS] * 3
    assert sorted(by_load[1]) == [k * 20 * MS for k in range(5)]


@pytest.mark.parametrize("driver", ["storm", "aioftp"])
async def test_variables_and_accounts_reach_the_wire(tmp_path: Path, driver: str) -> None:
    server = Server()
    steps = ["login", {"cwd": "/{region}/{user}/{session}-{operation}-{worker}-{{x}}"}, "quit"]
    changes = {
        "client": {"driver": driver},
        "users": {"from": "never-read-here.csv"},
        "vars": {"region": ["eu", "us"]},
    }
    load = {"executor": "shared-iterations", "sessions": 1, "iterations": 3}
    accounts = [("anna", "pw-a"), ("bert", "pw-b")]
    await drive(load, tmp_path, server, steps, changes=changes, accounts=accounts)
    assert [peer.commands[0] for peer in server.peers] == ["USER anna", "USER bert", "USER anna"]
    assert [peer.commands[1] for peer in server.peers] == ["PASS pw-a", "PASS pw-b", "PASS pw-a"]
    paths = [line for peer in server.peers for line in peer.commands if line.startswith("CWD")]
    assert paths == ["CWD /eu/anna/0-1-0-{x}", "CWD /us/bert/1-1-0-{x}", "CWD /eu/anna/2-1-0-{x}"]


async def test_a_password_of_an_account_is_blotted_out_of_what_the_server_says(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.send("220 ready")
        await peer.expect("USER")
        await peer.send("331 go on")
        line = await peer.expect("PASS")
        await peer.send(f"530 {line} is wrong")

    async with scripted_server(script) as port:
        scenario = make_scenario(port, ["login"], {"sessions": 2})
        users = {"users": {"from": "x.csv", "pick": "random"}}
        scenario = Scenario.model_validate(scenario.model_dump(mode="json", by_alias=True) | users)
        accounts = [("anna", "hunter2-a"), ("bert", "hunter2-b")]
        run = await run_engine(scenario, tmp_path, accounts=accounts)
    assert set(run.texts.values()) == {"530 PASS *** is wrong"}
    assert "hunter2" not in run.counts.last_reply
    for spool in tmp_path.iterdir():
        assert b"hunter2" not in spool.read_bytes()
    assert spool_path(tmp_path, "worker-0", SESSIONS).exists()


async def test_payload_lists_are_taken_in_turn(tmp_path: Path, start_emulator: Any) -> None:
    sizes = {"a": 1000, "b": 2000, "c": 3000}
    emulator = start_emulator({"passive_ports": 20}, sizes)
    steps = ["login", {"retr": ["a", "b", "c"]}, {"retr": ["a", "b", "c"]}, {"stor": ["1KiB", "2KiB"]}, "quit"]
    load = {"executor": "shared-iterations", "sessions": 1, "iterations": 6}
    scenario = make_scenario(emulator.port, steps, load, files={name: f"{size}B" for name, size in sizes.items()})
    run = await run_engine(scenario, tmp_path)
    check_books(run)
    assert run.counts.failed == 0
    moved = {(row["session"], row["ordinal"]): row["bytes"] for row in run.operations if row["bytes"]}
    listed = list(sizes.values())
    for session in range(6):
        assert [moved[session, ordinal] for ordinal in (1, 2)] == [listed[(session + o) % 3] for o in (1, 2)]
        assert moved[session, 3] == (1024, 2048)[(session + 3) % 2]


@pytest.mark.parametrize("shards", [4, 2, 1])
async def test_shards_together_keep_to_max_sessions(tmp_path: Path, shards: int) -> None:
    load = {"executor": "burst", "sessions": 8, "max_sessions": 2}
    started = dropped = 0
    for shard in range(shards):
        folder = tmp_path / str(shard)
        folder.mkdir()
        run = await drive(load, folder, Server(), steps=["login", {"think": "300ms"}, "quit"], shard=(shard, shards))
        started += run.counts.started
        dropped += run.counts.dropped
    assert (started, dropped) == (2, 6)


async def test_more_shards_than_sessions_share_all_iterations(tmp_path: Path) -> None:
    load = {"executor": "shared-iterations", "sessions": 2, "iterations": 8}
    numbers: list[int] = []
    for shard in range(4):
        folder = tmp_path / str(shard)
        folder.mkdir()
        run = await drive(load, folder, Server(), shard=(shard, 4))
        assert (len(run.sessions) > 0) == (shard < 2), "no slot, no iteration"
        numbers += [row["session"] for row in run.sessions]
    assert sorted(numbers) == list(range(8))
