"""A probe says what a server really answers, and gives up politely."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

import pytest
import trustme

from ftpstorm.cli import main
from ftpstorm.conduct.probe import Found, probe_server
from ftpstorm.errors import EnvironmentUnavailableError
from support.scripted_server import Peer, Script, scripted_server

ENVIRONMENT: dict[str, str] = {}


async def probed(script: Script, **options: Any) -> Found:
    async with scripted_server(script) as port:
        return await asyncio.to_thread(lambda: probe_server(f"127.0.0.1:{port}", environment=ENVIRONMENT, **options))


def test_the_emulator_is_described_and_nothing_is_left_in_its_pool(
    start_emulator: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    emulator = start_emulator({"passive_ports": 20, "hold": {"for": "5s", "after": "any-close"}})
    assert main(["probe", f"127.0.0.1:{emulator.port}", "--json", "--asks", "3"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["login"].startswith("230")
    assert len(found["epsv"]["ports"]) == len(found["pasv"]["ports"]) == 3
    assert set(found["epsv"]["ports"] + found["pasv"]["ports"]) <= set(emulator.passive_ports)
    assert found["tls"]["offered"] is False
    assert "UTF8" in found["features"]


def test_a_full_pool_is_reported_as_the_server_words_it(start_emulator: Callable[..., Any]) -> None:
    emulator = start_emulator({"passive_ports": 2, "hold": {"for": "5s", "after": "any-close"}})
    found = probe_server(f"127.0.0.1:{emulator.port}", environment=ENVIRONMENT)
    assert found.epsv is not None
    assert found.epsv.refusal is None or found.epsv.refusal.startswith("425")


async def test_a_refused_login_is_told_and_no_passive_port_asked_for() -> None:
    heard: list[str] = []

    async def script(peer: Peer) -> None:
        await peer.send("220-welcome", "220 Serv-U ready")
        while line := await peer.command():
            heard.append(line.split(" ")[0])
            await peer.send({"USER": "331 go on", "PASS": "530 no"}.get(line.split(" ")[0], "502 no"))

    found = await probed(script)
    assert found.product == "Serv-U"
    assert found.login == "530 no"
    assert (found.epsv, found.pasv, found.features) == (None, None, None)
    assert not {"EPSV", "PASV"} & set(heard)


async def test_an_address_behind_nat_is_pointed_out() -> None:
    async def script(peer: Peer) -> None:
        await peer.send("220 ready")
        while line := await peer.command():
            answers = {"USER": "230 in", "PASV": "227 ok (10,1,2,3,40,1)", "EPSV": "522 not here"}
            await peer.send(answers.get(line.split(" ")[0], "502 no"))

    found = await probed(script, asks=2)
    assert found.pasv is not None
    assert found.epsv is not None
    assert (found.pasv.address, found.pasv.ports) == ("10.1.2.3", [10241, 10241])
    assert found.epsv.refusal == "522 not here"


def test_tls_is_tried_and_an_untrusted_certificate_told() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    def serve(listener: socket.socket) -> None:
        for _ in range(3):  # the session, TLS with the certificate checked, TLS without
            connection, _address = listener.accept()
            with connection, connection.makefile("rwb", buffering=0) as lines:
                connection.settimeout(30)
                lines.write(b"220 ready\r\n")
                while line := lines.readline():
                    if line == b"AUTH TLS\r\n":
                        lines.write(b"234 go\r\n")
                        with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
                            secured.recv(1)
                        break
                    lines.write(b"230 in\r\n" if line.startswith(b"USER") else b"502 no\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        server = threading.Thread(target=serve, args=[listener])
        server.start()
        found = probe_server(f"127.0.0.1:{listener.getsockname()[1]}", environment=ENVIRONMENT)
        server.join(30)
    assert found.tls is not None
    assert (found.tls.offered, found.tls.trusted) == (True, False)
    assert (found.tls.version or "").startswith("TLSv1")
    assert "certificate" in (found.tls.reason or "")


async def test_a_server_that_hangs_up_midway_is_described_as_far_as_it_went() -> None:
    async def script(peer: Peer) -> None:
        await peer.send("220 ready")
        await peer.command()

    found = await probed(script)
    assert found.greeting == "220 ready"
    assert any("closed the connection" in note for note in found.notes)


async def test_what_is_no_ftp_server_is_an_error_that_shows_its_words() -> None:
    async def script(peer: Peer) -> None:
        await peer.send("HTTP/1.1 400 Bad Request")

    with pytest.raises(EnvironmentUnavailableError, match="no FTP greeting"):
        await probed(script)


def test_a_closed_port_is_an_error_that_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(EnvironmentUnavailableError, match="nothing listens there"):
        probe_server(f"127.0.0.1:{port}")
