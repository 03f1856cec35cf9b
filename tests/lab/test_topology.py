"""The lab's network for real: who reaches whom, which ports run out when, and what of it is left afterwards."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.lab_report import Shows
from support.lab_run import lab_command, lab_drive, lab_refusal, lacks_program
from support.short_run import wait_for

pytestmark = pytest.mark.lab

SOCKETS = "from support.lab_sockets import *\n"


@pytest.fixture(scope="module")
def refusal() -> str | None:
    return lab_refusal()


@pytest.fixture(autouse=True)
def _namespaces(refusal: str | None, require: Callable[[str, bool, str], None]) -> None:
    require("namespaces", refusal is None, str(refusal))
    for program, package in (("ip", "iproute2"), ("nft", "nftables")):
        require(package, (missing := lacks_program(program)) is None, str(missing))


def drive(script: str, **options: Any) -> Any:
    """Run `script` in a private namespace and return what it prints as JSON."""
    return json.loads(lab_drive(script, **options))


@pytest.fixture
def host_settings() -> Iterator[None]:
    """Fail if a setting of this machine's own network is another one afterwards."""

    def read() -> dict[str, bytes]:
        found = {}
        for folder in ("ipv4", "core", "ipv6"):
            for path in Path("/proc/sys/net", folder).glob("*"):
                try:
                    found[str(path)] = path.read_bytes()
                except OSError:
                    continue  # a folder, or for writing only
        return found

    before = read()
    assert before
    yield
    assert read() == before


TOPOLOGIES = [
    {"topology": "loopback"},
    {"topology": "loopback", "own_address": True, "server_addresses": 2},
    {"topology": "pair", "clients": 2, "client_addresses": 2, "server_addresses": 2},
    {"topology": "routed", "clients": 2, "client_addresses": 2, "server_addresses": 2},
]


@pytest.mark.parametrize("ipv6", [False, True])
@pytest.mark.parametrize("keys", TOPOLOGIES, ids=["loopback", "own-address", "pair", "routed"])
def test_every_client_address_reaches_every_server_address_and_is_seen_as_itself(
    keys: dict[str, Any], ipv6: bool, host_settings: None
) -> None:
    missed, made = drive(
        SOCKETS
        + f"""
with lab(**{keys}, ipv6={ipv6}) as network:
    listener = listen(network.server, 2121)
    missed, made = [], 0
    for client in network.clients:
        for server in network.server.addresses:
            for source in (*client.addresses, None):
                with client.entered():
                    sock, word = connect(server, 2121, bind_address(source) if source else bind_nothing)
                assert sock, (server, source, word)
                served, peer = listener.accept()
                wanted = source or (client.addresses[0] if client.netns != network.server.netns else server)
                missed += [] if peer[0] == wanted else [(peer[0], wanted)]
                missed += [] if served.getsockname()[0] == server else [(served.getsockname()[0], server)]
                made += 1
                sock.close()
                served.close()
    print(json.dumps([missed, made]))
"""
    )
    assert missed == []
    sources = keys.get("clients", 1) * (keys.get("client_addresses", 1) + 1)
    assert made == sources * keys.get("server_addresses", 1)


def test_a_process_started_in_a_host_is_there_and_the_caller_is_not_moved() -> None:
    inside, wanted, before, after = drive(
        """
import subprocess
def here(): return os.readlink("/proc/thread-self/ns/net")
with lab(topology="routed") as network:
    before, inside, wanted = here(), [], []
    for host in network.hosts:
        with host.entered():
            told = subprocess.run(["readlink", "/proc/self/ns/net"], capture_output=True, text=True)
            inside.append(told.stdout.strip())
        wanted.append(f"net:[{os.fstat(host.netns).st_ino}]")
    print(json.dumps([inside, wanted, before, here()]))
"""
    )
    assert inside == wanted
    assert len(set(inside)) == 3
    assert inside[0] == before == after  # client-0 is the caller's own network


