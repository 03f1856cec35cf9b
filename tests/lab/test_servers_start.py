"""Starting and ending real servers: with which uids, over which addresses, under TLS, and what is left of them."""

from __future__ import annotations

import pytest

from support.lab_drives import Drive

pytestmark = pytest.mark.lab

ALL = ["vsftpd", "proftpd", "pure-ftpd", "inetutils-ftpd", "pyftpdlib", "aioftp"]
STEPS = """
STEPS = ["login", {"retr": "small.bin"}, {"stor": {"file": "upload/x", "size": "10KiB"}}, "list", "quit"]
"""
LEFT = """
from ftpstorm.lab.family import descendants
folder = tempfile.mkdtemp()
"""
SINGLE = """
import os
from ftpstorm.lab import kernel

kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS | kernel.CLONE_NEWNET)
open("/proc/self/setgroups", "w").write("deny")
open("/proc/self/uid_map", "w").write("0 0 1")
open("/proc/self/gid_map", "w").write("0 0 1")
kernel.bring_up_loopback()
"""
SERVE = """
with lab(**LAB) as net, served(net, SERVER) as server:
    version, addresses, ports = server.version, server.addresses, server.passive_range
    for each in addresses:
        server.addresses = (each,)
        tell(engine(server, STEPS), version=version, passive=ports, address=each[0])
    uploaded = (server.files / "upload" / "x").read_bytes()
    assert uploaded == bytes(range(256)) * 40, len(uploaded)
from ftpstorm.lab.family import descendants
assert descendants(os.getpid()) == [], "the server left processes"
"""


def serve(server: dict[str, object], **lab: object) -> str:
    return f"{STEPS}LAB = {lab!r}\nSERVER = {server!r}\n{SERVE}"


@pytest.mark.parametrize("name", ALL)
def test_each_server_moves_files_both_ways_and_leaves_no_process(drive: Drive, name: str) -> None:
    (told,) = drive(name, serve({"name": name}))
    assert told["operations"] == ["none"] * 5
    assert told["version"][0].isdigit()


@pytest.mark.parametrize("name", ["vsftpd", "proftpd", "inetutils-ftpd", "pyftpdlib", "aioftp"])
def test_where_one_uid_is_all_there_is_these_run_too(drive: Drive, name: str) -> None:
    (told,) = drive(name, SINGLE + serve({"name": name}))
    assert told["operations"] == ["none"] * 5


def test_where_one_uid_is_all_there_is_pure_ftpd_is_refused_with_the_reason(drive: Drive) -> None:
    (said,) = drive(
        "pure-ftpd",
        SINGLE
        + """
from ftpstorm.errors import EnvironmentUnavailableError
with lab() as net:
    try:
        with served(net, {"name": "pure-ftpd"}):
            pass
    except EnvironmentUnavailableError as error:
        print(json.dumps(str(error)))
""",
    )
    assert "one uid only" in str(said)


@pytest.mark.parametrize("name", ALL)
def test_each_server_greets_and_serves_on_every_address(drive: Drive, name: str) -> None:
    told = drive(name, serve({"name": name}, server_addresses=2))
    assert [each["address"] for each in told] == ["10.78.0.1", "10.78.0.2"]
    assert [each["operations"] for each in told] == [["none"] * 5] * 2


@pytest.mark.parametrize("name", ALL)
def test_each_server_speaks_ipv6(drive: Drive, name: str) -> None:
    (told,) = drive(name, serve({"name": name}, ipv6=True))
    assert ":" in told["address"]
    assert told["operations"] == ["none"] * 5


@pytest.mark.parametrize(("name", "demands"), [("vsftpd", True), ("proftpd", True), ("pure-ftpd", False)])
def test_under_tls_data_connections_resume_controls_session_and_must_where_that_can_be_asked(
    drive: Drive, name: str, demands: bool
) -> None:
    steps = '["login", {"repeat": {"times": 3, "steps": [{"retr": "small.bin"}]}}, "quit"]'
    resumed, fresh = drive(
        name,
        f"""
with lab() as net, served(net, {{"name": "{name}", "tls": "explicit"}}) as server:
    for reuse in (True, False):
        run = engine(server, {steps}, tls={{"session_reuse": reuse}})
        tell(run, resumed=run.counts.data_resumed)
""",
    )
    assert (resumed["operations"], resumed["resumed"]) == (["none"] * 5, 3 if demands else 0)
    assert fresh["operations"][1] == ("data-tls" if demands else "none")
    assert fresh["resumed"] == 0


def test_a_server_that_does_not_start_is_told_with_its_last_words_and_leaves_nothing(drive: Drive) -> None:
    said, left = drive(
        "vsftpd",
        """
from ftpstorm.errors import EnvironmentUnavailableError
from ftpstorm.lab.family import descendants
from ftpstorm.lab.servers import start_server
from ftpstorm.scenario.target import Server
import pathlib, tempfile
folder = pathlib.Path(tempfile.mkdtemp())
server = Server.model_validate({"name": "vsftpd", "settings": {"no_such_thing": "YES"}})
with lab() as net:
    try:
        start_server(server, net.server, net.server.addresses[0], folder, {}, folder / "log")
    except EnvironmentUnavailableError as error:
        print(json.dumps(str(error)))
print(json.dumps([descendants(os.getpid()), os.listdir(folder)]))
""",
    )
    assert "vsftpd ended with status 2 before it greeted" in str(said)
    assert "unrecognised variable in config file: no_such_thing" in str(said)
    assert left == [[], ["log"]]


def test_stopping_ends_sessions_too_and_it_sees_nothing_of_this_system(drive: Drive) -> None:
    status, before, after = drive(
        "inetutils-ftpd",
        """
with lab() as net, served(net, {"name": "inetutils-ftpd"}) as server:
    from ftpstorm.lab.family import descendants
    occupants = Occupants(server)
    for _ in range(3):
        occupants.come_in()
    before = len(descendants(server.pid))
    seen = f"/proc/{server.pid}/root"
    assert os.listdir(seen + "/run") == ["ftpd.pid"], os.listdir(seen + "/run")
    assert os.listdir(seen + "/var/log") == []
    assert open(seen + "/etc/passwd").read().count("\\n") == 3
    status = server.stop()
    print(json.dumps(status)), print(json.dumps(before)), print(json.dumps(len(descendants(os.getpid()))))
""",
    )
    assert (status, before, after) == (128 + 15, 3, 0)
