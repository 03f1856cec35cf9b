"""FTPS of the engine: against a server whose every byte the test chooses. Real servers: test_engine_tls_servers.py."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import socket
import ssl
import struct
import termios
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ftpstorm.engine import session as session_module
from ftpstorm.engine.secure import SecureData
from ftpstorm.engine.session import Session
from ftpstorm.engine.tls import TlsStream
from ftpstorm.records.schema import ABSENT
from support.engine_run import EngineRun, make_scenario, run_engine
from support.real_servers import Certificates, make_certificates
from support.scripted_server import Peer, reset, scripted_server
from support.tls_peer import CutError, TlsPeer

FULL = ["login", {"retr": "f"}, "quit"]
PATIENT = {"timeouts": {"connect": "60s", "greeting": "60s", "reply": "60s", "data": "60s"}}

Script = Callable[[TlsPeer], Awaitable[None]]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def context(request: pytest.FixtureRequest, certificates: Certificates) -> ssl.SSLContext:
    return certificates.server_context(request.param)


async def drive(
    script: Script, context: ssl.SSLContext, certificates: Certificates, folder: Path, **keys: Any
) -> EngineRun:
    async def serve(peer: Peer) -> None:
        await script(TlsPeer(peer, context))

    tls = {"mode": "explicit", "ca_file": certificates.ca_file, **keys.pop("tls", {})}
    steps = keys.pop("steps", FULL)
    keys.setdefault("client", PATIENT)
    async with scripted_server(serve) as port:
        run = await run_engine(make_scenario(port, steps, target={"tls": tls}, **keys), folder)
    assert run.watched_left == 0
    assert run.sessions_left == 0
    counts = run.counts
    assert run.planned == counts.started + counts.dropped + run.not_due
    assert counts.started == counts.succeeded + counts.failed + counts.interrupted
    assert counts.connects == sum(session["connects"] for session in run.sessions)
    return run


async def serve_retr(peer: TlsPeer, payload: bytes = b"x" * 10) -> None:
    await peer.passive()
    await peer.expect("RETR")
    connection = await peer.peer.accept()
    await peer.send("150 here it comes")
    data = peer.data(connection)
    await data.shake_hands()
    await data.send(payload)
    await data.close_notify()
    connection.close()
    await peer.send("226 done")


async def polite(peer: TlsPeer) -> None:
    await peer.explicit()
    await peer.login()
    await serve_retr(peer)
    await peer.quit()


# --- the control connection -------------------------------------------------------------------------------------------


async def test_explicit_tls_begins_between_the_greeting_and_the_login(
    tmp_path: Path, context: ssl.SSLContext, certificates: Certificates
) -> None:
    run = await drive(polite, context, certificates, tmp_path)
    (session,) = run.sessions
    assert session["outcome"] == "succeeded"
    assert session["bytes"] == 10
    names = ("start_ns", "connected_ns", "greeting_ns", "tls_ns", "login_ns", "end_ns")
    stamps = [session[name] for name in names]
    assert ABSENT not in stamps
    assert stamps == sorted(stamps)
    retr = run.operations[1]
    names = ("start_ns", "passive_ns", "data_connected_ns", "first_byte_ns", "data_end_ns", "end_ns")
    stamps = [retr[name] for name in names]
    assert ABSENT not in stamps
    assert stamps == sorted(stamps)
    assert run.counts.data_handshakes == 1


async def test_implicit_tls_begins_before_the_greeting(
    tmp_path: Path, context: ssl.SSLContext, certificates: Certificates
) -> None:
    async def script(peer: TlsPeer) -> None:
        await peer.channel.shake_hands()
        await peer.send("220 ready")
        await peer.protection()
        await peer.login()
        await serve_retr(peer)
        await peer.quit()

    run = await drive(script, context, certificates, tmp_path, tls={"mode": "implicit"})
    (session,) = run.sessions
    assert session["outcome"] == "succeeded"
    assert session["connected_ns"] <= session["tls_ns"] <= session["greeting_ns"] <= session["login_ns"]


async def test_prot_c_leaves_data_connections_in_plain_text(
    tmp_path: Path, context: ssl.SSLContext, certificates: Certificates
) -> None:
    async def script(peer: TlsPeer) -> None:
        await peer.explicit("C")
        await peer.login()
        await peer.passive()
        await peer.expect("RETR")
        connection = await peer.peer.accept()
        await peer.send("150 here it comes")
        await asyncio.get_running_loop().sock_sendall(connection, b"plain")
        connection.close()
        await peer.send("226 done")
        await peer.quit()

    run = await drive(script, context, certificates, tmp_path, tls={"prot": "C"})
    assert run.classes() == ["none", "none", "none"]
    assert run.sessions[0]["bytes"] == 5


async def test_ciphertext_may_be_split_at_every_byte(
    tmp_path: Path, context: ssl.SSLContext, certificates: Certificates
) -> None:
    async def script(peer: TlsPeer) -> None:
        await peer.explicit()
        await peer.expect("USER")
        await peer.send("331-first", "331 password", piece=1)
        await peer.expect("PASS")
        await peer.send("230 in", piece=1)
        await peer.expect("TYPE")
        await peer.send("200 binary")
        await peer.quit()

    run = await drive(script, context, certificates, tmp_path, steps=["login", "quit"])
    assert run.classes() == ["none", "none"]


@pytest.mark.parametrize(
    ("answer", "word", "code"),
    [
        ("500 what?", "tls-failed", 500),
        ("530 log in first", "tls-failed", 530),
        ("534 policy", "tls-failed", 534),
        ("421 going down", "control-lost", 421),
    ],
)
async def test_a_refusal_of_auth_tls_is_named(
    tmp_path: Path, certificates: Certificates, answer: str, word: str, code: int
) -> None:
    async def script(peer: TlsPeer) -> None:
        await peer.peer.send("220 ready")
        await peer.peer.expect("AUTH")
        await peer.peer.send(answer)
        assert await peer.peer.command() == "", "nothing may be sent in plain text after a refused AUTH"

    run = await drive(script, certificates.server_context(), certificates, tmp_path)
    (session,) = run.sessions
    assert (session["class"], session["phase"], session["code"]) == (word, "tls", code)
    assert session["greeting_ns"] != ABSENT
    assert session["tls_ns"] == ABSENT
    assert run.operations == []


async def test_a_refusal_of_prot_ends_the_session_before_its_login(tmp_path: Path, certificates: Certificates) -> None:
    async def script(peer: TlsPeer) -> None:
        await peer.peer.send("220 ready")
        await peer.peer.expect("AUTH")
        await peer.peer.send("234 go on")
        await peer.channel.shake_hands()
        await peer.expect("PBSZ")
        await peer.send("200 ok")
        await peer.expect("PROT")
        await peer.send("536 not that level")
        assert await peer.command() == ""

    run = await drive(script, certificates.server_context(), certificates, tmp_path)
    (session,) = run.sessions
    assert (session["class"], session["phase"], session["code"]) == ("tls-failed", "tls", 536)


@pytest.mark.parametrize("deed", ["silence", "eof", "reset", "reply", "junk"])
async def test_a_handshake_that_fails_is_tls_failed(tmp_path: Path, certificates: Certificates, deed: str) -> None:
    async def script(peer: TlsPeer) -> None:
        await peer.peer.send("220 ready")
        await peer.peer.expect("AUTH")
        await peer.peer.send("234 go on")
        await peer.peer.reader.read(5)
        if deed == "silence":
            await peer.peer.reader.read()
        elif deed == "reset":
            peer.peer.reset()
        elif deed == "reply":
            await peer.peer.send("500 OOPS: no key")
            await peer.peer.reader.read()
        elif deed == "junk":
            await peer.peer.send(bytes(range(100)))
            await peer.peer.reader.read()

    brief = {"timeouts": {**PATIENT["timeouts"], "reply": "1s"}}
    client = brief if deed == "silence" else PATIENT
    run = await drive(script, certificates.server_context(), certificates, tmp_path, client=client)
    (session,) = run.sessions
    assert (session["class"], session["phase"]) == ("tls-failed", "tls")
    assert session["control_survived"] == 0
    if deed == "reply":
        assert session["code"] == 500
        assert run.texts[session["text"]] == "500 OOPS: no key"


async def test_an_implicit_handshake_with_a_plain_server_tells_what_it_said(
    tmp_path: Path, certificates: Certificates
) -> None:
    async def script(peer: TlsPeer) -> None:
        await peer.peer.send("220 plain and simple")
        await peer.peer.reader.read()

    run = await drive(script, certificates.server_context(), certificates, tmp_path, tls={"mode": "implicit"})
    (session,) = run.sessions
    assert session["class"] == "tls-failed"
    assert run.texts[session["text"]] == "220 plain and simple"


async def test_replies_that_were_slipped_in_before_the_handshake_are_not_believed(
    tmp_path: Path, certificates: Certificates
) -> None:
    async def script(peer: TlsPeer) -> None:
        await peer.peer.send("220 ready")
        await peer.peer.expect("AUTH")
        await peer.peer.send(b"234 go on\r\n200 PBSZ=0\r\n200 PROT\r\n230 in\r\n")
        await peer.peer.reader.read()

    run = await drive(script, certificates.server_context(), certificates, tmp_path)
    (session,) = run.sessions
    assert (session["class"], session["phase"]) == ("tls-failed", "tls")
    assert "plain text" in run.texts[session["text"]]


@pytest.mark.parametrize("piece", [1, 1000])
@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("500 OOPS: vsf_sysutil_bind", "passive-exhausted"),
        ("500 OOPS: child died", "passive-exhausted"),
        ("421 Timeout.", "passive-exhausted"),  # as in plain text: at PASV a 421 means that no port is free
    ],
)
async def test_a_plain_reply_inside_tls_is_the_servers_last_word(
    tmp_path: Path, context: ssl.SSLContext, certificates: Certificates, text: str, word: str, piece: int
) -> None:
    async def script(peer: TlsPeer) -> None:
        await peer.explicit()
        await peer.login()
        await peer.expect("EPSV")
        line = text.encode() + b"\r\n"
        for at in range(0, len(line), piece):
            await peer.peer.send(line[at : at + piece])

    run = await drive(script, context, certificates, tmp_path)
    assert run.classes() == ["none", word]
    retr = run.operations[1]
    assert (retr["phase"], retr["control_survived"]) == ("passive", 0)
    assert retr["code"] == int(text[:3])
    assert run.texts[retr["text"]] == text


async def test_a_plain_reply_inside_tls_elsewhere_means_that_control_is_lost(
    tmp_path: Path, context: ssl.SSLContext, certificates: Certificates
) -> None:
    async def script(peer: TlsPeer) -> None:
        await peer.explicit()
        await peer.expect("USER")
        await peer.peer.send("500 OOPS: cannot change directory:/nowhere")

    run = await drive(script, context, certificates, tmp_path)
    (login,) = run.operations
    assert (login["class"], login["phase"], login["control_survived"]) == ("control-lost", "login", 0)
    assert run.texts[login["text"]] == "500 OOPS: cannot change directory:/nowhere"


async def test_control_that_ends_inside_tls_is_lost(
    tmp_path: Path, context: ssl.SSLContext, certificates: Certificates
) -> None:
    async def script(peer: TlsPeer) -> None:
        await peer.explicit()
        await peer.login()
        await peer.expect("EPSV")

    run = await drive(script, context, certificates, tmp_path)
    assert run.classes() == ["none", "control-lost"]


# --- certificates -----------------------------------------------------------------------------------------------------


async def handshake_only(peer: TlsPeer) -> None:
    await peer.peer.send("220 ready")
    await peer.peer.expect("AUTH")
    await peer.peer.send("234 go on")
    with pytest.raises((ssl.SSLError, CutError)):
        await peer.channel.shake_hands()
        await peer.channel.receive()


@pytest.mark.parametrize("why", ["authority", "name"])
async def test_a_certificate_that_does_not_prove_the_server_is_refused(
    tmp_path: Path, context: ssl.SSLContext, certificates: Certificates, why: str
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    wrong = {"ca_file": make_certificates(other).ca_file} if why == "authority" else {"server_name": "ftp.example"}
    run = await drive(handshake_only, context, certificates, tmp_path, tls=wrong)
    (session,) = run.sessions
    assert (session["class"], session["phase"]) == ("tls-failed", "tls")
    text = run.texts[session["text"]]
    assert text.startswith("certificate verify failed: ")
    assert ("ftp.example" in text) == (why == "name")


async def test_a_system_that_does_not_know_the_authority_refuses_by_default(
    tmp_path: Path, context: ssl.SSLContext, certificates: Certificates
) -> None:
    run = await drive(handshake_only, context, certificates, tmp_path, tls={"ca_file": None})
    assert run.sessions[0]["class"] == "tls-failed"


@pytest.mark.parametrize("tls", [{"verify": False, "ca_file": None}, {"server_name": "localhost"}])
async def test_a_scenario_may_check_less_or_another_name(
    tmp_path: Path, context: ssl.SSLContext, certificates: Certificates, tls: dict[str, Any]
) -> None:
    run = await drive(polite, context, certificates, tmp_path, tls=tls)
    assert run.classes() == ["none", "none", "none"]


async def test_a_version_that_the_server_lacks_is_tls_failed(tmp_path: Path, certificates: Certificates) -> None:
    context = certificates.server_context(ssl.TLSVersion.TLSv1_2)
    run = await drive(handshake_only, context, certificates, tmp_path, tls={"min_version": "1.3"})
    assert run.sessions[0]["class"] == "tls-failed"


# --- data connections -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reuse", [True, False])
async def test_data_connections_resume_controls_session_unless_told_not_to(
    tmp_path: Path, context: ssl.SSLContext, certificates: Certificates, reuse: bool
) -> None:
    seen: list[bool] = []

    async def script(peer: TlsPeer) -> None:
        await peer.explicit()
        await peer.login()
        for _ in range(3):
            await peer.passive()
            await peer.expect("RETR")
            connection = await peer.peer.accept()
            await peer.send("150 here it comes")
            data = peer.data(connection)
            await data.shake_hands()
            seen.append(bool(data.object.session_reused))
            await data.send(b"x")
            await data.close_notify()
            connection.close()
            await peer.send("226 done")
        await peer.quit()

    steps = ["login", {"repeat": {"times": 3, "steps": [{"retr": "f"}]}}, "quit"]
    run = await drive(script, context, certificates, tmp_path, steps=steps, tls={"session_reuse": reuse})
    assert run.sessions[0]["outcome"] == "succeeded"
    assert seen == [reuse] * 3
    assert (run.counts.data_handshakes, run.counts.data_resumed) == (3, 3 * reuse)


@pytest.mark.parametrize("size", [0, 1, 100_000, 3_000_000])
async def test_an_upload_arrives_whole_and_ends_with_close_notify(
    tmp_path: Path, context: ssl.SSLContext, certificates: Certificates, size: int
) -> None:
    received = bytearray()

    async def script(peer: TlsPeer) -> None:
        await peer.explicit()
        await peer.login()
        await peer.passive()
        await peer.expect("STOR")
        connection = await peer.peer.accept()
        await peer.send("150 go ahead")
        data = peer.data(connection)
        await data.shake_hands()
        while part := await data.receive():  # CutError where the client's FIN comes first
            received.extend(part)
        assert await asyncio.get_running_loop().sock_recv(connection, 1) == b"", "FIN, not a reset"
        connection.close()
        await peer.send("226 done")
        await peer.quit()

    steps = ["login", {"stor": {"size": f"{size}B"}}, "quit"]
    run = await drive(script, context, certificates, tmp_path, steps=steps)
    assert run.classes() == ["none", "none", "none"]
    assert bytes(received) == (bytes(range(256)) * (size // 256 + 1))[:size]
    assert run.operations[1]["bytes"] == size


async def sent_all_it_can(connection: socket.socket) -> None:
    """Return when what waits to be read has stopped growing."""
    seen, still = -1, 0
    while still < 20:
        await asyncio.sleep(0.005)
        waiting = struct.unpack("i", fcntl.ioctl(connection, termios.FIONREAD, bytes(4)))[0]
        still = still + 1 if waiting == seen and waiting > 0 else 0
        seen = waiting


async def test_tickets_that_come_late_cost_an_upload_nothing(tmp_path: Path, certificates: Certificates) -> None:
    """TLS 1.3: a client that closed with the end of its upload would answer them with a reset, and lose that end."""
    size = 400_000  # more than the server's window, less than the client's send buffer
    received = bytearray()

    async def script(peer: TlsPeer) -> None:
        await peer.explicit()
        await peer.login()
        await peer.passive()
        await peer.expect("STOR")
        connection = await peer.peer.accept()
        await peer.send("150 go ahead")
        data = peer.data(connection)
        await data.shake_hands(before_last=lambda: sent_all_it_can(connection))
        while part := await data.receive():
            received.extend(part)
        connection.close()
        await peer.send("226 done")
        await peer.quit()

    context = certificates.server_context()
    run = await drive(script, context, certificates, tmp_path, steps=["login", {"stor": {"size": f"{size}B"}}, "quit"])
    assert run.classes() == ["none", "none", "none"]
    assert len(received) == size


async def test_a_server_that_keeps_an_uploads_connection_open_does_not_hold_the_session(
    tmp_path: Path, context: ssl.SSLContext, certificates: Certificates
) -> None:
    async def script(peer: TlsPeer) -> None:
        await peer.explicit()
        await peer.login()
        await peer.passive()
        await peer.expect("STOR")
        connection = await peer.peer.accept()
        await peer.send("150 go ahead")
        data = peer.data(connection)
        await data.shake_hands()
        while await data.receive():
            pass
        await peer.send("226 done")
        await peer.quit()
        connection.close()

    run = await drive(script, context, certificates, tmp_path, steps=["login", {"stor": {"size": "1KiB"}}, "quit"])
    assert run.classes() == ["none", "none", "none"]


async def test_a_download_leaves_the_first_close_to_the_server(
    tmp_path: Path, context: ssl.SSLContext, certificates: Certificates
) -> None:
    async def script(peer: TlsPeer) -> None:
        await peer.explicit()
        await peer.login()
        await peer.passive()
        await peer.expect("RETR")
        connection = await peer.peer.accept()
        await peer.send("150 here it comes")
        data = peer.data(connection)
        await data.shake_hands()
        await data.send(b"x" * 10)
        await data.close_notify()
        assert await data.receive() == b"", "the client answers close_notify, and its FIN does not come before ours"
        connection.close()
        await peer.send("226 done")
        await peer.quit()

    run = await drive(script, context, certificates, tmp_path)
    assert run.classes() == ["none", "none", "none"]


async def test_a_server_that_has_closed_is_not_answered(
    tmp_path: Path, context: ssl.SSLContext, certificates: Certificates
) -> None:
    """What a closed socket receives it answers with a reset: the server's TIME_WAIT would be gone."""

    async def script(peer: TlsPeer) -> None:
        await peer.explicit()
        await peer.login()
        await peer.passive()
        await peer.expect("RETR")
        connection = await peer.peer.accept()
        await peer.send("150 here it comes")
        data = peer.data(connection)
        await data.shake_hands()
        await data.send(b"x" * 10)
        await data.close_notify()
        connection.shutdown(socket.SHUT_WR)
        assert await asyncio.get_running_loop().sock_recv(connection, 100) == b""
        connection.close()
        await peer.send("226 done")
        await peer.quit()

    run = await drive(script, context, certificates, tmp_path)
    assert run.classes() == ["none", "none", "none"]


