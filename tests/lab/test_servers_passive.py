"""Real servers whose passive ports are all taken: each in its own words, in the one vocabulary of failure classes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from support.lab_drives import Drive
from support.lab_report import Shows
from support.lab_run import lacks_program

pytestmark = pytest.mark.lab

PREPARED = """
PASSIVE = "10000-10003"
STEPS = ["login", {"retr": "small.bin"}, {"cwd": "/"}, "quit"]
"""


INETUTILS = """
with lab(sysctls={"server": {"ip_local_port_range": "40000 40019"}}) as net:
    with served(net, {"name": "inetutils-ftpd"}) as server:
        tell(engine(server, ["login", {"repeat": {"times": TIMES, "steps": [STEP]}}, "quit"]))
"""


def test_inetutils_binds_kernel_ports_and_answers_425_after_as_many_downloads_as_there_are(
    drive: Drive, shows: Shows
) -> None:
    (told,) = drive("inetutils-ftpd", 'TIMES = 30; STEP = {"retr": "small.bin"}' + INETUTILS)
    downloads = told["operations"][1:-1].count("none")
    shows("inetutils-ftpd, 20 ephemeral ports", "downloads before 425", 20, downloads)
    assert told["operations"] == ["none"] * 21 + ["passive-exhausted"] * 10 + ["none"]
    assert sorted(told["ports"][1:21]) == list(range(40000, 40020))
    refusals = {(each["code"], each["survived"], each["reply"]) for each in told["failed"]}
    assert refusals == {(425, 1, "425 Can't open passive connection: Address already in use.")}


def test_uploads_leave_time_wait_to_the_client_and_run_out_of_nothing(drive: Drive, shows: Shows) -> None:
    step = {"stor": {"file": "upload/x", "size": "1KiB"}}
    (told,) = drive("inetutils-ftpd", f"TIMES = 60; STEP = {step}" + INETUTILS)
    uploads = told["operations"][1:-1].count("none")
    shows("inetutils-ftpd, 20 ephemeral ports", "uploads of 60", 60, uploads)
    assert told["operations"] == ["none"] * 62


def exhausted(server: str) -> str:
    """Take every port of the range, run a session, give the ports back, run another session."""
    return f"""{PREPARED}
with lab() as net, served(net, {{"name": "{server}", "passive_ports": PASSIVE}}) as s:
    occupants = Occupants(s)
    while len(occupants.ports) < 4:
        occupants.take_port()
    tell(engine(s, STEPS))
    occupants.leave()
    wait_for(lambda: all(row == "none" for row in engine(s, STEPS).classes()), "passive ports are free again")
"""


def test_vsftpd_dies_of_a_full_range_with_500_oops(drive: Drive, shows: Shows) -> None:
    (told,) = drive("vsftpd", exhausted("vsftpd"))
    shows(
        "vsftpd, range full",
        "PASV, and control after it",
        "passive-exhausted, lost",
        ", ".join(told["operations"][1:3]),
    )
    assert told["operations"][:2] == ["none", "passive-exhausted"]
    assert "none" not in told["operations"][2:]  # what it still answers is another OOPS
    assert told["failed"][0]["reply"].startswith("500 OOPS: vsf_sysutil_bind")


def test_aioftp_closes_control_with_421_when_its_range_is_full(drive: Drive, shows: Shows) -> None:
    (told,) = drive("aioftp", exhausted("aioftp"))
    shows("aioftp, range full", "PASV", "passive-exhausted, control closed", told["operations"][1])
    assert told["operations"][:2] == ["none", "passive-exhausted"]
    assert told["failed"][0]["reply"] == "421 no free ports"
    assert {each["survived"] for each in told["failed"]} == {0}


@pytest.mark.parametrize("server", ["proftpd", "pyftpdlib"])
def test_some_servers_escape_a_full_range_without_a_word(drive: Drive, server: str, shows: Shows) -> None:
    (told,) = drive(server, exhausted(server))
    shows(f"{server}, range full", "PASV", "passive-out-of-range", told["operations"][1])
    assert told["operations"] == ["none", "passive-out-of-range", "none", "none"]
    assert told["ports"][1] not in range(10000, 10004)
    assert {each["survived"] for each in told["failed"]} == {1}


def test_pure_ftpd_admits_half_as_many_users_as_it_has_ports(drive: Drive, shows: Shows) -> None:
    capped, taken = drive(
        "pure-ftpd",
        PREPARED
        + """
with lab() as net, served(net, {"name": "pure-ftpd", "passive_ports": 8}) as s:
    occupants = Occupants(s)
    for _ in range(4):
        occupants.come_in()
    tell(engine(s, STEPS))
    occupants.leave()
    wait_for(lambda: all(row == "none" for row in engine(s, STEPS).classes()), "it admits users again")
    with listeners(net.server, net.server.addresses[0], range(10000, 10008)):
        tell(engine(s, STEPS))
""",
    )
    shows("pure-ftpd, 8 passive ports", "users admitted", 4, 4 if capped["failed"] else "more")
    shows("pure-ftpd, range full", "PASV", "passive-exhausted", taken["operations"][1])
    assert capped["operations"] == ["busy-at-greeting"] or capped["sessions"] == {"busy-at-greeting": 1}
    assert "421 4 users (the maximum) are already logged in" in capped["failed"][0]["reply"]
    assert taken["operations"] == ["none", "passive-exhausted", "none", "none"]
    assert taken["failed"][0]["reply"] == "425 All reserved TCP ports are busy"
    assert {each["survived"] for each in taken["failed"]} == {1}


@pytest.mark.parametrize("server", ["proftpd", "pyftpdlib"])
def test_a_firewall_that_knows_the_range_alone_makes_a_timeout_of_the_escape(
    drive: Drive, server: str, require: Callable[[str, bool, str], None], shows: Shows
) -> None:
    require("nftables", (missing := lacks_program("nft")) is None, str(missing))
    (told,) = drive(
        server,
        f"""{PREPARED}
document = {{"name": "{server}", "passive_ports": PASSIVE}}
with lab(topology="routed", firewall={{"allow": [PASSIVE]}}) as net, served(net, document) as s:
    occupants = Occupants(s)
    while len(occupants.ports) < 4:
        occupants.take_port()
    tell(engine(s, STEPS, timeouts={{"connect": "1s", "greeting": "30s", "reply": "30s", "data": "30s"}}))
""",
    )
    shows(
        f"{server}, range full, firewall that knows the range",
        "PASV and RETR",
        "data-connect-timeout",
        told["operations"][1],
    )
    assert told["operations"][:2] == ["none", "data-connect-timeout"]
    assert told["ports"][1] not in range(10000, 10004)