def test_settings_are_made_where_they_belong_and_read_back() -> None:
    settings, seen = drive(
        """
import subprocess
keys = {"client": {"ip_local_port_range": "40000-40199", "tcp_tw_reuse": 0, "ip_local_reserved_ports": "40001,40002"},
        "server": {"somaxconn": 512, "tcp_rfc1337": 0},
        "router": {"net.ipv4.conf.server.forwarding": 1}}
with lab(topology="routed", sysctls=keys, conntrack={"tcp_timeout_time_wait": 10}, nat={}) as network:
    seen = {}
    for host in network.hosts:
        with host.entered():
            paths = ["/proc/sys/" + name.replace(".", "/") for name in network.settings[host.name]]
            seen[host.name] = subprocess.run(["cat", *paths], capture_output=True, text=True).stdout.splitlines()
    print(json.dumps([network.settings, seen]))
"""
    )
    assert settings["client-0"]["net.ipv4.ip_local_port_range"] == "40000 40199"
    assert settings["client-0"]["net.ipv4.ip_local_reserved_ports"] == "40001-40002"
    assert settings["client-0"]["net.ipv4.tcp_rfc1337"] == "1"
    assert settings["server"]["net.ipv4.tcp_rfc1337"] == "0"
    assert settings["server"]["net.core.somaxconn"] == "512"
    assert settings["router"]["net.ipv4.ip_forward"] == "1"
    assert settings["router"]["net.netfilter.nf_conntrack_tcp_timeout_time_wait"] == "10"
    for host, values in settings.items():
        assert [" ".join(line.split()) for line in seen[host]] == list(values.values())


@pytest.mark.parametrize(
    ("sysctls", "said"),
    [
        (
            {"server": {"tcp_nonsense": 1}},
            "net.ipv4.tcp_nonsense = '1' on server failed with ENOENT: this kernel has no",
        ),
        (
            {"client": {"tcp_tw_reuse": 7}},
            "net.ipv4.tcp_tw_reuse = '7' on client-0 failed with EINVAL: the kernel takes",
        ),
        ({"client": {"tcp_tw_reuse": "often"}}, "net.ipv4.tcp_tw_reuse = 'often' on client-0 failed with EINVAL"),
        ({"client": {"ip_local_port_range": "40199-40000"}}, "ip_local_port_range = '40199-40000' on client-0 failed"),
    ],
)
def test_a_setting_that_the_kernel_refuses_is_told_with_host_name_value_and_errno(
    sysctls: dict[str, Any], said: str
) -> None:
    out = lab_drive(
        f"""
from ftpstorm.errors import EnvironmentUnavailableError
try:
    with lab(sysctls={sysctls}): pass
except EnvironmentUnavailableError as error:
    print(int(error.exit_code), error)
"""
    )
    assert out.startswith("120 ")
    assert said in out


def test_a_setting_that_the_kernel_changes_is_told_with_what_it_has_instead() -> None:
    out = lab_drive(
        """
from ftpstorm.errors import EnvironmentUnavailableError
try:
    with lab(sysctls={"client": {"net.ipv4.conf.all.forwarding": 1, "ip_forward": 0}}): pass
except EnvironmentUnavailableError as error:
    print(error)
"""
    )
    assert "net.ipv4.conf.all.forwarding on client-0: wanted '1', but the kernel has '0'" in out


@pytest.mark.parametrize(("program", "package"), [("ip", "iproute2"), ("nft", "nftables")])
def test_a_missing_program_is_told_with_its_package(program: str, package: str) -> None:
    out = lab_drive(
        f"""
import shutil
from ftpstorm.errors import EnvironmentUnavailableError
which = shutil.which
shutil.which = lambda name, path: None if name == {program!r} else which(name, path=path)
try:
    with lab(topology="routed", nat={{}}): pass
except EnvironmentUnavailableError as error:
    print(error)
"""
    )
    assert f"the lab needs `{program}`" in out
    assert f"install the package {package}" in out


