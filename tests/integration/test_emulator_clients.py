"""Stock clients against the emulator: Python's ftplib, aioftp, curl, and a bare socket for what they never do."""

# ruff: noqa: S321 - FTP is what this is about

from __future__ import annotations

import asyncio
import ftplib
import hashlib
import io
import shutil
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aioftp
import pytest

from ftpstorm.emulator.files import content_blocks

FILES = {"small.bin": 1024, "empty.bin": 0, "dir/nested.bin": 70_000, "big.bin": 100 * 2**20}


def content(size: int) -> bytes:
    return b"".join(content_blocks(size))


@pytest.fixture
def emulator(start_emulator: Callable[..., Any]) -> Any:
    return start_emulator({"passive_ports": 20}, FILES)


def test_the_emulator_needs_no_uvloop(start_emulator: Callable[..., Any]) -> None:
    emulator = start_emulator({"passive_ports": 2}, FILES, loop_factory=asyncio.new_event_loop)
    with ftplib.FTP(timeout=30) as client:
        client.connect(emulator.host, emulator.port)
        client.login()
        assert retrieve(client, "dir/nested.bin") == content(70_000)
        assert client.storbinary("STOR up.bin", io.BytesIO(bytes(3_000_000))).startswith("226")
        assert client.quit().startswith("221")


@pytest.fixture(params=["PASV", "EPSV"])
def ftp(request: pytest.FixtureRequest, emulator: Any) -> Iterator[ftplib.FTP]:
    with ftplib.FTP(timeout=30) as client:
        client.connect(emulator.host, emulator.port)
        client.login("someone", "some password")
        if request.param == "EPSV":
            client.af = socket.AF_INET6  # all that ftplib looks at when it chooses EPSV
        yield client


def retrieve(ftp: ftplib.FTP, name: str, rest: int | None = None) -> bytes:
    received = io.BytesIO()
    ftp.retrbinary(f"RETR {name}", received.write, rest=rest)
    return received.getvalue()


def test_ftplib_lists_in_every_way(ftp: ftplib.FTP) -> None:
    assert ftp.nlst() == ["small.bin", "empty.bin", "dir", "big.bin"]
    lines: list[str] = []
    ftp.retrlines("LIST -la", lines.append)
    assert [line.split()[-1] for line in lines] == ["small.bin", "empty.bin", "dir", "big.bin"]
    assert lines[0].startswith("-rw-r--r--")
    assert lines[2].startswith("drwxr-xr-x")
    facts = dict(ftp.mlsd())
    assert facts["big.bin"]["size"] == str(100 * 2**20)
    assert facts["dir"]["type"] == "dir"
    assert ftp.nlst("dir") == ["nested.bin"]


def test_a_transfer_that_outlives_its_control_connection_is_counted_once(
    emulator: Any, ftp: ftplib.FTP, capfd: pytest.CaptureFixture[str]
) -> None:
    with ftp.transfercmd("STOR up.bin") as data:
        assert ftp.sock is not None
        ftp.sock.sendall(b"NOOP\r\n")  # the session waits for the transfer and does not see its own end
        emulator.wait_until(lambda server: server.transfers == 1)
        ftp.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        ftp.close()
        for number in range(1, 4):  # the server's loop comes round, and meets the reset
            data.sendall(b"x")
            emulator.wait_until(lambda server, number=number: server.counts.bytes_received == number)
    emulator.wait_until(lambda server: server.sessions == 0)
    counts = emulator.ask(lambda server: server.counts)
    assert (counts.transfers_completed, counts.transfers_failed) == (1, 0)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("options", ["-a", "-a -l", " -la  -t", "-a -l /dir", "-l dir"])
def test_options_of_list_are_passed_over_however_many(ftp: ftplib.FTP, options: str) -> None:
    lines: list[str] = []
    ftp.retrlines(f"LIST {options}", lines.append)
    assert lines[-1].split()[-1] == ("nested.bin" if "dir" in options else "big.bin")