@pytest.mark.parametrize(
    ("size", "reply", "word"),
    [
        ("10B", "226 done", "none"),
        ("11B", "226 done", "transfer-short"),
        ("11B", "522 session reuse required", "data-tls"),
        ("11B", "425 Unable to build data connection: Operation not permitted", "data-tls"),
        ("11B", "426 broken", "transfer-aborted"),
    ],
)
async def test_the_servers_word_decides_what_a_fin_without_close_notify_means(
    tmp_path: Path, context: ssl.SSLContext, certificates: Certificates, size: str, reply: str, word: str
) -> None:
    async def script(peer: TlsPeer) -> None:
        await peer.explicit()
        await peer.login()
        await peer.passive()
        await peer.expect("RETR")
        connection = await peer.peer.accept()
        await peer.send("150 here it comes")
        data = peer.data(connection)
        await data.shake_hands()
        await data.send(b"x" * 10)
        connection.close()
        await peer.send(reply)
        await peer.quit()

    run = await drive(script, context, certificates, tmp_path, files={"f": size})
    assert run.classes() == ["none", word, "none"]


@pytest.mark.parametrize("upload", [False, True])
@pytest.mark.parametrize("deed", ["eof", "reset", "plain", "silence"])
async def test_a_data_handshake_that_fails_is_data_tls_and_control_lives_on(
    tmp_path: Path, certificates: Certificates, deed: str, upload: bool
) -> None:
    async def script(peer: TlsPeer) -> None:
        await peer.explicit()
        await peer.login()
        await peer.passive()
        await peer.expect("STOR" if upload else "RETR")
        connection = await peer.peer.accept()
        await peer.send("150 go on")
        loop = asyncio.get_running_loop()
        await loop.sock_recv(connection, 5)
        if deed == "reset":
            reset(connection)
        elif deed == "plain":
            await loop.sock_sendall(connection, b"this is the file, in plain text")
        elif deed == "silence":
            with contextlib.suppress(ConnectionError):  # the client gives up with a reset
                while await loop.sock_recv(connection, 65_536):
                    pass
        connection.close()
        await peer.send("426 no transfer")
        await peer.quit()

    steps = ["login", {"stor": {"size": "1MiB"}} if upload else {"retr": "f"}, "quit"]
    brief = {"timeouts": {**PATIENT["timeouts"], "data": "500ms"}}
    client = brief if deed == "silence" else PATIENT
    run = await drive(script, certificates.server_context(), certificates, tmp_path, steps=steps, client=client)
    assert run.classes() == ["none", "data-tls", "none"]
    assert run.operations[1]["control_survived"] == 1