# --- ports ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ipv6", [False, True])
def test_an_even_range_gives_exactly_its_ports_and_then_no_more(ipv6: bool, host_settings: None, shows: Shows) -> None:
    count, word = drive(
        SOCKETS
        + f"""
client = {{"ip_local_port_range": "40000-40199", "tcp_tw_reuse": 0}}
with lab(ipv6={ipv6}, sysctls={{"client": client}}) as network:
    listener = listen(network.server, 2121)
    print(json.dumps(connects_until_refused(listener, [(network.server.addresses[0], 2121)], 500)))
"""
    )
    shows(f"one destination, client first, no reuse, IPv{6 if ipv6 else 4}", "connects out of 200 ports", 200, count)
    assert (count, word) == (200, "EADDRNOTAVAIL")


REUSE = [
    ("pair", {}, 0, False),
    ("pair", {}, 1, True),
    ("pair", {}, 2, False),
    ("loopback", {}, 0, False),
    ("loopback", {}, 1, True),
    ("loopback", {}, 2, True),  # the trap: the default hides exhaustion on 127.0.0.0/8
    ("loopback", {"own_address": True}, 2, False),
]


@pytest.mark.parametrize(("topology", "keys", "reuse", "reused"), REUSE)
def test_time_wait_ports_are_reused_as_tcp_tw_reuse_says(
    topology: str, keys: dict[str, Any], reuse: int, reused: bool, shows: Shows
) -> None:
    first, again, word, recycled = drive(
        SOCKETS
        + f"""
from ftpstorm.sampler.procnet import NetFiles
settings = {{"ip_local_port_range": "40000-40019", "tcp_tw_reuse": {reuse}}}
delay_s = 1.0
if os.path.exists("/proc/sys/net/ipv4/tcp_tw_reuse_delay"):  # Linux 6.14
    settings["tcp_tw_reuse_delay"] = 100
    delay_s = 0.1
with lab(topology={topology!r}, **{keys}, sysctls={{"client": settings}}) as network:
    listener = listen(network.server, 2121)
    destination = (network.server.addresses[0], 2121)
    first = []
    for _ in range(20):
        sock, word = connect(*destination)
        if sock is None: break
        first.append(sock)
    for sock in first:
        close_client_first(sock, listener)
    closed = time.monotonic()
    again, word = 0, ""
    while not again and time.monotonic() < closed + 2.5 * delay_s:  # well past the delay, far from the 60 s
        again, word = connects_until_refused(listener, [destination], 1)
        time.sleep(0.01)
    print(json.dumps([len(first), again, word, NetFiles().read_counters()["TcpExt.TWRecycled"]]))
"""
    )
    where = "over veth" if topology == "pair" else "on an address of its own" if keys else "on 127.0.0.0/8"
    shows(f"tcp_tw_reuse {reuse} {where}", "TIME_WAIT ports reused after the delay", reused, bool(again))
    assert first == 20
    assert (again, word) == ((1, "") if reused else (0, "EADDRNOTAVAIL"))
    assert (recycled > 0) is reused


@pytest.mark.parametrize(
    ("bind", "expected"),
    [
        ("bind_nothing", (100, "EADDRNOTAVAIL")),
        ("bind_address('10.77.0.1')", (100, "EADDRNOTAVAIL")),
        ("bind_port('10.77.0.1')", (20, "EADDRINUSE")),
    ],
    ids=["kernel", "no-port", "port"],
)
def test_a_port_drawn_at_connect_counts_for_each_destination_and_one_taken_at_bind_for_all(
    bind: str, expected: tuple[int, str], shows: Shows
) -> None:
    count, word = drive(
        SOCKETS
        + f"""
client = {{"ip_local_port_range": "40000-40019", "tcp_tw_reuse": 0}}
with lab(server_addresses=5, sysctls={{"client": client}}) as network:
    listener = listen(network.server, 2121)
    destinations = [(address, 2121) for address in network.server.addresses]
    print(json.dumps(connects_until_refused(listener, destinations, 500, {bind})))
"""
    )
    shows(f"20 ports, 5 destinations, {bind.partition('(')[0]}", "connections at one time", expected[0], count)
    assert (count, word) == expected


