"""NAT and firewall of a routed lab: how many flows pass, and how those that do not pass look to the client."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from support.lab_report import Shows
from support.lab_run import lab_drive, lab_refusal, lacks_program

pytestmark = pytest.mark.lab

SOCKETS = "from support.lab_sockets import *\n"
IMPATIENT = {"client": {"tcp_syn_retries": 1}}
"""A SYN is sent twice, then connect(2) gives up with ETIMEDOUT: about 3 s."""


@pytest.fixture(scope="module")
def refusal() -> str | None:
    return lab_refusal()


@pytest.fixture(autouse=True)
def _namespaces(refusal: str | None, require: Callable[[str, bool, str], None]) -> None:
    require("namespaces", refusal is None, str(refusal))
    for program, package in (("ip", "iproute2"), ("nft", "nftables")):
        require(package, (missing := lacks_program(program)) is None, str(missing))


def drive(script: str) -> Any:
    """Run `script` in a private namespace and return what it prints as JSON."""
    return json.loads(lab_drive(SOCKETS + script))


# --- NAT ------------------------------------------------------------------------------------------------------------


def test_nat_holds_as_many_flows_as_it_has_ports_and_counts_each_syn_that_it_drops(shows: Shows) -> None:
    up, failed, counters, tracked, missing = drive(
        f"""
from ftpstorm.sampler.conntrack import ConntrackFiles
from ftpstorm.sampler.procnet import NetFiles
with lab(topology="routed", nat={{"ports": "40000-40499"}}, sysctls={IMPATIENT}) as network:
    with network.router.entered():
        files = ConntrackFiles()
    listener = listen(network.server, 21)
    up, failed = connect_all([(network.server.addresses[0], 21)] * 600, patience_ms=0)
    counters, tracked = NetFiles().read_counters(), files.read()
    print(json.dumps([len(up), failed, counters, tracked, files.missing]))
"""
    )
    shows("NAT with 500 ports, 600 connects", "flows held", 500, up)
    shows("NAT with 500 ports, 600 connects", "connects that timed out", 100, failed.count("ETIMEDOUT"))
    assert up == 500
    assert Counter(failed) == {"ETIMEDOUT": 100}
    assert tracked["conntrack.entries"] == 500
    syns = counters["Tcp.ActiveOpens"] + counters["TcpExt.TCPSynRetrans"]
    shows(
        "NAT with 500 ports, 600 connects",
        "insert_failed (SYNs dropped)",
        syns - 500,
        tracked["conntrack.insert_failed"],
    )
    assert tracked["conntrack.insert_failed"] == tracked["conntrack.drop"] == syns - 500
    assert missing is None


def test_nat_ports_count_for_each_destination() -> None:
    counts = drive(
        """
from collections import Counter
with lab(topology="routed", nat={"ports": "40000-40019"}, server_addresses=2) as network:
    listeners = [listen(network.server, 21), listen(network.server, 22)]
    destinations = [(address, port) for address in network.server.addresses for port in (21, 22)]
    up, failed = connect_all(destinations * 30)
    print(json.dumps(list(Counter(sock.getpeername() for sock in up).values())))
"""
    )
    assert counts == [20, 20, 20, 20]


def test_several_client_hosts_share_the_routers_ports() -> None:
    counts = drive(
        """
held = []
with lab(topology="routed", nat={"ports": "40000-40019"}, clients=2) as network:
    listener = listen(network.server, 21)
    for client in network.clients:
        with client.entered():
            held.append(connect_all([(network.server.addresses[0], 21)] * 15)[0])
    print(json.dumps([len(sockets) for sockets in held]))
"""
    )
    assert counts == [15, 5]


def test_the_server_sees_the_routers_address_and_ports_of_the_range() -> None:
    peers = drive(
        """
with lab(topology="routed", nat={"ports": "40000-40019"}, client_addresses=3) as network:
    listener = listen(network.server, 21)
    server, sources = network.server.addresses[0], network.clients[0].addresses
    held = [connect(server, 21, bind_address(address))[0] for address in sources]
    print(json.dumps([listener.accept()[1] for _ in held]))
"""
    )
    assert {address for address, _ in peers} == {"10.79.0.1"}
    assert len({port for _, port in peers}) == 3
    assert all(40_000 <= port <= 40_019 for _, port in peers)


def test_what_only_the_whole_machine_has_is_refused_with_that_reason() -> None:
    out = lab_drive(
        """
from ftpstorm.errors import EnvironmentUnavailableError
try:
    with lab(topology="routed", nat={}, conntrack={"max": 1000}): pass
except EnvironmentUnavailableError as error:
    print(error)
"""
    )
    assert "net.netfilter.nf_conntrack_max = '1000' on router failed with E" in out
    assert "it is the whole machine's, and no lab may change it" in out


# --- firewall -------------------------------------------------------------------------------------------------------

REFUSALS = [
    ("drop", False, "ETIMEDOUT"),
    ("drop", True, "ETIMEDOUT"),
    ("reject", False, "ECONNREFUSED"),
    ("reject", True, "ECONNREFUSED"),
    ("admin-prohibited", False, "EHOSTUNREACH"),
    ("admin-prohibited", True, "EACCES"),
]


@pytest.mark.parametrize(("refuse", "ipv6", "word"), REFUSALS)
def test_only_allowed_ports_pass_and_every_other_connect_fails_as_chosen(refuse: str, ipv6: bool, word: str) -> None:
    allowed, refused, backwards = drive(
        f"""