async def test_522_wins_over_the_reset_of_the_data_connection(
    tmp_path: Path, context: ssl.SSLContext, certificates: Certificates
) -> None:
    async def script(peer: TlsPeer) -> None:
        await peer.explicit()
        await peer.login()
        await peer.passive()
        await peer.expect("RETR")
        connection = await peer.peer.accept()
        await peer.send("150 here it comes")
        await peer.data(connection).shake_hands()
        reset(connection)
        await peer.send("522 session reuse required")
        await peer.quit()

    run = await drive(script, context, certificates, tmp_path)
    assert run.classes() == ["none", "data-tls", "none"]
    assert run.operations[1]["code"] == 522


async def test_a_client_that_closes_first_says_so_in_tls_too(
    tmp_path: Path, context: ssl.SSLContext, certificates: Certificates
) -> None:
    async def script(peer: TlsPeer) -> None:
        await peer.explicit()
        await peer.login()
        await peer.passive()
        await peer.expect("RETR")
        connection = await peer.peer.accept()
        await peer.send("150 here it comes")
        data = peer.data(connection)
        await data.shake_hands()
        await data.send(b"x" * 10)
        assert await data.receive() == b""
        assert await asyncio.get_running_loop().sock_recv(connection, 1) == b"", "the client's FIN is the first"
        connection.close()
        await peer.send("226 done")
        await peer.quit()

    steps = ["login", {"retr": {"file": "f", "close": {"first": "client"}}}, "quit"]
    run = await drive(script, context, certificates, tmp_path, steps=steps, files={"f": "10B"})
    assert run.classes() == ["none", "none", "none"]