def test_a_restart_counts_for_the_next_transfer_also_if_that_is_a_listing(ftp: ftplib.FTP) -> None:
    assert ftp.sendcmd("REST 100").startswith("350")
    assert "small.bin" in ftp.nlst()
    assert retrieve(ftp, "small.bin") == content(1024)


@pytest.mark.parametrize("offset", ["\u00b2", "\u0664", "-1", "1.5", "", "9" * 5000])
def test_a_restart_at_what_is_no_offset_is_a_syntax_error_and_the_session_goes_on(ftp: ftplib.FTP, offset: str) -> None:
    ftp.sendcmd("REST 100")
    with pytest.raises(ftplib.error_perm, match=r"^501 "):
        ftp.sendcmd(f"REST {offset}")
    assert retrieve(ftp, "small.bin") == content(1024)


def test_ftplib_fetches_files_of_any_size(ftp: ftplib.FTP) -> None:
    assert retrieve(ftp, "small.bin") == content(1024)
    assert retrieve(ftp, "empty.bin") == b""
    assert retrieve(ftp, "/dir/nested.bin") == content(70_000)
    assert retrieve(ftp, "small.bin", rest=1000) == content(1024)[1000:]
    assert retrieve(ftp, "small.bin") == content(1024), "an offset counts for one transfer"


def test_a_hundred_mebibytes_arrive_whole_and_are_counted_once(ftp: ftplib.FTP, emulator: Any) -> None:
    digest = hashlib.sha256()
    ftp.retrbinary("RETR big.bin", digest.update)
    expected = hashlib.sha256()
    for block in content_blocks(100 * 2**20):
        expected.update(block)
    assert digest.digest() == expected.digest()
    assert emulator.ask(lambda server: server.counts.bytes_sent) == 100 * 2**20


@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_ftplib_stores_and_the_emulator_counts_and_forgets(ftp: ftplib.FTP, emulator: Any, size: int) -> None:
    assert ftp.storbinary("STOR up.bin", io.BytesIO(bytes(size))).startswith("226")
    assert ftp.storbinary("APPE up.bin", io.BytesIO(bytes(size))).startswith("226")
    assert emulator.ask(lambda server: server.counts.bytes_received) == 2 * size
    assert "up.bin" not in ftp.nlst()


def test_commands_without_data_connection(ftp: ftplib.FTP) -> None:
    assert ftp.size("dir/nested.bin") == 70_000
    assert ftp.pwd() == "/"
    ftp.cwd("dir")
    assert ftp.pwd() == "/dir"
    assert ftp.size("nested.bin") == 70_000
    ftp.cwd("..")
    assert ftp.pwd() == "/"
    assert ftp.voidcmd("NOOP").startswith("200")
    assert ftp.voidcmd("OPTS UTF8 ON").startswith("200")
    assert ftp.sendcmd("SYST").startswith("215")
    features = ftp.sendcmd("FEAT").splitlines()
    assert features[0].startswith("211-")
    assert features[-1] == "211 End"
    assert {line.split()[0] for line in features[1:-1]} == {"EPSV", "MLST", "PASV", "REST", "SIZE", "UTF8"}
    assert "Type=file" in ftp.sendcmd("MLST small.bin")
    assert ftp.sendcmd("ABOR").startswith("226")
    assert ftp.quit().startswith("221")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("RETR absent.bin", "550"),
        ("RETR dir", "550"),
        ("STOR absent/up.bin", "550"),
        ("LIST absent", "550"),
        ("MLSD small.bin", "501"),
    ],
)
def test_a_transfer_that_cannot_be_is_refused_and_its_port_returned(
    ftp: ftplib.FTP, emulator: Any, command: str, code: str
) -> None:
    with pytest.raises(ftplib.error_perm, match=code):
        ftp.transfercmd(command)
    emulator.wait_until(lambda server: server.pool.counts(server.clock())[0] == 20)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("CWD absent", "550"),
        ("SIZE absent", "550"),
        ("MLST absent", "550"),
        ("TYPE E", "504"),
        ("MODE B", "504"),
        ("EPSV 2", "522"),
        ("EPSV ALL", "504"),
        ("OPTS MLST size", "501"),
        ("DELE small.bin", "502"),
        ("PORT 127,0,0,1,4,1", "502"),
        ("RETR small.bin", "425"),
    ],
)
def test_what_is_not_served_is_refused_and_control_lives(ftp: ftplib.FTP, command: str, code: str) -> None:
    with pytest.raises(ftplib.Error, match=code):
        ftp.voidcmd(command)
    assert ftp.voidcmd("NOOP").startswith("200")


