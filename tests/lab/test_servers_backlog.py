"""A burst against a server that accepts slowly: what a full listen backlog does, by its length and the kernel.

The server is the emulator, started as anybody's own server is: by its command line. It accepts 50 connections a second,
so that of 1,500 at once it comes to few before the clients give up, however slow the machine is.
"""

from __future__ import annotations

from typing import Any

import pytest

from support.lab_drives import Drive
from support.lab_report import Shows

pytestmark = [pytest.mark.lab, pytest.mark.slow]

SESSIONS = 1500
SCRIPT = """
import tempfile
from pathlib import Path

SCENARIO = '''
version: 1
name: slow-accept
target: {emulator: {backlog: BACKLOG, accept_rate: RATE}}
flows: {flow: {steps: [login]}}
load: {load: {executor: burst, sessions: 1, flow: flow}}
'''

def burst(backlog, rate, timeouts, **sysctls):
    with tempfile.TemporaryDirectory() as folder:
        scenario = Path(folder, "scenario.yaml")
        scenario.write_text(SCENARIO.replace("BACKLOG", str(backlog)).replace("RATE", rate))
        command = [sys.executable, "-m", "ftpstorm", "serve", str(scenario), "--host", "{address}", "--port", "{port}"]
        with lab(sysctls={"server": sysctls}) as net, served(net, {"command": command}) as server:
            files = counters(net.server)
            before = files.read_counters()
            run = engine(server, ["login", "quit"], {"sessions": 1500}, timeouts)
            after = files.read_counters()
            tell(run, counted={name: value - before[name] for name, value in after.items()})

IMPATIENT = {"connect": "4s", "greeting": "3s", "reply": "30s", "data": "5s"}
PATIENT = {"connect": "30s", "greeting": "30s", "reply": "30s", "data": "5s"}
"""


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


@pytest.mark.parametrize(("backlog", "at_least"), [(25, 10), (511, 200)])
def test_without_syn_cookies_and_with_abort_on_overflow_each_reset_is_an_embryonic_one(
    drive: Drive, backlog: int, at_least: int, shows: Shows
) -> None:
    sessions, counted = burst(drive, f"burst({backlog}, '50/s', IMPATIENT, tcp_syncookies=0, tcp_abort_on_overflow=1)")
    resets = sessions.get("greeting-reset", 0)
    shows(
        f"the same, backlog {backlog}, syncookies 0, abort_on_overflow 1",
        "resets = EmbryonicRsts",
        counted["TcpExt.EmbryonicRsts"],
        resets,
    )
    assert resets >= at_least
    assert counted["TcpExt.EmbryonicRsts"] == resets
    assert counted["TcpExt.SyncookiesSent"] == 0
    # who is silent waits in the queue: nobody is a ghost
    assert sessions["none"] + sessions.get("greeting-silent", 0) <= counted["Tcp.PassiveOpens"]


def test_a_backlog_longer_than_the_burst_loses_nobody(drive: Drive, shows: Shows) -> None:
    sessions, counted = burst(drive, "burst(4096, '5000/s', PATIENT)")
    shows("1,500 at once, backlog 4096", "greeted", SESSIONS, sessions["none"])
    assert sessions == {"none": SESSIONS}
    assert counted["TcpExt.ListenOverflows"] == 0