async def test_a_download_larger_than_any_buffer_comes_in_whole(
    tmp_path: Path, context: ssl.SSLContext, certificates: Certificates
) -> None:
    size = 5_000_000

    async def script(peer: TlsPeer) -> None:
        await peer.explicit()
        await peer.login()
        await serve_retr(peer, bytes(size))
        await peer.quit()

    run = await drive(script, context, certificates, tmp_path, files={"f": f"{size}B"}, client=PATIENT)
    assert run.classes() == ["none", "none", "none"]
    assert run.sessions[0]["bytes"] == size


async def test_a_hundred_sessions_leave_nothing_that_only_the_collector_could_free(
    tmp_path: Path, certificates: Certificates
) -> None:
    gc.collect()
    gc.disable()
    files = len(list(Path("/proc/self/fd").iterdir()))
    try:
        context = certificates.server_context()
        run = await drive(polite, context, certificates, tmp_path, load={"sessions": 100}, client=PATIENT)
        assert run.counts.succeeded == 100
        assert (run.counts.data_handshakes, run.counts.data_resumed) == (100, 100)
        left = [thing for thing in gc.get_objects() if isinstance(thing, Session | SecureData | TlsStream)]
        assert left == []
    finally:
        gc.enable()
    assert len(list(Path("/proc/self/fd").iterdir())) == files


