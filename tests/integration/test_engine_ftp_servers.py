"""Active mode, REST, ABOR and checks of what came, against real servers, in plain text and under TLS."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from support import real_servers
from support.engine_run import EngineRun, make_scenario, run_engine
from support.real_servers import Certificates, RealServer, is_fetched, make_certificates

Require = Callable[[str, bool, str], None]
Start = Callable[..., AbstractContextManager[RealServer]]

PATIENT = {"connect": "60s", "greeting": "60s", "reply": "60s", "data": "60s"}
ALL = pytest.mark.parametrize("name", ["vsftpd", "proftpd", "pyftpdlib"])


@pytest.fixture
def start(name: str, require: Require) -> Start:
    if name == "pyftpdlib":
        present = all(find_spec(module) is not None for module in ("pyftpdlib", "OpenSSL"))
        require(name, present, "pyftpdlib and pyOpenSSL are not installed")
    else:
        require(name, is_fetched(name), f"not unpacked; run scripts/fetch-servers {name}")
    chosen: Start = getattr(real_servers, name)
    return chosen


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


async def drive(
    server: RealServer, name: str, folder: Path, steps: list[Any], mode: str, tls: dict[str, Any] | None = None
) -> EngineRun:
    target = {"user": "anonymous" if name == "vsftpd" else real_servers.USER} | ({"tls": tls} if tls else {})
    scenario = make_scenario(server.port, steps, target=target, client={"mode": mode, "timeouts": PATIENT})
    run = await run_engine(scenario, folder, password=real_servers.PASSWORD, within_s=180)
    assert run.watched_left == run.sessions_left == 0
    return run


def everything(server: RealServer) -> list[Any]:
    whole = (server.files / "large.bin").read_bytes()
    digest = hashlib.sha256(whole).hexdigest()
    rest = hashlib.sha256(whole[1_000_000:]).hexdigest()
    return [
        "login",
        {"retr": {"file": "large.bin", "verify": f"sha256:{digest}"}},
        {"retr": {"file": "large.bin", "offset": "1000000B", "verify": f"sha256:{rest}"}},
        {"retr": {"file": "large.bin", "close": {"first": "client", "with": "half"}}},
        {"stor": {"file": "in/up.bin", "size": "3MiB", "verify": "size", "close": {"with": "half"}}},
        "nlst",
        {"size": "small.bin"},
        {"cwd": "in"},
        {"type": "I"},
        "noop",
        "quit",
    ]


@ALL
@pytest.mark.parametrize("mode", ["active", "eprt", "epsv", "pasv"])
async def test_files_move_whole_in_every_mode(tmp_path: Path, start: Start, name: str, mode: str) -> None:
    with start() as server:
        steps = everything(server)
        run = await drive(server, name, tmp_path, steps, mode)
        uploaded = (server.files / "in" / "up.bin").read_bytes()
    assert run.classes() == ["none"] * len(steps), run.texts
    assert len(uploaded) == 3 << 20
    asked = "port" if mode == "active" else mode
    assert {operation["mode"] for operation in run.operations} == {asked, "none"}
    transfers = sum(operation["mode"] != "none" for operation in run.operations)
    assert run.sessions[0]["connects"] == (1 if mode in ("active", "eprt") else 1 + transfers)


@ALL
@pytest.mark.parametrize("signal", ["plain", "telnet"])
async def test_aborts_leave_replies_in_step(tmp_path: Path, start: Start, name: str, signal: str) -> None:
    with start() as server:
        (server.files / "huge.bin").write_bytes(b"")
        with (server.files / "huge.bin").open("r+b") as huge:
            huge.truncate(64 << 20)
        steps: list[Any] = ["login"]
        for options in ({"after": "100KiB"}, {"close": {"first": "client"}}, {"after": "1h"}):
            file = "small.bin" if options.get("after") == "1h" else "huge.bin"
            steps += [{"abort": {"retr": file, "signal": signal, **options}}, "noop"]
        steps.append("quit")
        run = await drive(server, name, tmp_path, steps, "epsv")
    assert run.classes() == ["none"] * len(steps), run.texts


@ALL
async def test_active_mode_and_aborts_under_tls(
    tmp_path: Path, start: Start, name: str, certificates: Certificates
) -> None:
    with start(certificates) as server:
        steps = [
            "login",
            {"retr": {"file": "large.bin", "verify": f"sha256:{_digest(server)}"}},
            {"stor": {"file": "in/up.bin", "size": "300KiB"}},
            "quit",
        ]
        tls = {"mode": "explicit", "ca_file": certificates.ca_file}
        run = await drive(server, name, tmp_path, steps, "active", tls)
        assert len((server.files / "in" / "up.bin").read_bytes()) == 300 << 10
    assert run.classes() == ["none"] * len(steps), run.texts


def _digest(server: RealServer) -> str:
    return hashlib.sha256((server.files / "large.bin").read_bytes()).hexdigest()