def test_client_hosts_and_addresses_each_have_their_own_ports() -> None:
    counts = drive(
        SOCKETS
        + """
client = {"ip_local_port_range": "40000-40019", "tcp_tw_reuse": 0}
with lab(clients=2, client_addresses=2, sysctls={"client": client}) as network:
    listener = listen(network.server, 2121)
    counts = []
    for host in network.clients:
        for address in host.addresses:
            with host.entered():
                counts.append(connects_until_refused(
                    listener, [(network.server.addresses[0], 2121)], 100, bind_address(address))[0])
    print(json.dumps(counts))
"""
    )
    assert counts == [20, 20, 20, 20]


# --- wires ----------------------------------------------------------------------------------------------------------

PROBED = """
import json
from ftpstorm.lab.links import probe_links
print(json.dumps(probe_links()))
"""


@pytest.fixture(scope="module")
def kernel_has() -> dict[str, str | None]:
    import sys

    out = subprocess.run([sys.executable, "-c", PROBED], capture_output=True, text=True, timeout=60, check=True).stdout
    found: dict[str, str | None] = json.loads(out)
    return found


@pytest.mark.parametrize("topology", ["pair", "routed"])
def test_a_rate_is_never_exceeded_in_either_direction(
    topology: str, kernel_has: dict[str, str | None], require: Callable[[str, bool, str], None]
) -> None:
    require("tbf", kernel_has["rate"] is None, str(kernel_has["rate"]))
    size, bits = 600_000, 8_000_000
    up_s, down_s = drive(
        SOCKETS
        + f"""
import threading
def measure(sender, receiver):
    began = time.monotonic()
    thread = threading.Thread(target=sender.sendall, args=(bytes({size}),))
    thread.start()
    left = {size}
    while left:
        left -= len(receiver.recv(65536))
    thread.join()
    return time.monotonic() - began
with lab(topology={topology!r}, link={{"rate": "8mbit"}}) as network:
    listener = listen(network.server, 2121)
    client, _ = connect(network.server.addresses[0], 2121)
    served, _ = listener.accept()
    print(json.dumps([measure(client, served), measure(served, client)]))
"""
    )
    bucket = 65_536
    least_s = (size - bucket) * 8 / bits  # headers come on top
    assert up_s > least_s
    assert down_s > least_s


def test_a_delay_is_that_of_each_direction(
    kernel_has: dict[str, str | None], require: Callable[[str, bool, str], None]
) -> None:
    require("netem", kernel_has["delay"] is None, str(kernel_has["delay"]))
    took_s = drive(
        SOCKETS
        + """
with lab(link={"delay": "50ms"}) as network:
    listener = listen(network.server, 2121)
    began = time.monotonic()
    connect(network.server.addresses[0], 2121)
    print(json.dumps(time.monotonic() - began))
"""
    )
    assert took_s >= 0.1


def test_what_the_probe_finds_missing_the_lab_refuses_by_name(kernel_has: dict[str, str | None]) -> None:
    out = lab_drive(
        """
from ftpstorm.errors import EnvironmentUnavailableError
try:
    with lab(link={"delay": "1ms"}):
        print("works")
except EnvironmentUnavailableError as error:
    print(error)
"""
    )
    if kernel_has["delay"] is None:
        assert out == "works\n"
    else:
        assert "sch_netem" in kernel_has["delay"]
        assert "`lab.link` with delay cannot be had here" in out
        assert "modprobe sch_netem" in out
        assert "; at: qdisc add dev " in out


# --- the end --------------------------------------------------------------------------------------------------------