async def say_farewell(peer: TlsPeer) -> None:
    """Serve login and QUIT, and end what TLS has to say; TCP stays open."""
    await peer.explicit()
    await peer.login()
    await peer.quit()
    await peer.channel.close_notify()


async def test_the_client_waits_for_the_server_s_fin_after_its_close_notify(
    tmp_path: Path, context: ssl.SSLContext, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "CLOSE_GRACE_NS", 60_000_000_000)
    early: list[bytes] = []

    async def script(peer: TlsPeer) -> None:
        await say_farewell(peer)
        try:
            # The client's own close_notify may come, its FIN must not.
            while len(early) < 2:
                early.append(await asyncio.wait_for(peer.peer.reader.read(4096), 0.3))
        except TimeoutError:
            pass

    run = await drive(script, context, certificates, tmp_path, steps=["login", "quit"])
    assert run.sessions[0]["outcome"] == "succeeded"
    assert b"" not in early


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_server_that_closes_behind_its_close_notify_keeps_its_time_wait(
    tmp_path: Path,
    context: ssl.SSLContext,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    at_once: bool,
) -> None:
    """Anything that the client said to it would be answered with RST, and there would be no TIME_WAIT."""
    monkeypatch.setattr(session_module, "CLOSE_GRACE_NS", 60_000_000_000)
    monkeypatch.setattr(session_module, "ANSWER_AFTER_NS", 60_000_000_000)  # however late a busy machine sends its FIN
    after: list[bytes] = []

    async def script(peer: TlsPeer) -> None:
        await say_farewell(peer)
        if not at_once:  # several looks at deadlines later
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(peer.peer.reader.read(4096), 0.3)
        peer.peer.writer.write_eof()
        after.append(await asyncio.wait_for(peer.peer.reader.read(4096), 20))

    run = await drive(script, context, certificates, tmp_path, steps=["login", "quit"])
    assert run.sessions[0]["outcome"] == "succeeded"
    assert after == [b""], "the client's FIN comes next"