def test_a_stalled_download_can_be_aborted(ftp: ftplib.FTP, emulator: Any) -> None:
    data, size = ftp.ntransfercmd("RETR big.bin")
    assert size == 100 * 2**20
    with data:
        assert data.recv(1)
        assert ftp.abort().startswith("426")  # ftplib sends ABOR as urgent data
        assert ftp.getresp().startswith("226")
    assert retrieve(ftp, "small.bin") == content(1024)
    assert emulator.ask(lambda server: server.counts.transfers_failed) == 1


def test_nothing_is_served_before_login(emulator: Any) -> None:
    with ftplib.FTP(timeout=30) as client:
        client.connect(emulator.host, emulator.port)
        for command in ("PASV", "EPSV", "CWD /", "SIZE small.bin", "RETR small.bin", "NONSENSE"):
            with pytest.raises(ftplib.error_perm, match="530"):
                client.sendcmd(command)
        with pytest.raises(ftplib.error_perm, match="503"):
            client.sendcmd("PASS x")
        assert client.sendcmd("USER x").startswith("331")
        assert client.sendcmd("PASS").startswith("230")
    assert emulator.ask(lambda server: server.counts.logins) == 1


class Raw:
    """A control connection spoken by hand."""

    def __init__(self, host: str, port: int) -> None:
        self.sock = socket.create_connection((host, port), timeout=30)
        self.lines = self.sock.makefile("rb")
        assert self.reply().startswith("220")
        assert self.ask("USER a").startswith("331")
        assert self.ask("PASS b").startswith("230")

    def send(self, line: str) -> None:
        self.sock.sendall(line.encode() + b"\r\n")

    def reply(self) -> str:
        return self.lines.readline().decode()

    def ask(self, line: str) -> str:
        self.send(line)
        return self.reply()

    def passive(self) -> tuple[str, int]:
        return self.sock.getpeername()[0], int(self.ask("EPSV").split("|||")[1].split("|")[0])

    def close(self) -> None:
        self.lines.close()
        self.sock.close()


@pytest.fixture
def raw(emulator: Any) -> Iterator[Raw]:
    control = Raw(emulator.host, emulator.port)
    yield control
    control.close()


def read_all(sock: socket.socket) -> bytes:
    with sock:
        return b"".join(iter(lambda: sock.recv(65_536), b""))


def test_a_client_may_connect_before_or_after_the_transfer_command(raw: Raw) -> None:
    data = socket.create_connection(raw.passive(), timeout=30)
    assert raw.ask("RETR small.bin").startswith("150")
    assert read_all(data) == content(1024)
    assert raw.reply().startswith("226")

    address = raw.passive()
    assert raw.ask("RETR small.bin").startswith("150")
    assert read_all(socket.create_connection(address, timeout=30)) == content(1024)
    assert raw.reply().startswith("226")


def test_commands_sent_behind_a_transfer_are_answered_after_it(raw: Raw) -> None:
    data = socket.create_connection(raw.passive(), timeout=30)
    raw.send("STOR up.bin\r\nNOOP\r\nQUIT")
    assert raw.reply().startswith("150")
    data.sendall(b"x" * 100)
    data.close()
    assert [raw.reply()[:3] for _ in range(4)] == ["226", "200", "221", ""]


def test_each_data_connection_has_a_passive_port_of_its_own(raw: Raw, emulator: Any) -> None:
    used = []
    for _ in range(20):
        address = raw.passive()
        used.append(address[1])
        data = socket.create_connection(address, timeout=30)
        raw.send("NLST")
        read_all(data)
        assert [raw.reply()[:3] for _ in range(2)] == ["150", "226"]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=30)
    assert sorted(used) == sorted(emulator.passive_ports), "first freed, first used: each port once"


