"""FTP beyond plain passive transfers: active mode, IPv6, REST, ABOR, checks of what came, who closes and how."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ftpstorm.engine.verification import LINE
from ftpstorm.records.schema import ABSENT
from support.engine_run import EngineRun, make_scenario, run_engine
from support.scripted_server import Peer, scripted_server

FULL = ["login", {"retr": "f"}, "quit"]
Script = Callable[[Peer], Awaitable[None]]


async def drive(
    script: Script, folder: Path, steps: list[Any] = FULL, host: str = "127.0.0.1", **keys: Any
) -> EngineRun:
    async with scripted_server(script, host) as port:
        scenario = make_scenario(port, steps, target={"host": host, **keys.pop("target", {})}, **keys)
        run = await run_engine(scenario, folder)
    assert run.watched_left == run.sessions_left == 0
    assert run.counts.started == run.counts.succeeded + run.counts.failed
    assert run.counts.connects == sum(session["connects"] for session in run.sessions)
    return run


@pytest.fixture(scope="session")
def ipv6(require: Callable[[str, bool, str], None]) -> None:
    """Skip where this host has no ::1."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        require("ipv6", False, f"no IPv6 loopback here: {error}")


def sendall(data: socket.socket, payload: bytes) -> Awaitable[None]:
    return asyncio.get_running_loop().sock_sendall(data, payload)


async def recv_all(data: socket.socket) -> bytes:
    received = bytearray()
    while chunk := await asyncio.get_running_loop().sock_recv(data, 65_536):
        received += chunk
    return bytes(received)


async def serve_active(peer: Peer, verb: str, payload: bytes = b"x" * 10) -> None:
    line = await peer.expect(verb)
    await peer.send("200 noted")
    command = await peer.command()
    await peer.send("150 connecting")
    data = await peer.connect_back(line)
    if command.startswith("STOR"):
        await recv_all(data)
    else:
        await sendall(data, payload)
    data.close()
    await peer.send("226 done")


