"""Whole sessions of the engine against a server whose every byte the test chooses."""

from __future__ import annotations

import asyncio
import gc
import socket
from pathlib import Path
from typing import Any

import pytest

from ftpstorm.engine.session import Session
from ftpstorm.records.schema import ABSENT
from support.engine_run import EngineRun, make_scenario, run_engine
from support.scripted_server import Peer, reset, scripted_server

FULL = ["login", {"retr": "f"}, "quit"]


async def drive(script: Any, folder: Path, steps: list[Any] = FULL, **keys: Any) -> EngineRun:
    async with scripted_server(script) as port:
        run = await run_engine(make_scenario(port, steps, **keys), folder)
    assert run.watched_left == 0
    assert run.sessions_left == 0
    counts = run.counts
    assert run.planned == counts.started + counts.dropped + run.not_due
    assert counts.started == counts.succeeded + counts.failed + counts.interrupted
    assert counts.connects == sum(session["connects"] for session in run.sessions)
    return run


async def serve_retr(peer: Peer, payload: bytes = b"x" * 10) -> None:
    await peer.passive()
    await peer.expect("RETR")
    data = await peer.accept()
    await peer.send("150 here it comes")
    await asyncio.get_running_loop().sock_sendall(data, payload)
    data.close()
    await peer.send("226 done")