async def test_the_client_answers_the_close_notify_of_a_server_that_does_not_close(
    tmp_path: Path, context: ssl.SSLContext, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server of asyncio closes only when the client has said close_notify as well: neither may wait for the other."""
    monkeypatch.setattr(session_module, "CLOSE_GRACE_NS", 60_000_000_000)
    answers: list[bytes] = []

    async def script(peer: TlsPeer) -> None:
        await say_farewell(peer)
        answers.append(await asyncio.wait_for(peer.channel.receive(), 20))

    run = await drive(script, context, certificates, tmp_path, steps=["login", "quit"])
    assert run.sessions[0]["outcome"] == "succeeded"
    assert answers == [b""]


async def test_an_upload_s_close_notify_waits_for_room(
    tmp_path: Path, context: ssl.SSLContext, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush = SecureData._flush
    refused: list[int] = []

    def full_once(self: SecureData, now: int) -> bool:
        if self._ending and self._left and not refused:  # as send(2) says EAGAIN; there is room again right after it
            refused.append(now)
            self._reactor.rearm(self._sock)
            return False
        return flush(self, now)

    monkeypatch.setattr(SecureData, "_flush", full_once)
    ends: list[str] = []

    async def script(peer: TlsPeer) -> None:
        await peer.explicit()
        await peer.login()
        await peer.passive()
        await peer.expect("STOR")
        connection = await peer.peer.accept()
        await peer.send("150 go")
        data = peer.data(connection)
        await data.shake_hands()
        try:
            while await data.receive():
                pass
            ends.append("close_notify")
        except CutError:
            ends.append("FIN alone")
        connection.close()
        await peer.send("226 done")
        await peer.quit()

    run = await drive(script, context, certificates, tmp_path, steps=["login", {"stor": "100KiB"}, "quit"])
    assert refused
    assert ends == ["close_notify"]
    assert run.classes() == ["none"] * 3
    assert run.operations[1]["bytes"] == 102_400
