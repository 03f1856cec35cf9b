"""FTPS of the engine against real servers: those that demand that data connections resume control's TLS session."""

from __future__ import annotations

import hashlib
import re
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

PATIENT = {"timeouts": {"connect": "60s", "greeting": "60s", "reply": "60s", "data": "60s"}}
FILES = {"small.bin": "1KiB", "large.bin": "3MiB"}
VERSIONS = pytest.mark.parametrize("version", ["1.2", "1.3"])
STRICT = pytest.mark.parametrize("name", ["vsftpd", "proftpd"])
ALL = pytest.mark.parametrize("name", ["vsftpd", "proftpd", "pyftpdlib"])


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def start(name: str, require: Require) -> Start:
    if name == "pyftpdlib":
        present = all(find_spec(module) is not None for module in ("pyftpdlib", "OpenSSL"))
        require(name, present, "pyftpdlib and pyOpenSSL are not installed")
    else:
        require(name, is_fetched(name), f"not unpacked; run scripts/fetch-servers {name}")
    chosen: Start = getattr(real_servers, name)
    return chosen


async def drive(
    server: RealServer, name: str, certificates: Certificates, folder: Path, steps: list[Any], **keys: Any
) -> EngineRun:
    target = {
        "user": "anonymous" if name == "vsftpd" else real_servers.USER,
        "tls": {"mode": "explicit", "ca_file": certificates.ca_file, **keys.pop("tls", {})},
    }
    load = keys.pop("load", None)
    scenario = make_scenario(server.port, steps, load, target=target, client=PATIENT, files=FILES, **keys)
    run = await run_engine(scenario, folder, password=real_servers.PASSWORD, within_s=180)
    assert run.watched_left == 0
    assert run.sessions_left == 0
    return run


@ALL
@VERSIONS
async def test_every_kind_of_transfer_succeeds_and_is_whole(
    tmp_path: Path, certificates: Certificates, start: Start, name: str, version: str
) -> None:
    steps = [
        "login",
        {"retr": "small.bin"},
        {"retr": "large.bin"},
        "list",
        {"stor": {"file": "in/empty.bin", "size": "0B"}},
        {"stor": {"file": "in/upload.bin", "size": "5MiB"}},
        "quit",
    ]
    with start(certificates) as server:
        run = await drive(
            server, name, certificates, tmp_path, steps, tls={"min_version": version, "max_version": version}
        )
        uploaded = (server.files / "in" / "upload.bin").read_bytes()
        assert (server.files / "in" / "empty.bin").read_bytes() == b""
    assert run.classes() == ["none"] * len(steps), run.texts
    assert [operation["bytes"] for operation in run.operations[1:3]] == [1 << 10, 3 << 20]
    assert run.operations[3]["bytes"] > 0
    assert uploaded == bytes(range(256)) * (5 << 12)
    assert (run.counts.data_handshakes, run.counts.data_resumed) == (5, 5)


@STRICT
@VERSIONS
async def test_checksums_and_active_mode_work_under_tls(
    tmp_path: Path, certificates: Certificates, start: Start, name: str, version: str
) -> None:
    steps = [
        "login",
        {"retr": {"file": "large.bin", "verify": "sha256:" + hashlib.sha256(bytes(3 << 20)).hexdigest()}},
        {"retr": {"file": "large.bin", "verify": "sha256:" + hashlib.sha256(b"something else").hexdigest()}},
        {"retr": {"file": "small.bin", "mode": "active"}},
        {"stor": {"file": "in/active.bin", "size": "1MiB", "mode": "active"}},
        {"retr": {"file": "small.bin", "close": {"first": "client", "with": "half"}}},
        "quit",
    ]
    with start(certificates) as server:
        (server.files / "large.bin").write_bytes(bytes(3 << 20))
        run = await drive(server, name, certificates, tmp_path, steps, tls={"max_version": version})
        assert (server.files / "in" / "active.bin").stat().st_size == 1 << 20
    assert run.classes() == ["none", "none", "transfer-corrupt", *["none"] * 4], run.texts
    assert run.counts.data_resumed == 5


@STRICT
@VERSIONS
async def test_two_hundred_of_two_hundred_data_sessions_are_resumed(
    tmp_path: Path, certificates: Certificates, start: Start, name: str, version: str
) -> None:
    steps = ["login", {"repeat": {"times": 10, "steps": [{"retr": "small.bin"}]}}, "quit"]
    load = {"executor": "shared-iterations", "sessions": 5, "iterations": 20, "max_duration": "170s"}
    with start(certificates) as server:
        run = await drive(server, name, certificates, tmp_path, steps, load=load, tls={"max_version": version})
    assert run.counts.succeeded == 20, run.texts
    assert (run.counts.data_handshakes, run.counts.data_resumed) == (200, 200)
    assert sum(session["bytes"] for session in run.sessions) == 200 << 10