firewall = {{"allow": [22, "10000-10009"], "refuse": {refuse!r}}}
with lab(topology="routed", ipv6={ipv6}, firewall=firewall) as network:
    address = network.server.addresses[0]
    listeners = [listen(network.server, port) for port in (21, 22, 10000, 10009, 10010)]
    allowed = [connect(address, port)[1] for port in (21, 22, 10000, 10009)]
    refused = connect_all([(address, 10010)] * 50)
    waiting = listen(network.clients[0], 2000)
    with network.server.entered():
        backwards = connect(network.clients[0].addresses[0], 2000)[1]
    print(json.dumps([allowed, [len(refused[0]), refused[1]], backwards]))
"""
    )
    assert allowed == [""] * 4
    assert refused == [0, [word] * 50]  # each of them: the router's ICMP errors are not rationed
    assert backwards == word


SCRIPTED_FTP = """
def line(sock):
    text = b""
    while not text.endswith(b"\\r\\n"):
        text += sock.recv(1)
    return text

def ask(client, served, command, reply):
    client.sendall(command + b"\\r\\n")
    assert line(served) == command + b"\\r\\n"
    served.sendall(reply + b"\\r\\n")
    assert line(client) == reply + b"\\r\\n"

def open_control(network, port):
    listener = listen(network.server, port)
    client, word = connect(network.server.addresses[0], port)
    assert client, word
    served, _ = listener.accept()
    served.settimeout(20)
    served.sendall(b"220 scripted\\r\\n")
    assert line(client) == b"220 scripted\\r\\n"
    return client, served

def passive(network, client, served, port):
    data = listen(network.server, port)
    if ":" in network.server.addresses[0]:
        ask(client, served, b"EPSV", b"229 Entering Extended Passive Mode (|||%d|)" % port)
    else:
        ask(client, served, b"PASV", b"227 Entering Passive Mode (10,78,0,1,%d,%d)" % divmod(port, 256))
    return connect(network.server.addresses[0], port)[1]

def active(network, client, served, port):
    data = listen(network.clients[0], port)
    if ":" in network.clients[0].addresses[0]:
        ask(client, served, b"EPRT |2|%s|%d|" % (network.clients[0].addresses[0].encode(), port), b"200 fine")
    else:
        ask(client, served, b"PORT 10,77,0,1,%d,%d" % divmod(port, 256), b"200 fine")
    with network.server.entered():
        return connect(network.clients[0].addresses[0], port)[1]
"""


@pytest.mark.parametrize("ipv6", [False, True])
@pytest.mark.parametrize(
    ("helper", "refuse", "word"),
    [
        (True, "drop", ""),
        (False, "drop", "ETIMEDOUT"),
        (False, "reject", "ECONNREFUSED"),
        (False, "admin-prohibited", "EHOSTUNREACH"),
    ],
)
def test_data_connections_pass_a_firewall_only_with_the_ftp_helper(
    helper: bool, refuse: str, word: str, ipv6: bool, shows: Shows
) -> None:
    found = drive(
        SCRIPTED_FTP
        + f"""
firewall = {{"helper": {helper}, "refuse": {refuse!r}}}
with lab(topology="routed", ipv6={ipv6}, firewall=firewall) as network:
    client, served = open_control(network, 21)
    print(json.dumps([passive(network, client, served, 10000), active(network, client, served, 2000)]))
"""
    )
    if not ipv6:
        situation = f"default-drop router, {refuse}, {'with' if helper else 'without'} the ftp helper"
        shows(situation, "connect to a passive port", word or "works", found[0] or "works")
    assert found == [word if not ipv6 else word.replace("EHOSTUNREACH", "EACCES")] * 2


def test_the_helper_reads_the_control_port_that_the_server_has() -> None:
    words = json.loads(
        lab_drive(
            SOCKETS
            + SCRIPTED_FTP
            + """
keys = {"topology": "routed", "firewall": {"helper": True, "refuse": "reject", "allow": [21]}}
with build(Lab.model_validate(keys), control_port=2121) as network:
    client, served = open_control(network, 2121)
    other, also = open_control(network, 21)
    print(json.dumps([passive(network, client, served, 10000), passive(network, other, also, 10001)]))
"""
        )
    )
    assert words == ["", "ECONNREFUSED"]


@pytest.mark.parametrize("ipv6", [False, True])
def test_one_address_gets_no_more_control_connections_than_the_limit_and_a_reset_for_the_next(ipv6: bool) -> None:
    words, other, again = drive(
        f"""
keys = dict(topology="routed", clients=2, ipv6={ipv6}, firewall={{"connection_limit": 5, "allow": [10000]}})
with lab(**keys) as network:
    address = network.server.addresses[0]
    control, data = listen(network.server, 21), listen(network.server, 10000)
    held = [connect(address, 21) for _ in range(8)]
    words = [word for _, word in held] + [connect(address, 10000)[1] for _ in range(8)]
    with network.clients[1].entered():
        other = connect(address, 21)[1]
    held[0][0].close()
    control.accept()[0].close()  # the first accepted is the first that connected
    again = wait_for(lambda: connect(address, 21)[1] == "", "room for another one")
    print(json.dumps([words, other, again]))
"""
    )
    assert words == [""] * 5 + ["ECONNREFUSED"] * 3 + [""] * 8
    assert other == ""
    assert again is True


def test_new_connections_above_the_rate_are_refused_and_open_ones_are_not() -> None:
    words, alive = drive(
        """
keys = dict(topology="routed", firewall={"rate_limit": "1/d", "refuse": "reject"})  # none comes back meanwhile
with lab(**keys) as network:
    listener = listen(network.server, 21)
    held = [connect(network.server.addresses[0], 21) for _ in range(8)]
    first, _ = listener.accept()
    held[0][0].sendall(b"x" * 10)
    print(json.dumps([[word for _, word in held], len(first.recv(10))]))
"""
    )
    assert words == [""] * 5 + ["ECONNREFUSED"] * 3
    assert alive == 10
