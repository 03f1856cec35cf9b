"""The driver aioftp against the engine's own: two implementations of the wire must say the same of one server."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ftpstorm.errors import ScenarioError
from ftpstorm.scenario.loader import load_text
from ftpstorm.vocabulary import TRANSFERS
from support import real_servers
from support.engine_run import EngineRun, make_scenario, run_engine
from support.scripted_server import Peer, reset, scripted_server

FILES = {"small.bin": 1024, "large.bin": 3_000_000}
SIZES = {name: f"{size}B" for name, size in FILES.items()}
DRIVERS = ("storm", "aioftp")
TRANSFER_WORDS = {operation.word for operation in TRANSFERS}


def said(run: EngineRun) -> dict[str, Any]:
    """What both drivers must agree on: outcomes, classes, codes, bytes and connects, whatever the time they took.

    Not the phase: whether a refusal or the end of the data connection is seen first is the network's doing.
    """
    operations = Counter(
        (row["operation"], row["outcome"], row["class"], row["code"] if row["class"] != "none" else 0,
         row["control_survived"], row["bytes"], row["mode"])
        for row in run.operations
    )  # fmt: skip
    sessions = Counter(
        (row["outcome"], row["class"], row["code"], row["control_survived"], row["bytes"],
         row["connects"], row["operations"])
        for row in run.sessions
    )  # fmt: skip
    texts = Counter(run.texts[row["text"]] for row in run.operations if row["text"])
    return {"operations": operations, "sessions": sessions, "texts": texts, "connects": run.counts.connects}


async def both(folder: Path, port: int, steps: list[Any], **keys: Any) -> tuple[EngineRun, EngineRun]:
    runs = []
    client = keys.pop("client", {})
    for driver in DRIVERS:
        spool = folder / driver
        spool.mkdir()
        scenario = make_scenario(port, steps, client={**client, "driver": driver}, files=SIZES, **keys)
        run = await run_engine(scenario, spool)
        assert run.sessions_left == run.watched_left == 0
        assert run.counts.started == run.counts.succeeded + run.counts.failed + run.counts.interrupted
        runs.append(run)
    return runs[0], runs[1]


@pytest.mark.parametrize("mode", ["epsv", "pasv", "auto"])
async def test_whole_sessions_on_the_emulator_leave_the_same_records(
    tmp_path: Path, start_emulator: Any, mode: str
) -> None:
    emulator = start_emulator({"passive_ports": 100}, FILES)
    steps = [
        "login", {"cwd": "/"}, "noop", {"retr": ["small.bin", "large.bin"]}, {"stor": "200KiB"}, "list", "mlsd",
        {"size": "small.bin"}, {"retr": "missing.bin"}, "pasv-only", "quit",
    ]  # fmt: skip
    load = {"executor": "shared-iterations", "sessions": 5, "iterations": 20}
    storm, aioftp = await both(tmp_path, emulator.port, steps, load=load, client={"mode": mode})
    assert said(aioftp) == said(storm)
    assert storm.counts.succeeded == 0, "every session has asked for a file that is not there"
    assert Counter(row["class"] for row in aioftp.operations) == {"none": 200, "file-error": 20}
    assert aioftp.counts.bytes == storm.counts.bytes > 20 * 200 * 1024
    for row in aioftp.operations:
        if row["operation"] in TRANSFER_WORDS and row["class"] == "none":
            keys = ("start_ns", "passive_ns", "data_connected_ns", "first_byte_ns", "data_end_ns", "end_ns")
            stamps = [row[key] for key in keys]
            assert stamps == sorted(stamps)
            assert row["passive_port"] in emulator.passive_ports
            assert row["data_port"] > 0


async def test_an_exhausted_pool_is_the_same_failure_and_control_lives_on(tmp_path: Path, start_emulator: Any) -> None:
    section = {"passive_ports": 4, "hold": {"for": "1h"}}
    said_by = []
    for driver in DRIVERS:
        emulator = start_emulator(section, FILES)
        spool = tmp_path / driver
        spool.mkdir()
        load = {"executor": "shared-iterations", "sessions": 1, "iterations": 10}
        scenario = make_scenario(
            emulator.port, ["login", {"retr": "small.bin"}, "quit"], load, client={"driver": driver}, files=SIZES
        )
        said_by.append(said(await run_engine(scenario, spool)))
    storm, aioftp = said_by
    assert aioftp == storm
    failed = [key for key in aioftp["operations"] if key[2] == "passive-exhausted"]
    assert [(key[3], key[4]) for key in failed] == [(425, 1)]
    assert aioftp["texts"] == {"425 Try later, data connection in use.": 6}


async def test_a_connection_cap_is_the_same_failure(tmp_path: Path, start_emulator: Any) -> None:
    for answer in ("421", "eof"):
        emulator = start_emulator({"max_connections": {"count": 1, "answer": answer}}, FILES)
        (tmp_path / answer).mkdir()
        hold = {"executor": "hold", "sessions": 3, "over": "300ms", "duration": "500ms"}
        storm, aioftp = await both(tmp_path / answer, emulator.port, ["login", "quit"], load=hold)
        assert said(aioftp) == said(storm)
        word = "busy-at-greeting" if answer == "421" else "greeting-eof"
        assert sorted(row["class"] for row in aioftp.sessions) == sorted([word, word, "none"])


async def test_both_say_the_same_of_vsftpd(tmp_path: Path, require: Any) -> None:
    require("vsftpd", real_servers.is_fetched("vsftpd"), "not unpacked; run scripts/fetch-servers vsftpd")
    steps = [
        "login", "list", {"retr": ["small.bin", "large.bin"]}, {"cwd": "in"}, {"stor": "200KiB"},
        {"retr": "missing.bin"}, "quit",
    ]  # fmt: skip
    load = {"executor": "shared-iterations", "sessions": 4, "iterations": 12}
    runs = []
    for driver in DRIVERS:
        spool = tmp_path / driver
        spool.mkdir()
        with real_servers.vsftpd() as server:
            sizes = {name: f"{(server.files / name).stat().st_size}B" for name in FILES}
            scenario = make_scenario(server.port, steps, load, client={"driver": driver}, files=sizes)
            runs.append(await run_engine(scenario, spool))
            uploads = [path.stat().st_size for path in (server.files / "in").iterdir()]
        assert uploads == [200 * 1024] * 12
    storm, aioftp = runs
    assert said(aioftp) == said(storm)
    assert Counter(row["class"] for row in aioftp.operations) == {"none": 72, "file-error": 12}


async def greeting_silent(peer: Peer) -> None:
    await peer.command()


async def greeting_reset(peer: Peer) -> None:
    peer.reset()


async def greeting_junk(peer: Peer) -> None:
    await peer.send(b"SSH-2.0-OpenSSH_9.6\r\n")


async def login_refused(peer: Peer) -> None:
    await peer.send("220 ready")
    await peer.expect("USER")
    await peer.send("530 no such user")
    await peer.command()


async def passive_then(peer: Peer, ending: str) -> None:
    """Serve a whole session whose only download ends as `ending` says; aioftp sets the type before each transfer."""
    await peer.send("220 ready")
    while line := await peer.command():
        verb = line.split(" ")[0]
        if verb == "EPSV":
            await peer.send(f"229 ok (|||{peer.listen()}|)")
        elif verb == "RETR":
            data = await peer.accept()
            await one_ending(peer, data, ending)
            if ending == "eof":
                return
        else:
            await peer.send({"USER": "331 go on", "PASS": "230 in", "QUIT": "221 bye"}.get(verb, "200 ok"))
            if verb == "QUIT":
                return


async def one_ending(peer: Peer, data: Any, ending: str) -> None:
    if ending == "425":
        data.close()
        await peer.send("425 no data connection")
        return
    await peer.send("150 here it comes")
    await asyncio.get_running_loop().sock_sendall(data, b"x" * 100)
    if ending == "reset":
        await asyncio.sleep(0)
        reset(data)
        await peer.send("426 aborted")
    elif ending == "426":
        data.close()
        await peer.send("426 aborted")
    elif ending == "short":
        data.close()
        await peer.send("226 done")
    else:
        data.close()


async def passive_short(peer: Peer) -> None:
    await passive_then(peer, "short")


async def passive_425(peer: Peer) -> None:
    await passive_then(peer, "425")


async def passive_426(peer: Peer) -> None:
    await passive_then(peer, "426")


async def passive_silent(peer: Peer) -> None:
    await passive_then(peer, "silent")


async def passive_eof(peer: Peer) -> None:
    await passive_then(peer, "eof")


@pytest.mark.parametrize(
    ("script", "word"),
    [
        (greeting_silent, "greeting-silent"),
        (greeting_junk, "protocol-error"),
        (login_refused, "auth-failed"),
        (passive_short, "transfer-short"),
        (passive_425, "data-not-established"),
        (passive_426, "transfer-aborted"),
        (passive_silent, "final-reply-timeout"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_a_misbehaving_server_is_named_alike(tmp_path: Path, script: Any, word: str) -> None:
    async with scripted_server(script) as port:
        client = {"timeouts": {"connect": "2s", "greeting": "300ms", "reply": "2s", "data": "300ms"}}
        steps = ["login", {"retr": "small.bin"}, "quit"]
        storm, aioftp = await both(tmp_path, port, steps, client=client, on_failure="end-session")
    assert storm.sessions[0]["class"] == word
    for column in ("outcome", "class", "control_survived", "code"):
        assert aioftp.sessions[0][column] == storm.sessions[0][column], column
    assert [row["class"] for row in aioftp.operations] == [row["class"] for row in storm.operations]


async def test_control_that_ends_in_the_middle_is_lost_with_both(tmp_path: Path) -> None:
    async with scripted_server(passive_eof) as port:
        runs = await both(tmp_path, port, ["login", {"retr": "small.bin"}, "quit"])
    for run in runs:
        assert run.sessions[0]["class"] == "control-lost"
        assert run.sessions[0]["control_survived"] == 0


async def test_a_reset_before_the_greeting_is_one_with_both(tmp_path: Path) -> None:
    async with scripted_server(greeting_reset) as port:
        runs = await both(tmp_path, port, ["login", "quit"])
    for run in runs:
        assert run.sessions[0]["class"] in ("greeting-reset", "control-connect-reset")


async def test_a_refused_connect_is_counted_and_named_by_both(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    for run in await both(tmp_path, port, ["login"], load={"sessions": 5}):
        assert [row["class"] for row in run.sessions] == ["control-connect-refused"] * 5
        assert run.counts.connects == 5


async def test_a_stop_interrupts_sessions_of_the_driver_and_the_books_balance(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.send("220 ready")
        while await peer.command():
            pass  # and never an answer

    async def stop(dispatcher: Any) -> None:
        async with asyncio.timeout(20):
            while not all(session.greeting_ns > 0 for session in dispatcher.sessions) or not dispatcher.sessions:
                await asyncio.sleep(0.005)
        dispatcher.stop(dispatcher.work.reactor.clock())

    async with scripted_server(script) as port:
        scenario = make_scenario(port, ["login", "quit"], {"sessions": 5}, client={"driver": "aioftp"})
        run = await run_engine(scenario, tmp_path, meanwhile=stop)
    assert [row["class"] for row in run.sessions] == ["none"] * 5
    assert [row["outcome"] for row in run.sessions] == ["interrupted"] * 5
    assert run.counts.interrupted == 5


def test_only_a_run_with_that_driver_imports_aioftp() -> None:
    code = "import sys, ftpstorm.engine.worker; sys.exit('aioftp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("client", "step", "place"),
    [
        ("{driver: aioftp, mode: active}", "noop", "client.mode"),
        ("{driver: aioftp, source_addresses: [127.0.0.1]}", "noop", "client.bind"),
        ("{driver: aioftp}", "abort: small.bin", "flows.f.steps.1.abort"),
        ("{driver: aioftp}", "retr: {file: small.bin, close: {with: rst}}", "flows.f.steps.1.retr.close"),
    ],
)
def test_what_the_driver_cannot_do_is_refused_with_its_place(client: str, step: str, place: str) -> None:
    text = f"""
version: 1
name: x
target: {{emulator: {{}}}}
client: {client}
files: {{small.bin: 1KiB}}
flows: {{f: {{steps: [login, {{{step}}}, quit]}}}}
load: {{l: {{executor: burst, sessions: 1, flow: f}}}}
""".replace("{noop}", "noop")
    with pytest.raises(ScenarioError) as caught:
        load_text(text, "f.yaml")
    assert [problem.path for problem in caught.value.problems] == [place]
    assert "aioftp" in caught.value.problems[0].message
