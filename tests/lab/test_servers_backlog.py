"""A burst against a server that accepts slowly: what a full listen backlog does, by its length and the kernel.

The server is the emulator, started as anybody's own server is: by its command line. It accepts 50 connections a second
or 1, so that of 1,500 at once it comes to few before the clients give up, however slow the machine is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from support.lab_drives import Drive
from support.lab_report import Shows
from support.lab_run import lacks_program

pytestmark = [pytest.mark.lab, pytest.mark.slow]

SESSIONS = 1500
ACCEPTED_MEANWHILE = 10
"""Places that 1 accept a second frees at most until the last ACKs have come again, on a machine that is 9 s late."""
SCRIPT = '''
import tempfile
from pathlib import Path

from ftpstorm.lab.commands import Batch, Commands

SCENARIO = """
version: 1
name: slow-accept
target: {emulator: {backlog: BACKLOG, accept_rate: RATE}}
flows: {flow: {steps: [login]}}
load: {load: {executor: burst, sessions: 1, flow: flow}}
"""

LATE = """
table inet late {
  quota first { until BYTES bytes; }
  chain input {
    type filter hook input priority 0;
    tcp dport PORT tcp flags & (fin | syn | rst | psh | ack) == ack quota name "first" drop
  }
}
"""

def burst(backlog, rate, timeouts, late=0, **sysctls):
    with tempfile.TemporaryDirectory() as folder:
        scenario = Path(folder, "scenario.yaml")
        scenario.write_text(SCENARIO.replace("BACKLOG", str(backlog)).replace("RATE", rate))
        command = [sys.executable, "-m", "ftpstorm", "serve", str(scenario), "--host", "{address}", "--port", "{port}"]
        with lab(sysctls={"server": sysctls}) as net, served(net, {"command": command}) as server:
            if late:  # the last ACK of the first `late` handshakes is lost
                rules = LATE.replace("PORT", str(server.addresses[0][1])).replace("BYTES", str(late * ACK_BYTES))
                Commands().run([Batch(net.server, "nft", rules)])
            files = counters(net.server)
            before = files.read_counters()
            run = engine(server, ["login", "quit"], {"sessions": 1500}, timeouts)
            after = files.read_counters()
            tell(run, counted={name: value - before[name] for name, value in after.items()})

ACK_BYTES = 52  # IPv4 and TCP with timestamps
IMPATIENT = {"connect": "4s", "greeting": "3s", "reply": "30s", "data": "5s"}
PATIENT = {"connect": "30s", "greeting": "30s", "reply": "30s", "data": "5s"}
'''


def burst(drive: Drive, call: str) -> tuple[dict[str, int], dict[str, int]]:
    """Return sessions by class and what the server's kernel counted."""
    told: dict[str, Any]
    (told,) = drive("", SCRIPT + call)
    assert sum(told["sessions"].values()) == SESSIONS
    return told["sessions"], told["counted"]


@pytest.mark.parametrize("backlog", [25, 511])
def test_a_stock_kernel_makes_ghosts(drive: Drive, backlog: int, shows: Shows) -> None:
    sessions, counted = burst(drive, f"burst({backlog}, '50/s', IMPATIENT)")
    situation = f"1,500 at once, backlog {backlog}, stock kernel, 50 accepts a second"
    shows(situation, "greeting-silent", "hundreds", sessions["greeting-silent"])
    shows(
        situation,
        "server ListenOverflows and SyncookiesSent",
        "both above 0",
        (counted["TcpExt.ListenOverflows"], counted["TcpExt.SyncookiesSent"]),
    )
    assert sessions["greeting-silent"] >= 300
    assert sessions["none"] > 25
    assert set(sessions) <= {"none", "greeting-silent", "control-connect-timeout"}
    # a ghost: its client is connected, and the server has no state for it
    assert sessions["none"] + sessions["greeting-silent"] > counted["Tcp.PassiveOpens"]
    assert counted["TcpExt.ListenOverflows"] > 0
    assert counted["TcpExt.SyncookiesSent"] > 0
    assert counted["TcpExt.EmbryonicRsts"] == 0


@pytest.mark.parametrize(("backlog", "late"), [(25, 20), (511, 300)])
def test_without_syn_cookies_and_with_abort_on_overflow_each_reset_is_an_embryonic_one(
    drive: Drive, backlog: int, late: int, require: Callable[[str, bool, str], None], shows: Shows
) -> None:
    """A handshake whose last ACK finds the queue full is reset.

    How often the order of packets makes that happen is the machine's luck, so the first ACKs are dropped here: the
    others fill the queue meanwhile, the server repeats its SYN-ACKs after a second, and by then it has accepted few.
    """
    require("nftables", (missing := lacks_program("nft")) is None, str(missing))
    kernel = "tcp_syncookies=0, tcp_abort_on_overflow=1"
    sessions, counted = burst(drive, f"burst({backlog}, '1/s', IMPATIENT, late={late}, {kernel})")
    resets = sessions.get("greeting-reset", 0)
    shows(
        f"the same, backlog {backlog}, syncookies 0, abort_on_overflow 1",
        "resets = EmbryonicRsts",
        counted["TcpExt.EmbryonicRsts"],
        resets,
    )
    assert resets >= late - ACCEPTED_MEANWHILE
    assert counted["TcpExt.EmbryonicRsts"] == resets
    assert counted["TcpExt.SyncookiesSent"] == 0
    # who is silent waits in the queue: nobody is a ghost
    assert sessions["none"] + sessions.get("greeting-silent", 0) <= counted["Tcp.PassiveOpens"]


def test_a_backlog_longer_than_the_burst_loses_nobody(drive: Drive, shows: Shows) -> None:
    sessions, counted = burst(drive, "burst(4096, '5000/s', PATIENT)")
    shows("1,500 at once, backlog 4096", "greeted", SESSIONS, sessions["none"])
    assert sessions == {"none": SESSIONS}
    assert counted["TcpExt.ListenOverflows"] == 0
