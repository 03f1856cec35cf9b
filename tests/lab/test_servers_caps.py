"""Real servers at their maximum of sessions: where and in which words each turns the next one away."""

from __future__ import annotations

import pytest

from support.lab_drives import Drive
from support.lab_report import Shows

pytestmark = pytest.mark.lab


def full(document: dict[str, object], occupants: int) -> str:
    """Let `occupants` sessions in, run two more, let them go, run another."""
    return f"""
STEPS = ["login", {{"retr": "small.bin"}}, "quit"]
with lab() as net, served(net, {document!r}) as server:
    occupants = Occupants(server)
    for _ in range({occupants}):
        occupants.come_in()
    tell(engine(server, STEPS, {{"sessions": 2}}))
    occupants.leave()
    wait_for(lambda: all(word == "none" for word in engine(server, STEPS).classes()), "it lets sessions in again")
"""


@pytest.mark.parametrize(
    ("server", "admitted", "reply"),
    [
        ("vsftpd", 3, "421 There are too many connected users, please try later."),
        ("pure-ftpd", 3, "421 3 users (the maximum) are already logged in, sorry"),
        # counts its listening socket, and later data connections, among its connections
        ("pyftpdlib", 2, "421 Too many connections. Service temporarily unavailable."),
        ("aioftp", 3, "421 Too many connections"),
    ],
)
def test_a_maximum_of_clients_is_told_at_the_greeting(
    drive: Drive, server: str, admitted: int, reply: str, shows: Shows
) -> None:
    (told,) = drive(server, full({"name": server, "max_clients": 3}, admitted))
    shows(f"{server}, 3 clients at most", "the next two", {"busy-at-greeting": 2}, told["sessions"])
    assert told["sessions"] == {"busy-at-greeting": 2}
    assert {each["reply"] for each in told["failed"]} == {reply}


def test_proftpd_tells_its_maximum_after_the_password_and_that_is_no_wrong_password(drive: Drive, shows: Shows) -> None:
    (told,) = drive("proftpd", full({"name": "proftpd", "max_clients": 3}, 3))
    shows("proftpd, MaxClients 3", "the next two", {"busy-at-login": 2}, told["sessions"])
    assert told["sessions"] == {"busy-at-login": 2}
    assert "auth-failed" not in told["operations"]
    refusals = [each for each in told["failed"] if each["class"] == "busy-at-login"]
    assert {each["code"] for each in refusals} == {530}
    assert all("maximum number of allowed clients" in each["reply"] for each in refusals)


def test_proftpd_beyond_max_instances_closes_without_a_greeting(drive: Drive, shows: Shows) -> None:
    (told,) = drive("proftpd", full({"name": "proftpd", "max_instances": 3}, 3))
    shows("proftpd, MaxInstances 3", "the next two", {"greeting-eof": 2}, told["sessions"])
    assert told["sessions"] == {"greeting-eof": 2}
    assert {each["phase"] for each in told["failed"]} == {"greeting"}