@STRICT
@VERSIONS
@pytest.mark.parametrize("step", [{"retr": "small.bin"}, {"stor": {"file": "in/up.bin", "size": "1MiB"}}, "list"])
async def test_without_session_reuse_a_server_that_demands_it_gives_data_tls(
    tmp_path: Path, certificates: Certificates, start: Start, name: str, version: str, step: Any
) -> None:
    tls = {"max_version": version, "session_reuse": False}
    with start(certificates) as server:
        run = await drive(server, name, certificates, tmp_path, ["login", step, "quit"], tls=tls)
    transfer = run.operations[1]
    assert transfer["class"] == "data-tls", run.texts
    assert run.counts.data_resumed == 0
    if name == "vsftpd":  # 150, a handshake that succeeds, EOF after 0 bytes, 522, and the end of control
        assert transfer["code"] == 522
        assert transfer["control_survived"] == 0
        assert len(run.operations) == 2 or run.classes()[2] == "control-lost"
    else:
        assert transfer["code"] == 425
        assert "Operation not permitted" in run.texts[transfer["text"]]
        assert transfer["control_survived"] == 1
        assert run.classes()[2] == "none"


async def test_a_server_that_does_not_demand_reuse_serves_without_it(
    tmp_path: Path, certificates: Certificates, require: Require
) -> None:
    require("vsftpd", is_fetched("vsftpd"), "not unpacked; run scripts/fetch-servers vsftpd")
    with real_servers.vsftpd(certificates, reuse=False) as server:
        steps = ["login", {"retr": "small.bin"}, "quit"]
        run = await drive(server, "vsftpd", certificates, tmp_path, steps, tls={"session_reuse": False})
    assert run.classes() == ["none"] * 3
    assert (run.counts.data_handshakes, run.counts.data_resumed) == (1, 0)


@pytest.mark.parametrize(
    ("name", "setting"), [("vsftpd", {"implicit_ssl": "YES"}), ("proftpd", {"options": "UseImplicitSSL"})]
)
async def test_implicit_tls(
    tmp_path: Path, certificates: Certificates, start: Start, name: str, setting: dict[str, str]
) -> None:
    with start(certificates, **setting) as server:
        steps = ["login", {"retr": "small.bin"}, "quit"]
        run = await drive(server, name, certificates, tmp_path, steps, tls={"mode": "implicit"})
    assert run.classes() == ["none"] * 3, run.texts
    (session,) = run.sessions
    assert session["connected_ns"] <= session["tls_ns"] <= session["greeting_ns"]


async def test_prot_c_where_the_server_lets_it(tmp_path: Path, certificates: Certificates, require: Require) -> None:
    require("vsftpd", is_fetched("vsftpd"), "not unpacked; run scripts/fetch-servers vsftpd")
    with real_servers.vsftpd(certificates, force_anon_data_ssl="NO") as server:
        steps = ["login", {"retr": "small.bin"}, "quit"]
        run = await drive(server, "vsftpd", certificates, tmp_path, steps, tls={"prot": "C"})
    assert run.classes() == ["none"] * 3, run.texts
    assert run.counts.data_handshakes == 0


async def test_prot_c_where_the_server_forbids_it_is_data_tls(
    tmp_path: Path, certificates: Certificates, require: Require
) -> None:
    require("vsftpd", is_fetched("vsftpd"), "not unpacked; run scripts/fetch-servers vsftpd")
    with real_servers.vsftpd(certificates) as server:
        steps = ["login", {"retr": "small.bin"}, "quit"]
        run = await drive(server, "vsftpd", certificates, tmp_path, steps, tls={"prot": "C"})
    assert run.operations[1]["class"] == "data-tls", run.texts
    assert run.operations[1]["code"] == 522


async def test_an_oops_in_plain_text_inside_tls_is_named(
    tmp_path: Path, certificates: Certificates, require: Require
) -> None:
    """vsftpd whose only passive port is taken: it cannot bind, and says so past TLS."""
    require("vsftpd", is_fetched("vsftpd"), "not unpacked; run scripts/fetch-servers vsftpd")
    taken = real_servers.free_port()
    with real_servers.vsftpd(certificates, passive=f"{taken}-{taken}") as server, real_servers.listening(taken):
        run = await drive(server, "vsftpd", certificates, tmp_path, ["login", {"retr": "small.bin"}])
    retr = run.operations[1]
    assert (retr["class"], retr["phase"], retr["code"]) == ("passive-exhausted", "passive", 500)
    assert re.match(r"500 OOPS: ", run.texts[retr["text"]])
    assert retr["control_survived"] == 0


@STRICT
async def test_a_server_without_tls_refuses_auth(
    tmp_path: Path, certificates: Certificates, start: Start, name: str
) -> None:
    with start() as server:
        run = await drive(server, name, certificates, tmp_path, ["login", "quit"])
    (session,) = run.sessions
    assert (session["class"], session["phase"]) == ("tls-failed", "tls")


@STRICT
async def test_the_password_is_in_no_record(
    tmp_path: Path, certificates: Certificates, start: Start, name: str
) -> None:
    with start(certificates) as server:
        await drive(server, name, certificates, tmp_path, ["login", "quit"])
    for spool in tmp_path.iterdir():
        assert real_servers.PASSWORD.encode() not in spool.read_bytes()