def holders(inodes: set[int]) -> dict[int, set[int]]:
    """Return pid to those of the network namespaces `inodes` that the process is in or has a descriptor of."""
    found: dict[int, set[int]] = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            places = [process / "ns/net", *(process / "fd").iterdir()]
        except OSError:
            continue
        for place in places:
            try:
                target = str(place.readlink())
            except OSError:
                continue
            if target.startswith("net:[") and (inode := int(target[5:-1])) in inodes:
                found.setdefault(int(process.name), set()).add(inode)
    return found


@pytest.mark.parametrize("victim", ["caller", "builder"])
def test_kill_9_leaves_no_namespace(victim: str, host_settings: None) -> None:
    script = """
import subprocess
with lab(topology="routed", clients=2, nat={}) as network:
    for host in network.hosts:
        with host.entered():
            subprocess.Popen(["sleep", "600"])
    print(json.dumps([os.fstat(host.netns).st_ino for host in network.hosts]), flush=True)
    time.sleep(600)
"""
    with subprocess.Popen(lab_command(script), stdout=subprocess.PIPE, text=True) as outer:
        try:
            assert outer.stdout is not None
            inodes = set(json.loads(outer.stdout.readline()))
            assert len(inodes) == 4
            inside = holders(inodes)
            assert len(inside) >= 5  # the script and four sleepers
            builder = next(pid for pid, held in inside.items() if held == inodes)
            os.kill(outer.pid if victim == "caller" else builder, 9)
            wait_for(lambda: not holders(inodes), "no process in, and no descriptor of, the lab's namespaces")
        finally:
            outer.kill()


@pytest.mark.parametrize("keys", TOPOLOGIES, ids=["loopback", "own-address", "pair", "routed"])
def test_after_a_lab_the_callers_network_is_as_it_was_and_can_have_another(keys: dict[str, Any]) -> None:
    before, between, after = drive(
        f"""
import subprocess
def state():
    told = subprocess.run(["ip", "-brief", "address"], capture_output=True, text=True, check=True).stdout
    values = [open(f"/proc/sys/net/ipv4/{{name}}").read() for name in ("ip_local_port_range", "tcp_rfc1337")]
    return [told, len(os.listdir("/proc/self/fd")), *values]
before = state()
with lab(**{keys}, sysctls={{"client": {{"ip_local_port_range": "40000-40199"}}}}):
    pass
between = state()
with lab(**{keys}):
    pass
print(json.dumps([before, between, state()]))
"""
    )
    assert before == between == after


@pytest.mark.parametrize("keys", [{}, {"topology": "routed", "firewall": {"helper": True}}], ids=["pair", "routed"])
def test_a_lab_comes_and_goes_in_under_half_a_second(keys: dict[str, Any]) -> None:
    spent = drive(
        f"""
began = time.process_time_ns(), os.times()
with lab(**{keys}) as network: pass
ended = time.process_time_ns(), os.times()
children = ended[1].children_user + ended[1].children_system - began[1].children_user - began[1].children_system
print(json.dumps((ended[0] - began[0]) / 1e9 + children))
"""
    )
    assert spent < 0.5  # CPU time: the wall's is the machine's load


def test_a_plain_user_with_one_id_gets_the_same_network() -> None:
    if os.geteuid() != 0:
        pytest.skip("root: only root can become another user; the other tests have shown it for this one")
    peer, forwards = drive(
        """
with lab(topology="routed", clients=2, nat={"ports": "40000-40499"}, firewall={"helper": True}) as network:
    with network.server.entered():
        listener = socket.create_server(("10.78.0.1", 21))
    with network.clients[1].entered():
        sock = socket.create_connection(("10.78.0.1", 21), 20)
    print(json.dumps([listener.accept()[1], network.settings["router"]["net.ipv4.ip_forward"]]))
""",
        plain_user=True,
    )
    assert peer[0] == "10.79.0.1"
    assert 40_000 <= peer[1] <= 40_499
    assert forwards == "1"