# --- active mode ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "verb"), [("active", "PORT"), ("eprt", "EPRT")])
async def test_in_active_mode_the_server_connects(tmp_path: Path, mode: str, verb: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await serve_active(peer, verb)
        await serve_active(peer, verb)
        await peer.quit()

    steps = ["login", {"retr": "f"}, {"stor": "300KiB"}, "quit"]
    run = await drive(script, tmp_path, steps, client={"mode": mode})
    assert run.classes() == ["none"] * 4
    _, retr, stor, _ = run.operations
    assert retr["mode"] == stor["mode"] == verb.lower()
    assert retr["bytes"] == 10
    assert stor["bytes"] == 300 * 1024
    assert retr["passive_port"] > 0
    assert retr["data_port"] > 0
    stamps = [
        retr[key] for key in ("start_ns", "passive_ns", "data_connected_ns", "first_byte_ns", "data_end_ns", "end_ns")
    ]
    assert stamps == sorted(stamps)
    assert ABSENT not in stamps
    assert run.sessions[0]["connects"] == 1, "the kernel counts the server's connect as the server's"


@pytest.mark.parametrize("mode", ["active", "eprt"])
async def test_over_ipv6_active_mode_is_eprt(tmp_path: Path, ipv6: None, mode: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await serve_active(peer, "EPRT")
        assert peer.commands[-2].startswith("EPRT |2|::1|")
        await peer.quit()

    run = await drive(script, tmp_path, host="::1", client={"mode": mode})
    assert run.classes() == ["none"] * 3
    assert run.operations[1]["mode"] == "eprt"


async def test_a_transfer_may_be_active_where_the_client_is_passive(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await serve_active(peer, "PORT")
        await peer.quit()

    run = await drive(script, tmp_path, ["login", {"retr": {"file": "f", "mode": "active"}}, "quit"])
    assert run.classes() == ["none"] * 3


async def test_active_ports_are_taken_in_turn_and_their_own_exhaustion_shows(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        first = min(probe.getsockname()[1], 65_530)
    seen: list[int] = []

    async def script(peer: Peer) -> None:
        await peer.login()
        while (line := await peer.command()) != "QUIT":
            seen.append(int(line.split(",")[4]) << 8 | int(line.split(",")[5]))
            await peer.send("200 noted")
            await peer.expect("STOR")
            await peer.send("150 send")
            data = await peer.connect_back(f"PORT {line.split(' ')[1]}")
            await recv_all(data)
            data.close()
            await peer.send("226 got it")
        await peer.send("221 bye")

    steps = ["login", {"repeat": {"times": 4, "steps": [{"stor": "1B"}]}}, "quit"]
    run = await drive(script, tmp_path, steps, client={"mode": "active", "active_ports": f"{first}-{first + 2}"})
    # The client closes uploads first: each leaves its port in TIME_WAIT, and after three there is none.
    assert sorted(set(seen)) == sorted(seen)
    assert run.classes() == ["none"] + ["none"] * len(seen) + ["local-ports-exhausted"] * (4 - len(seen)) + ["none"]
    assert len(seen) <= 3
    failed = run.operations[4]
    assert (failed["class"], failed["phase"], failed["errno"]) == ("local-ports-exhausted", "data-connect", 98)
    assert failed["control_survived"] == 1


@pytest.mark.parametrize(
    ("answers", "word"),
    [
        (["500 Illegal PORT command."], "unsupported"),
        (["425 no"], "data-not-established"),
        (["200 noted", "425 Can't open data connection."], "data-not-established"),
        (["200 noted", "150 trying", "425 Can't open data connection."], "data-not-established"),
        (["200 noted", "550 no such file"], "file-error"),
    ],
)
async def test_a_server_that_does_not_connect_says_why(tmp_path: Path, answers: list[str], word: str) -> None:
    announced: list[int] = []

    async def script(peer: Peer) -> None:
        await peer.login()
        announced.append(_port(await peer.expect("PORT")))
        await peer.send(answers[0])
        if len(answers) > 1:
            await peer.expect("RETR")
            await peer.send(*answers[1:])
        await peer.quit()

    run = await drive(script, tmp_path, client={"mode": "active"})
    assert run.classes() == ["none", word, "none"]
    assert run.operations[1]["control_survived"] == 1
    assert [run.operations[1]["data_port"]] == announced


async def test_a_server_that_never_connects_is_a_timeout_and_its_word_is_still_read(tmp_path: Path) -> None:
    turned_away: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.login()
        address = ("127.0.0.1", _port(await peer.expect("PORT")))
        await peer.send("200 noted")
        await peer.expect("RETR")
        await peer.send("150 trying")
        with pytest.raises(ConnectionRefusedError):  # until the listener is gone
            while True:
                with socket.socket() as stranger:
                    stranger.setblocking(False)
                    stranger.bind(("127.0.0.3", 0))
                    with contextlib.suppress(ConnectionResetError):  # the listener went with us in its queue
                        await asyncio.get_running_loop().sock_connect(stranger, address)
                        turned_away.append(await asyncio.get_running_loop().sock_recv(stranger, 1))
        await peer.send("425 gave up")
        await peer.quit()

    run = await drive(script, tmp_path, client={"mode": "active", "timeouts": {"connect": "200ms"}})
    assert run.classes() == ["none", "data-connect-timeout", "none"]
    assert run.operations[1]["control_survived"] == 1
    assert set(turned_away) == {b""}, "a connection from another address than the server's is none of ours"


def _port(line: str) -> int:
    numbers = line.split(",")
    return int(numbers[4]) << 8 | int(numbers[5])


async def test_control_lost_before_the_server_connects(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.expect("PORT")
        await peer.send("200 noted")
        await peer.expect("RETR")

    run = await drive(script, tmp_path, client={"mode": "active"})
    assert run.classes() == ["none", "control-lost"]


# --- IPv6 -------------------------------------------------------------------------------------------------------------


async def test_passive_transfers_over_ipv6(tmp_path: Path, ipv6: None) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.passive()
        await peer.expect("RETR")
        data = await peer.accept()
        await peer.send("150 go")
        await sendall(data, b"x" * 10)
        data.close()
        await peer.send("226 done")
        await peer.quit()

    run = await drive(
        script, tmp_path, host="::1", client={"mode": "auto", "source_addresses": ["::1"], "bind": "port"}
    )
    assert run.classes() == ["none"] * 3
    assert run.operations[1]["bytes"] == 10


async def test_pasv_over_ipv6_is_unsupported_and_nothing_is_sent(tmp_path: Path, ipv6: None) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.quit()

    run = await drive(script, tmp_path, host="::1", client={"mode": "pasv"})
    assert run.classes() == ["none", "unsupported", "none"]
    assert "PASV cannot name an IPv6 address" in run.texts[run.operations[1]["text"]]


async def test_auto_does_not_fall_back_to_pasv_over_ipv6(tmp_path: Path, ipv6: None) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.expect("EPSV")
        await peer.send("500 what?")
        await peer.quit()

    run = await drive(script, tmp_path, host="::1", client={"mode": "auto"})
    assert run.classes() == ["none", "unsupported", "none"]


# --- steps ------------------------------------------------------------------------------------------------------------


async def test_plain_commands_go_out_as_written(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        answers = {"SIZE": "213 10", "MKD": '257 "d" made', "CWD": "250 in", "DELE": "250 gone", "TYPE": "200 ok"}
        while (line := await peer.command()) != "QUIT":
            await peer.send(answers[line.split(" ")[0]])
        assert peer.commands[3:] == ["SIZE f", "MKD d", "CWD d", "DELE f", "TYPE A", "QUIT"]
        await peer.send("221 bye")

    steps = ["login", {"size": "f"}, {"mkd": "d"}, {"cwd": "d"}, {"dele": "f"}, {"type": "A"}, "quit"]
    run = await drive(script, tmp_path, steps)
    assert run.classes() == ["none"] * 7
    assert [operation["operation"] for operation in run.operations[1:6]] == ["size", "mkd", "cwd", "dele", "type"]


async def test_append_sends_its_bytes(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.passive()
        assert await peer.expect("APPE") == "APPE log"
        data = await peer.accept()
        await peer.send("150 go")
        assert len(await recv_all(data)) == 5000
        data.close()
        await peer.send("226 done")
        await peer.quit()

    run = await drive(script, tmp_path, ["login", {"appe": {"file": "log", "size": "5000B"}}, "quit"])
    assert run.classes() == ["none"] * 3
    assert run.counts.transfers_succeeded == 1


@pytest.mark.parametrize("mode", ["epsv", "active"])
async def test_rest_comes_right_before_the_transfer_and_the_rest_is_what_is_expected(tmp_path: Path, mode: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        for verb in ("RETR", "STOR"):
            line = ""
            if mode == "epsv":
                await peer.passive()
            else:
                line = await peer.expect("PORT")
                await peer.send("200 noted")
            assert await peer.expect("REST") == "REST 1000"
            await peer.send("350 ready")
            await peer.expect(verb)
            data = await (peer.accept() if mode == "epsv" else peer.connect_back(line))
            await peer.send("150 go")
            if verb == "RETR":
                await sendall(data, b"x" * 24)
            else:
                assert len(await recv_all(data)) == 7
            data.close()
            await peer.send("226 done")
        await peer.quit()

    steps = ["login", {"retr": {"file": "f", "offset": "1000B"}}, {"stor": {"size": "7B", "offset": "1000B"}}, "quit"]
    run = await drive(script, tmp_path, steps, files={"f": "1KiB"}, client={"mode": mode})
    assert run.classes() == ["none"] * 4


async def test_a_server_without_rest_refuses_and_goes_on(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.passive()
        await peer.expect("REST")
        await peer.send("502 not here")
        await peer.quit()

    run = await drive(script, tmp_path, ["login", {"retr": {"file": "f", "offset": "1B"}}, "quit"])
    assert run.classes() == ["none", "unsupported", "none"]
    assert run.operations[1]["control_survived"] == 1


# --- ABOR -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answers", [("426 aborted", "226 done"), ("226 aborted", "426 gone"), ("226 all sent", "225 nothing")]
)
@pytest.mark.parametrize("after", ["0s", "50ms", "1KiB"])
async def test_abort_takes_both_answers_in_either_order(tmp_path: Path, answers: tuple[str, str], after: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.passive()
        await peer.expect("RETR")
        data = await peer.accept()
        await peer.send("150 go")
        await sendall(data, b"x" * 2000)
        assert await peer.command() == "ABOR"
        data.close()
        await peer.send(answers[0])
        await peer.send(answers[1])
        await peer.expect("NOOP")
        await peer.send("200 in step")
        await peer.quit()

    run = await drive(script, tmp_path, ["login", {"abort": {"retr": "big", "after": after}}, "noop", "quit"])
    assert run.classes() == ["none"] * 4
    assert run.operations[1]["operation"] == "abort"
    if after == "1KiB":
        assert run.operations[1]["bytes"] >= 1024


@pytest.mark.parametrize("inline", [False, True])
async def test_abort_with_telnet_signals_is_whole_for_servers_that_read_urgent_data_in_line_or_not(
    tmp_path: Path, inline: bool
) -> None:
    lines: list[bytes] = []

    async def script(peer: Peer) -> None:
        if inline:
            peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        await peer.login()
        await peer.passive()
        await peer.expect("RETR")
        data = await peer.accept()
        await peer.send("150 go")
        lines.append(await peer.reader.readline())
        data.close()
        await peer.send("426 aborted", "226 done")
        await peer.quit()

    run = await drive(script, tmp_path, ["login", {"abort": {"retr": "big", "signal": "telnet"}}, "quit"])
    assert run.classes() == ["none"] * 3
    assert lines == [b"\xff\xf4\xff\xf2ABOR\r\n" if inline else b"\xff\xf4\xf2ABOR\r\n"]


async def test_abort_of_an_upload_and_the_client_closing_first(tmp_path: Path) -> None:
    received: list[int] = []

    async def script(peer: Peer) -> None:
        await peer.login()
        for _ in range(2):
            await peer.passive()
            await peer.expect("STOR")
            data = await peer.accept()
            await peer.send("150 go")
            got = 0
            with contextlib.suppress(ConnectionResetError):
                got = len(await recv_all(data))
            received.append(got)
            assert await peer.command() == "ABOR"
            data.close()
            await peer.send("426 aborted", "226 done")
        await peer.quit()

    first = {"abort": {"stor": "10MiB", "after": "1KiB", "close": {"first": "client"}}}
    second = {"abort": {"stor": "64KiB", "after": "20ms", "close": {"first": "client", "with": "rst"}}}
    run = await drive(script, tmp_path, ["login", first, second, "quit"])
    assert run.classes() == ["none"] * 4
    assert received[0] == 1024


@pytest.mark.parametrize(
    ("answers", "word"),
    [
        (["550 no such file"], "file-error"),
        (["150 go", "426 aborted", "502 no ABOR here"], "unsupported"),
        (["150 go", "226 aborted"], "final-reply-timeout"),
        (["150 go", "421 enough"], "control-lost"),
    ],
)
async def test_an_abort_that_goes_wrong_is_named(tmp_path: Path, answers: list[str], word: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.passive()
        await peer.expect("RETR")
        data = await peer.accept()
        await peer.send(answers[0])
        if len(answers) > 1:
            await peer.expect("ABOR")
            await peer.send(*answers[1:])
        data.close()
        while (line := await peer.command()) not in ("", "QUIT"):
            pass
        if line:
            await peer.send("221 bye")

    run = await drive(
        script, tmp_path, ["login", {"abort": {"retr": "f", "after": "50ms"}}, "quit"],
        client={"timeouts": {"reply": "300ms"}},
    )  # fmt: skip
    assert run.classes()[:2] == ["none", word]


async def test_a_timer_of_an_abort_does_not_wake_a_later_step(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.passive()
        await peer.expect("RETR")
        data = await peer.accept()
        await peer.send("150 go")
        data.close()  # ends long before the abort is due
        await peer.send("226 done")
        await peer.expect("ABOR")
        await peer.send("225 nothing to abort")
        await peer.quit()

    steps = ["login", {"abort": {"retr": "f", "after": "150ms"}}, {"think": "400ms"}, "quit"]
    run = await drive(script, tmp_path, steps)
    assert run.classes() == ["none"] * 4
    think = run.operations[2]
    assert think["end_ns"] - think["start_ns"] >= 400_000_000


# --- verification -----------------------------------------------------------------------------------------------------


def content(size: int) -> bytes:
    return (LINE * (size // len(LINE) + 1))[:size]


async def serve_file(peer: Peer, payload: bytes) -> None:
    await peer.passive()
    if await peer.command() == "REST 100":
        await peer.send("350 ok")
        payload = payload[100:]
        await peer.command()
    data = await peer.accept()
    await peer.send("150 go")
    await sendall(data, payload)
    data.close()
    await peer.send("226 done")


@pytest.mark.parametrize(
    ("payload", "options", "word"),
    [
        (content(700_000), {"verify": "pattern"}, "none"),
        (content(700_000), {"verify": "pattern", "offset": "100B"}, "none"),
        (content(699_999) + b"!", {"verify": "pattern"}, "transfer-corrupt"),
        (content(350_000) + b"\0" + content(349_999), {"verify": "pattern"}, "transfer-corrupt"),
        (b"abc" * 1000, {"verify": f"sha256:{hashlib.sha256(b'abc' * 1000).hexdigest()}"}, "none"),
        (b"abd" * 1000, {"verify": f"sha256:{hashlib.sha256(b'abc' * 1000).hexdigest()}"}, "transfer-corrupt"),
        (b"abc", {"verify": "size"}, "none"),
    ],
)
async def test_the_bytes_of_a_download_are_checked(tmp_path: Path, payload: bytes, options: Any, word: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.expect("SIZE")
        await peer.send(f"213 {len(payload)}")
        for _ in range(2):
            await serve_file(peer, payload)
        await peer.quit()

    step = {"retr": {"file": "f", **options}}
    run = await drive(script, tmp_path, ["login", step, step, "quit"])
    assert run.classes() == ["none", word, word, "none"]


async def test_a_download_shorter_than_size_says_is_short(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.expect("SIZE")
        await peer.send("213 11")
        await serve_file(peer, b"x" * 10)
        await peer.quit()

    run = await drive(script, tmp_path, ["login", {"retr": {"file": "f", "verify": "size"}}, "quit"])
    assert run.classes() == ["none", "transfer-short", "none"]


@pytest.mark.parametrize(
    ("answer", "word"), [("213 107", "none"), ("213 106", "transfer-short"), ("213 x", "protocol-error")]
)
async def test_the_size_of_an_upload_is_asked_for_afterwards(tmp_path: Path, answer: str, word: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.passive()
        await peer.expect("REST")
        await peer.send("350 ok")
        await peer.expect("STOR")
        data = await peer.accept()
        await peer.send("150 go")
        await recv_all(data)
        data.close()
        await peer.send("226 done")
        assert await peer.expect("SIZE") == "SIZE up"
        await peer.send(answer)
        await peer.quit()

    step = {"stor": {"file": "up", "size": "7B", "offset": "100B", "verify": "size"}}
    run = await drive(script, tmp_path, ["login", step, "quit"])
    assert run.classes() == ["none", word, "none"]


# --- who closes, and how ----------------------------------------------------------------------------------------------


async def test_a_half_closed_upload_waits_for_the_servers_close(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.passive()
        await peer.expect("STOR")
        data = await peer.accept()
        await peer.send("150 go")
        assert len(await recv_all(data)) == 400_000
        await sendall(data, b"a parting word")  # a client that had closed would answer with a reset
        data.close()
        await peer.send("226 done")
        await peer.quit()

    step = {"stor": {"size": "400000B", "close": {"with": "half"}}}
    run = await drive(script, tmp_path, ["login", step, "quit"])
    assert run.classes() == ["none"] * 3


async def test_a_half_closed_download(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.passive()
        await peer.expect("RETR")
        data = await peer.accept()
        await peer.send("150 go")
        await sendall(data, b"z" * 1024)
        assert await recv_all(data) == b""  # the client's FIN, before ours
        data.close()
        await peer.send("226 done")
        await peer.quit()

    step = {"retr": {"file": "f", "close": {"first": "client", "with": "half"}}}
    run = await drive(script, tmp_path, ["login", step, "quit"], files={"f": "1KiB"})
    assert run.classes() == ["none"] * 3


@pytest.mark.parametrize("how", ["fin", "rst", "half"])
async def test_the_client_can_close_control_first(tmp_path: Path, how: str) -> None:
    ends: list[str] = []

    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.quit()
        try:
            ends.append("fin" if await peer.reader.read() == b"" else "data")
        except ConnectionResetError:
            ends.append("rst")

    steps = ["login", {"quit": {"close": {"first": "client", "with": how}}}]
    async with scripted_server(script) as port:
        run = await run_engine(make_scenario(port, steps), tmp_path)
        async with asyncio.timeout(10):
            while not ends:  # the server hears of it a moment after the engine is done
                await asyncio.sleep(0.005)
    assert run.sessions[0]["outcome"] == "succeeded"
    assert ends == ["rst" if how == "rst" else "fin"]


async def test_keepalive_is_set_on_control(tmp_path: Path) -> None:
    asked, seen = asyncio.Event(), []

    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.expect("NOOP")
        asked.set()
        await release.wait()
        await peer.send("200 ok")

    release = asyncio.Event()

    async def meanwhile(dispatcher: Any) -> None:
        await asked.wait()
        (session,) = dispatcher.sessions
        with socket.socket(fileno=os.dup(session.control.sock.fileno())) as sock:
            seen.append(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
            seen.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE))
        release.set()

    async with scripted_server(script) as port:
        scenario = make_scenario(port, ["login", "noop"], client={"keepalive": "6500ms"})
        run = await run_engine(scenario, tmp_path, meanwhile=meanwhile)
    assert run.classes() == ["none"] * 2
    assert seen == [1, 7]


# --- the greeting nudge -----------------------------------------------------------------------------------------------

NUDGE = {"greeting_nudge": "50ms", "timeouts": {"greeting": "400ms", "reply": "2s"}}


@pytest.mark.parametrize("answer", ["200 ok", "530 Please login with USER and PASS."])
async def test_a_slow_greeting_after_a_nudge_keeps_replies_in_step(tmp_path: Path, answer: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.expect("NOOP")  # its kernel acknowledges at once; the server is slow
        await peer.send("220 at last")
        await asyncio.sleep(0)
        await peer.send(answer)
        await peer.expect("USER")
        await peer.send("230 in")
        await peer.expect("TYPE")
        await peer.send("200 ok")
        await peer.quit()

    run = await drive(script, tmp_path, ["login", "quit"], client=NUDGE)
    assert run.sessions[0]["outcome"] == "succeeded"


async def test_a_slow_server_stays_silent_and_its_kernel_has_acknowledged(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.expect("NOOP")
        assert await peer.command() == ""

    run = await drive(script, tmp_path, client=NUDGE)
    (session,) = run.sessions
    assert (session["class"], session["errno"]) == ("greeting-silent", 0)


async def test_a_reset_after_the_nudge_is_a_reset(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.expect("NOOP")
        peer.reset()

    run = await drive(script, tmp_path, client=NUDGE)
    (session,) = run.sessions
    assert (session["class"], session["errno"]) == ("greeting-reset", 104)


async def test_an_early_greeting_is_not_nudged(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.quit()

    run = await drive(script, tmp_path, ["login", "quit"], client={**NUDGE, "greeting_nudge": "10s"})
    assert run.sessions[0]["outcome"] == "succeeded"


# --- against the emulator ---------------------------------------------------------------------------------------------

EVERYTHING = [
    "login",
    {"retr": {"file": "f", "verify": "pattern"}},
    {"retr": {"file": "f", "offset": "123457B", "verify": "pattern"}},
    {"retr": {"file": "f", "verify": "size", "close": {"first": "client", "with": "half"}}},
    {"stor": {"size": "300KiB", "close": {"with": "half"}}},
    {"size": "f"},
    {"cwd": "/"},
    {"type": "I"},
    {"abort": {"retr": "huge", "after": "10KiB"}},
    {"abort": {"retr": "huge", "after": "20ms", "close": {"first": "client"}}},
    {"abort": {"stor": "1GiB", "after": "20ms"}},
    "noop",
    {"quit": {"close": {"first": "client", "with": "half"}}},
]
FILES = {"f": 700_001, "huge": 1 << 36}


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_the_emulator_stands_all_of_it(
    tmp_path: Path, start_emulator: Callable[..., Any], ipv6: None, host: str
) -> None:
    emulator = start_emulator({"passive_ports": 20}, FILES, host=host)
    scenario = make_scenario(
        emulator.port, EVERYTHING, target={"host": host}, client={"mode": "auto"}, files={"f": "700001B"}
    )
    run = await run_engine(scenario, tmp_path)
    assert run.classes() == ["none"] * len(EVERYTHING), run.texts
    assert [operation["mode"] for operation in run.operations].count("epsv") == 7


async def test_the_emulator_has_no_active_mode(tmp_path: Path, start_emulator: Callable[..., Any]) -> None:
    emulator = start_emulator({"passive_ports": 20}, FILES)
    run = await run_engine(make_scenario(emulator.port, FULL, client={"mode": "active"}), tmp_path)
    assert run.classes() == ["none", "unsupported", "none"]