@pytest.mark.parametrize("line", [b"NOOP " + b"x" * 20_000 + b"\r\n"])
def test_an_endless_line_ends_the_session(raw: Raw, line: bytes) -> None:
    raw.sock.sendall(line)
    assert raw.reply().startswith("500")


def test_a_line_that_is_not_utf8_is_refused(raw: Raw) -> None:
    raw.sock.sendall(b"SIZE \xc3\x28\r\n")
    assert raw.reply().startswith("501")
    assert raw.ask("NOOP").startswith("200")


def test_ipv6_has_epsv(start_emulator: Callable[..., Any], require: Callable[..., None]) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        require("ipv6", False, f"::1 cannot be bound: {error.strerror}")
    emulator = start_emulator({"passive_ports": 2}, FILES, host="::1")
    with ftplib.FTP(timeout=30) as client:
        client.connect("::1", emulator.port)
        client.login()
        assert retrieve(client, "small.bin") == content(1024)
        with pytest.raises(ftplib.error_perm, match="522"):
            client.sendcmd("PASV")


# --- curl -------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["--ftp-pasv --disable-epsv", "--ftp-pasv"], ids=["PASV", "EPSV"])
def curl(
    request: pytest.FixtureRequest, require: Callable[..., None], emulator: Any
) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    program = shutil.which("curl")
    require("curl", program is not None, "not installed")

    def run(path: str, *options: str) -> subprocess.CompletedProcess[bytes]:
        url = f"ftp://{emulator.host}:{emulator.port}/{path}"
        command = [str(program), "--silent", "--show-error", "--max-time", "60", *request.param.split(), *options, url]
        return subprocess.run(command, capture_output=True, check=False)

    return run


def test_curl_lists(curl: Callable[..., subprocess.CompletedProcess[bytes]]) -> None:
    assert curl("", "--list-only").stdout.split() == [b"small.bin", b"empty.bin", b"dir", b"big.bin"]
    assert b"nested.bin" in curl("dir/").stdout


def test_curl_fetches(curl: Callable[..., subprocess.CompletedProcess[bytes]]) -> None:
    assert curl("small.bin").stdout == content(1024)
    assert curl("dir/nested.bin", "--user", "a:b").stdout == content(70_000)
    assert curl("small.bin", "--continue-at", "24").stdout == content(1024)[24:]
    assert curl("empty.bin").returncode == 0
    assert curl("absent.bin").returncode == 78, "curl's word for a file that does not exist"


def test_curl_stores(curl: Callable[..., subprocess.CompletedProcess[bytes]], emulator: Any, tmp_path: Path) -> None:
    upload = tmp_path / "up.bin"
    for size in (0, 200_000):
        upload.write_bytes(bytes(size))
        done = curl("", "--upload-file", str(upload))
        assert done.returncode == 0, done.stderr
        assert emulator.ask(lambda server: server.counts.bytes_received) == size


# --- aioftp, many at a time -------------------------------------------------------------------------------------------


async def test_hundreds_of_sessions_at_once_all_succeed(start_emulator: Callable[..., Any]) -> None:
    sessions = 300
    emulator = start_emulator({"passive_ports": sessions}, FILES)
    all_in = asyncio.Barrier(sessions)

    async def session() -> None:
        async with aioftp.Client.context(emulator.host, emulator.port) as client:
            await all_in.wait()
            async with client.download_stream("dir/nested.bin") as stream:
                assert await stream.read() == content(70_000)
            async with client.upload_stream("up.bin") as stream:
                await stream.write(b"x" * 5000)

    await asyncio.gather(*(session() for _ in range(sessions)))
    counts = emulator.ask(lambda server: server.counts)
    assert (counts.accepted, counts.logins, counts.transfers_completed) == (sessions, sessions, 2 * sessions)
    assert (counts.bytes_sent, counts.bytes_received) == (sessions * 70_000, sessions * 5000)
    assert counts.transfers_failed == counts.passive_refused == 0
    emulator.wait_until(lambda server: server.sessions == 0)
    assert emulator.ask(lambda server: server.pool.counts(server.clock())[0]) == sessions