async def test_a_whole_session_leaves_its_stamps_in_order(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await serve_retr(peer)
        await peer.quit()

    run = await drive(script, tmp_path)
    (session,) = run.sessions
    assert session["outcome"] == "succeeded"
    assert session["connects"] == 2
    assert session["bytes"] == 10
    assert session["control_survived"] == -1
    stamps = [session[key] for key in ("intended_ns", "start_ns", "connected_ns", "greeting_ns", "login_ns", "end_ns")]
    assert stamps == sorted(stamps)
    login, retr, quit_ = run.operations
    assert [login["operation"], retr["operation"], quit_["operation"]] == ["login", "retr", "quit"]
    assert retr["mode"] == "epsv"
    assert retr["code"] == 226
    assert retr["passive_port"] > 0
    assert retr["data_port"] > 0
    assert retr["bytes"] == 10
    stamps = [
        retr[key] for key in ("start_ns", "passive_ns", "data_connected_ns", "first_byte_ns", "data_end_ns", "end_ns")
    ]
    assert stamps == sorted(stamps)
    assert ABSENT not in stamps
    assert quit_["passive_ns"] == ABSENT


@pytest.mark.parametrize(
    ("end", "word"),
    [("silent", "greeting-silent"), ("eof", "greeting-eof"), ("421", "busy-at-greeting"), ("junk", "protocol-error")],
)
async def test_what_happens_instead_of_a_greeting_is_named(tmp_path: Path, end: str, word: str) -> None:
    async def script(peer: Peer) -> None:
        if end == "silent":
            await peer.command()
        elif end == "421":
            await peer.send("421 Too many connections")
        elif end == "junk":
            await peer.send(b"SSH-2.0-OpenSSH_9.6\r\n")

    run = await drive(script, tmp_path, client={"timeouts": {"greeting": "200ms"}})
    (session,) = run.sessions
    assert session["outcome"] == "failed"
    assert session["class"] == word
    assert session["control_survived"] == 0
    assert run.operations == []
    assert run.counts.unreachable_streak == 1


async def test_a_reset_before_the_greeting_is_a_reset(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        peer.reset()

    run = await drive(script, tmp_path)
    assert run.sessions[0]["class"] == "greeting-reset"
    assert run.sessions[0]["errno"] == 104


async def test_a_refused_connect_is_counted_and_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    run = await run_engine(make_scenario(port, FULL, {"sessions": 20}), tmp_path)
    assert [session["class"] for session in run.sessions] == ["control-connect-refused"] * 20
    assert run.counts.connects == 20
    assert run.watched_left == 0


async def test_120_only_delays_the_greeting(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.send("120 in a minute")
        await peer.login()
        await peer.quit()

    run = await drive(script, tmp_path, ["login", "quit"])
    assert run.sessions[0]["outcome"] == "succeeded"


async def test_a_busy_login_is_not_an_authentication_failure(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.send("220 ready")
        await peer.expect("USER")
        await peer.send("331 password")
        await peer.expect("PASS")
        await peer.send("530 Sorry, the maximum number of allowed clients (5) are already connected.")

    run = await drive(script, tmp_path, ["login"])
    assert run.classes() == ["busy-at-login"]


async def test_425_keeps_control_and_the_flow_goes_on(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.expect("EPSV")
        await peer.send("425 Try later, data connection in use.")
        await peer.quit()

    run = await drive(script, tmp_path)
    assert run.classes() == ["none", "passive-exhausted", "none"]
    failed = run.operations[1]
    assert failed["code"] == 425
    assert failed["control_survived"] == 1
    assert run.texts[failed["text"]] == "425 Try later, data connection in use."
    assert run.sessions[0]["outcome"] == "failed"
    assert run.sessions[0]["control_survived"] == 1


async def test_control_that_dies_on_the_next_command_did_not_survive(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.expect("EPSV")
        await peer.send("500 OOPS: vsf_sysutil_bind")
        await peer.command()

    run = await drive(script, tmp_path)
    assert run.classes() == ["none", "passive-exhausted", "control-lost"]
    assert [operation["control_survived"] for operation in run.operations] == [-1, 0, 0]


@pytest.mark.parametrize("words", ["500 OOPS: priv_sock_get_int", "421 Service not available."])
async def test_last_words_are_no_sign_of_life(words: str, tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.expect("EPSV")
        await peer.send("500 OOPS: vsf_sysutil_bind")
        await peer.expect("QUIT")
        await peer.send(words)

    run = await drive(script, tmp_path)
    assert run.classes() == ["none", "passive-exhausted", "control-lost"]
    assert [operation["control_survived"] for operation in run.operations] == [-1, 0, 0]
    assert run.sessions[0]["control_survived"] == 0


async def test_control_that_is_lost_has_not_survived_whatever_is_said_after(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        for command in ("NOOP", "NOOP", "QUIT"):
            await peer.expect(command)
            await peer.send("500 OOPS: child died")

    run = await drive(script, tmp_path, ["login", "noop", "noop", "quit"])
    assert run.classes() == ["none", "control-lost", "control-lost", "control-lost"]
    assert [operation["control_survived"] for operation in run.operations] == [-1, 0, 0, 0]


async def test_a_transfer_that_began_is_a_sign_of_life_before_control_is_lost(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.expect("EPSV")
        await peer.send("425 no")
        await peer.passive()
        await peer.expect("RETR")
        await peer.send("150 go")
        await peer.send("500 OOPS: priv_sock_get_int")

    run = await drive(script, tmp_path, ["login", {"retr": "small.bin"}, {"retr": "small.bin"}, "quit"])
    assert run.operations[1]["class"] == "passive-exhausted"
    assert run.operations[1]["control_survived"] == 1


async def test_end_session_stops_the_flow_and_control_had_survived(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.expect("EPSV")
        await peer.send("425 no")
        assert await peer.command() == ""

    run = await drive(script, tmp_path, on_failure="end-session")
    assert run.classes() == ["none", "passive-exhausted"]
    assert run.operations[1]["control_survived"] == 1


async def test_a_retry_is_a_record_of_its_own(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        for _ in range(2):
            await peer.expect("EPSV")
            await peer.send("425 no")
        await serve_retr(peer)
        await peer.quit()

    run = await drive(script, tmp_path, on_failure={"retry": {"on": [425], "times": 3, "wait": "10ms"}})
    retr = [operation for operation in run.operations if operation["operation"] == "retr"]
    assert [(operation["ordinal"], operation["attempt"], operation["class"]) for operation in retr] == [
        (1, 0, "passive-exhausted"),
        (1, 1, "passive-exhausted"),
        (1, 2, "none"),
    ]
    assert run.sessions[0]["outcome"] == "succeeded", "every step succeeded in the end"
    assert run.sessions[0]["class"] == "none"
    assert run.sessions[0]["operations"] == 5
    assert run.sessions[0]["operations_failed"] == 2


async def test_a_code_that_is_not_listed_is_not_retried(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.passive()
        await peer.expect("RETR")
        await peer.send("550 no such file")
        await peer.quit()

    run = await drive(script, tmp_path, on_failure={"retry": {"on": [425], "times": 3, "wait": "10ms"}})
    assert run.classes() == ["none", "file-error", "none"]


async def test_auto_falls_back_to_pasv_and_remembers(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        for _ in range(2):
            line = await peer.command()
            if line == "EPSV":
                await peer.send("500 what?")
                line = await peer.command()
            assert line == "PASV"
            port = peer.listen()
            await peer.send(f"227 ok 0,0,0,0,{port >> 8},{port & 255}")  # no parentheses, address to be ignored
            await peer.expect("RETR")
            data = await peer.accept()
            await peer.send("150 go")
            data.close()
            await peer.send("226 done")
        assert peer.commands.count("EPSV") == 1
        await peer.quit()

    run = await drive(script, tmp_path, ["login", {"retr": "f"}, {"retr": "f"}, "quit"], client={"mode": "auto"})
    assert run.classes() == ["none"] * 4
    assert [operation["mode"] for operation in run.operations] == ["none", "pasv", "pasv", "none"]


@pytest.mark.parametrize("reply", ["229 nothing", "229 (|||0|)", "229 (|||70000|)"])
async def test_a_useless_passive_reply_is_a_protocol_error(tmp_path: Path, reply: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.expect("EPSV")
        await peer.send(reply)
        await peer.quit()

    run = await drive(script, tmp_path)
    assert run.classes() == ["none", "protocol-error", "none"]


@pytest.mark.parametrize(
    ("last_words", "word", "code"),
    [
        (b"227 Entering Passive Mode (127,0,0,1,200,1", "control-lost", 0),
        (b"227 Entering Passive Mode (127,0", "control-lost", 0),
        (b"227 Entering Passive Mode (no address)\r\n", "protocol-error", 227),
    ],
)
async def test_a_passive_reply_cut_off_by_the_end_is_a_lost_connection(
    tmp_path: Path, last_words: bytes, word: str, code: int
) -> None:
    """What is left of it may look like a whole one: port 51201 in place of 51215."""

    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.expect("PASV")
        peer.writer.write(last_words)
        peer.writer.close()

    run = await drive(script, tmp_path, ["login", {"retr": "f"}, "quit"], client={"mode": "pasv"})
    failed = run.operations[1]
    assert (failed["class"], failed["code"]) == (word, code)
    assert run.sessions[0]["connects"] == 1


@pytest.mark.parametrize("host", ["192,0,2,9", "127,0,0,9", "0,0,0,0"])
async def test_another_host_in_pasv_is_not_followed(tmp_path: Path, host: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.expect("PASV")
        port = peer.listen()
        await peer.send(f"227 ok ({host},{port >> 8},{port & 255})")
        await peer.expect("RETR")
        data = await peer.accept()
        await peer.send("150 go")
        data.close()
        await peer.send("226 done")
        await peer.quit()

    run = await drive(script, tmp_path, client={"mode": "pasv"})
    assert run.classes() == ["none"] * 3
    assert run.counts.foreign_hosts == 1, "not followed, and told"


async def test_a_third_host_in_pasv_is_refused_where_the_scenario_says_so(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.expect("PASV")
        await peer.send("227 ok (127,0,0,9,4,1)")
        await peer.quit()

    run = await drive(script, tmp_path, client={"mode": "pasv", "pasv_address": "refuse"})
    assert run.classes() == ["none", "protocol-error", "none"]
    assert run.counts.foreign_hosts == 1


async def test_a_refused_data_connection(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.expect("EPSV")
        port = peer.listen()
        peer._listener.close()
        await peer.send(f"229 ok (|||{port}|)")
        await peer.quit()

    run = await drive(script, tmp_path)
    assert run.classes() == ["none", "data-connect-refused", "none"]
    assert run.operations[1]["control_survived"] == 1


@pytest.mark.parametrize("order", ["226-first", "150-late", "no-150"])
async def test_the_order_of_replies_and_data_does_not_matter(tmp_path: Path, order: str) -> None:
    payload = b"y" * 300_000

    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.passive()
        await peer.expect("RETR")
        data = await peer.accept()
        loop = asyncio.get_running_loop()
        if order == "226-first":
            await peer.send("150 go", "226 done already")
            await loop.sock_sendall(data, payload)
            data.close()
        elif order == "150-late":
            await loop.sock_sendall(data, payload)
            data.close()
            await peer.send("150 by the way")
            await peer.send("226 done")
        else:
            await loop.sock_sendall(data, payload)
            data.close()
            await peer.send("250 done")
        await peer.quit()

    run = await drive(script, tmp_path)
    assert run.classes() == ["none"] * 3
    assert run.operations[1]["bytes"] == len(payload)


async def test_a_short_file_is_short_where_its_size_is_known(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await serve_retr(peer, b"only this")
        await peer.quit()

    run = await drive(script, tmp_path, files={"f": "1KiB"})
    assert run.classes() == ["none", "transfer-short", "none"]
    assert run.operations[1]["bytes"] == 9


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        ("425 Can't open data connection.", "data-not-established"),
        ("550 no such file", "file-error"),
        ("426 gone", "transfer-aborted"),
    ],
)
async def test_a_refused_transfer_command(tmp_path: Path, reply: str, word: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.passive()
        await peer.expect("RETR")
        await peer.send(reply)
        await peer.quit()

    run = await drive(script, tmp_path)
    assert run.classes() == ["none", word, "none"]
    assert run.operations[1]["control_survived"] == 1


async def test_a_reset_data_connection_is_aborted_and_the_426_is_read(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.passive()
        await peer.expect("RETR")
        data = await peer.accept()
        await peer.send("150 go")
        await asyncio.get_running_loop().sock_sendall(data, b"part")
        reset(data)
        await peer.send("426 aborted")
        await peer.quit()

    run = await drive(script, tmp_path)
    assert run.classes() == ["none", "transfer-aborted", "none"]
    # Either connection's event may be delivered first: the RST itself, or the server's word on it.
    assert run.operations[1]["errno"] == 104 or run.operations[1]["code"] == 426


async def test_silence_on_the_data_connection_is_a_stall_and_control_goes_on_when_it_answers(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.passive()
        await peer.expect("RETR")
        data = await peer.accept()
        await peer.send("150 go")
        await asyncio.get_running_loop().sock_sendall(data, b"part")
        with pytest.raises(ConnectionResetError):
            await asyncio.get_running_loop().sock_recv(data, 1)
        data.close()
        await peer.send("426 you left")
        await peer.quit()

    run = await drive(script, tmp_path, client={"timeouts": {"data": "150ms"}})
    assert run.classes() == ["none", "transfer-stalled", "none"]
    assert run.operations[1]["control_survived"] == 1


async def test_a_final_reply_that_never_comes_ends_the_session(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.passive()
        await peer.expect("RETR")
        data = await peer.accept()
        await peer.send("150 go")
        data.close()
        assert await peer.command() == ""

    run = await drive(script, tmp_path, client={"timeouts": {"data": "150ms"}})
    assert run.classes() == ["none", "final-reply-timeout"]
    assert run.operations[1]["control_survived"] == 0


async def test_a_reply_that_never_comes_ends_the_session(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.expect("NOOP")
        assert await peer.command() == ""

    run = await drive(script, tmp_path, ["login", "noop", "quit"], client={"timeouts": {"reply": "150ms"}})
    assert run.classes() == ["none", "reply-timeout"]


async def test_421_at_any_moment_is_the_loss_of_control(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.expect("NOOP")
        await peer.send("421 Timeout.")

    run = await drive(script, tmp_path, ["login", "noop", "quit"])
    assert run.classes() == ["none", "control-lost"]
    assert run.operations[1]["code"] == 421
    assert run.operations[1]["control_survived"] == 0


async def test_an_upload_sends_all_bytes_and_closes_first(tmp_path: Path) -> None:
    received = bytearray()

    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.passive()
        assert await peer.expect("STOR") == "STOR up-0-1.bin"
        data = await peer.accept()
        await peer.send("150 send it")
        while chunk := await asyncio.get_running_loop().sock_recv(data, 65536):
            received.extend(chunk)
        data.close()
        await peer.send("226 got it")
        await peer.quit()

    size = 3 * 1024 * 1024 + 17
    run = await drive(
        script, tmp_path, ["login", {"stor": {"file": "up-{session}-{operation}.bin", "size": f"{size}B"}}, "quit"]
    )
    assert run.classes() == ["none"] * 3
    assert len(received) == size == run.operations[1]["bytes"]
    assert received[:256] == bytes(range(256))


async def test_an_upload_waits_for_150_and_is_not_started_by_a_refusal(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.passive()
        await peer.expect("STOR")
        data = await peer.accept()
        await peer.send("553 not allowed")
        assert await asyncio.get_running_loop().sock_recv(data, 1) == b""
        data.close()
        await peer.quit()

    run = await drive(script, tmp_path, ["login", {"stor": "1MiB"}, "quit"])
    assert run.classes() == ["none", "file-error", "none"]
    assert run.operations[1]["bytes"] == 0


async def test_a_download_that_the_client_closes_first(tmp_path: Path) -> None:
    closed_by_client = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.passive()
        await peer.expect("RETR")
        data = await peer.accept()
        await peer.send("150 go")
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(data, b"z" * 1024)
        assert await loop.sock_recv(data, 1) == b""  # the client's FIN, before ours
        closed_by_client.set()
        data.close()
        await peer.send("226 done")
        await peer.quit()

    steps = ["login", {"retr": {"file": "f", "close": {"first": "client"}}}, "quit"]
    run = await drive(script, tmp_path, steps, files={"f": "1KiB"})
    assert closed_by_client.is_set()
    assert run.classes() == ["none"] * 3


async def test_passive_only_asks_and_never_connects(tmp_path: Path) -> None:
    """The port that was offered is on record all the same."""

    async def script(peer: Peer) -> None:
        await peer.login()
        for _ in range(3):
            await peer.passive()
        await peer.quit()

    run = await drive(script, tmp_path, ["login", {"repeat": {"times": 3, "steps": ["pasv-only"]}}, "quit"])
    assert run.classes() == ["none"] * 5
    assert all(row["passive_port"] > 0 for row in run.operations[1:4])
    assert run.sessions[0]["connects"] == 1


async def test_a_port_outside_the_declared_range_is_reported_though_it_works(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await serve_retr(peer)
        await peer.quit()

    run = await drive(script, tmp_path, target={"passive_ports": "10000-10019"})
    assert run.classes() == ["none", "passive-out-of-range", "none"]
    assert run.operations[1]["bytes"] == 10


async def test_the_password_is_blotted_out_of_replies(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.send("220 ready")
        await peer.expect("USER")
        await peer.send("331 password")
        line = await peer.expect("PASS")
        await peer.send(f"530 {line} is wrong")

    run = await drive(script, tmp_path)
    assert list(run.texts.values()) == ["530 PASS *** is wrong"]
    assert b"secret" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


async def test_a_reply_split_at_every_byte_is_understood(tmp_path: Path) -> None:
    class Dribbling(Peer):
        async def send(self, *lines: bytes | str) -> None:
            for line in lines:
                for byte in line if isinstance(line, bytes) else line.encode() + b"\r\n":
                    self.writer.write(bytes([byte]))
                    await self.writer.drain()
                    await asyncio.sleep(0)

    async def script(peer: Peer) -> None:
        slow = Dribbling(peer.reader, peer.writer)
        await slow.login()
        await serve_retr(slow)
        await slow.quit()

    run = await drive(script, tmp_path)
    assert run.classes() == ["none"] * 3


# --- loads ------------------------------------------------------------------------------------------------------------


async def polite(peer: Peer) -> None:
    await peer.login()
    while line := await peer.command():
        if line == "QUIT":
            await peer.send("221 bye")
            return
        await peer.send("200 ok")


async def test_an_arrival_without_a_free_slot_is_a_counted_drop(tmp_path: Path) -> None:
    release = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.expect("NOOP")
        await release.wait()
        await peer.send("200 ok")

    async def meanwhile(dispatcher: Any) -> None:
        while dispatcher.work.journal.counts.dropped < 15:
            await asyncio.sleep(0.01)
        release.set()

    async with scripted_server(script) as port:
        load = {"executor": "constant-arrival-rate", "rate": "200/s", "duration": "100ms", "max_sessions": 5}
        scenario = make_scenario(port, ["login", "noop"], load)
        run = await run_engine(scenario, tmp_path, meanwhile=meanwhile)
    assert run.counts.dropped == 15
    assert run.counts.succeeded == 5
    drops = [session for session in run.sessions if session["outcome"] == "dropped"]
    assert len(drops) == 15
    assert all(drop["start_ns"] == ABSENT and drop["intended_ns"] >= 0 for drop in drops)


async def test_shared_iterations_are_all_done_by_so_many_at_a_time(tmp_path: Path) -> None:
    open_now, most = 0, 0

    async def script(peer: Peer) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        try:
            await polite(peer)
        finally:
            open_now -= 1

    async with scripted_server(script) as port:
        scenario = make_scenario(
            port, ["login", "noop", "quit"], {"executor": "shared-iterations", "sessions": 4, "iterations": 50}
        )
        run = await run_engine(scenario, tmp_path)
    assert run.counts.succeeded == 50
    assert sorted(session["session"] for session in run.sessions) == list(range(50))
    assert most <= 4 + 1  # the server may see a new one before it notices the end of an old one


async def test_drain_starts_no_more_and_lets_sessions_finish(tmp_path: Path) -> None:
    release = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.expect("NOOP")
        await release.wait()
        await peer.send("200 ok")

    async def meanwhile(dispatcher: Any) -> None:
        while dispatcher.work.journal.counts.started < 3:
            await asyncio.sleep(0.005)
        dispatcher.drain(dispatcher.work.reactor.clock())
        release.set()

    async with scripted_server(script) as port:
        load = {"executor": "constant-arrival-rate", "rate": "50/s", "duration": "1h"}
        scenario = make_scenario(port, ["login", "noop"], load)
        run = await run_engine(scenario, tmp_path, meanwhile=meanwhile)
    assert run.counts.interrupted == 0
    assert run.counts.succeeded == run.counts.started >= 3
    assert run.not_due == 50 * 3600 - run.counts.started - run.counts.dropped


async def test_stop_interrupts_what_is_under_way(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.expect("NOOP")
        assert await peer.command() == ""

    async def meanwhile(dispatcher: Any) -> None:
        while dispatcher.work.journal.counts.operations < 7:
            await asyncio.sleep(0.005)
        dispatcher.stop(dispatcher.work.reactor.clock())

    async with scripted_server(script) as port:
        scenario = make_scenario(port, ["login", "noop"], {"sessions": 7})
        run = await run_engine(scenario, tmp_path, meanwhile=meanwhile)
    assert run.counts.interrupted == 7
    assert [session["outcome"] for session in run.sessions] == ["interrupted"] * 7
    assert [op["outcome"] for op in run.operations if op["operation"] == "noop"] == ["interrupted"] * 7
    assert run.watched_left == 0


async def test_a_load_whose_grace_is_over_interrupts_its_sessions(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.command()
        await peer.command()

    async with scripted_server(script) as port:
        scenario = make_scenario(port, ["login", "noop"], {"sessions": 3, "graceful_stop": "200ms"})
        run = await run_engine(scenario, tmp_path)
    assert run.counts.interrupted == 3


async def test_shards_together_start_exactly_the_plan(tmp_path: Path) -> None:
    async with scripted_server(polite) as port:
        scenario = make_scenario(port, ["login", "quit"], {"sessions": 25, "over": "100ms"})
        folders = [tmp_path / str(shard) for shard in range(3)]
        for folder in folders:
            folder.mkdir()
        runs = [await run_engine(scenario, folder, shard=(shard, 3)) for shard, folder in enumerate(folders)]
    numbers = sorted(session["session"] for run in runs for session in run.sessions)
    assert numbers == list(range(25))
    assert [run.planned for run in runs] == [9, 8, 8]


async def test_a_thousand_sessions_at_once_leave_nothing_behind(tmp_path: Path) -> None:
    gc.collect()
    gc.disable()
    files = len(list(Path("/proc/self/fd").iterdir()))
    try:
        async with scripted_server(polite) as port:
            scenario = make_scenario(
                port,
                ["login", "noop", "quit"],
                {"sessions": 1000},
                client={"timeouts": {"connect": "60s", "greeting": "60s", "reply": "60s", "data": "60s"}},
            )
            run = await run_engine(scenario, tmp_path, within_s=120)
        assert run.counts.succeeded == 1000
        left = [thing for thing in gc.get_objects() if isinstance(thing, Session)]
        assert left == [], "a session that only the collector could free would grow a worker that runs without it"
    finally:
        gc.enable()
    assert len(list(Path("/proc/self/fd").iterdir())) == files


async def test_sessions_that_transferred_and_failed_leave_no_cycle_either(tmp_path: Path) -> None:
    """An exception holds the frames it came through, a data connection its session: each would be a cycle."""

    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.expect("EPSV")
        await peer.send("425 no")
        await serve_retr(peer)
        await peer.expect("NOOP")  # and no answer: the session ends by its deadline

    gc.collect()
    gc.disable()
    try:
        async with scripted_server(script) as port:
            steps = ["login", {"retr": "f"}, {"retr": "f"}, "noop"]
            scenario = make_scenario(port, steps, {"sessions": 20}, client={"timeouts": {"reply": "300ms"}})
            run = await run_engine(scenario, tmp_path)
        assert run.counts.failed == 20
        assert run.counts.transfers_succeeded == 20
        assert [thing for thing in gc.get_objects() if isinstance(thing, Session)] == []
    finally:
        gc.enable()


async def test_a_session_interrupted_in_a_transfer_leaves_no_cycle(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.passive()
        await peer.expect("RETR")
        data = await peer.accept()
        await peer.send("150 go")
        begun.set()
        try:
            await peer.command()
        finally:
            data.close()

    async def meanwhile(dispatcher: Any) -> None:
        await begun.wait()
        dispatcher.stop(dispatcher.work.reactor.clock())

    gc.collect()
    gc.disable()
    try:
        async with scripted_server(script) as port:
            run = await run_engine(make_scenario(port, ["login", {"retr": "f"}]), tmp_path, meanwhile=meanwhile)
        assert run.counts.interrupted == 1
        assert [thing for thing in gc.get_objects() if isinstance(thing, Session)] == []
    finally:
        gc.enable()
