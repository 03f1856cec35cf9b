"""What takes a kernel's own TIME_WAIT to show: a minute each, side by side."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from support.lab_drives import make_drive
from support.lab_report import Shows

pytestmark = [pytest.mark.lab, pytest.mark.slow]

TIME_WAIT_S = (60.0, 62.1)
"""Linux: 60 s, ended in clumps every 2.048 s (net/ipv4/inet_timewait_sock.c)."""
GRACE_S = 3.0
"""How late a busy machine may notice: a probe each 0.2 s, one of them delayed."""


CLIENT = """
PORTS = {"ip_local_port_range": "40000-40199", "tcp_tw_reuse": 0}
with lab(sysctls={"client": PORTS}) as net:
    with served(net, {"name": "pyftpdlib"}) as server:
        def burst(sessions):
            return engine(server, ["login"], {"sessions": sessions})  # no QUIT: the client closes first
        began = time.monotonic()
        tell(burst(260))
        ended = time.monotonic()
        def again():
            time.sleep(0.2)  # a pace, not a wait: each try is a fact
            return burst(1).sessions[0]["class"] == "none"
        wait_for(again, "a port is free again", 75)
        print(json.dumps([time.monotonic() - began, time.monotonic() - ended]))
        time.sleep(2.2)  # one more clump: the rest of them
        tell(burst(260))
"""

SERVER = """
with lab(sysctls={"server": {"ip_local_port_range": "40000 40019"}}) as net:
    with served(net, {"name": "inetutils-ftpd"}) as server:
        def downloads(times):
            steps = ["login", {"repeat": {"times": times, "steps": [{"retr": "small.bin"}]}}, "quit"]
            return engine(server, steps)
        tell(downloads(25))
        ended = time.monotonic()
        def again():
            time.sleep(0.2)  # a pace, not a wait
            return downloads(1).classes()[1] == "none"
        wait_for(again, "a passive port is free again", 75)
        print(json.dumps([time.monotonic() - ended]))
        time.sleep(2.2)  # one more clump: the rest of them
        tell(downloads(25))
"""

Told = list[Any]


@pytest.fixture(scope="module")
def told(require: Callable[[str, bool, str], None]) -> tuple[Told, Told]:
    """What both scripts told. They wait for the kernel more than they work, so they wait at the same time."""
    drive = make_drive(require)
    with ThreadPoolExecutor() as pool:
        client = pool.submit(drive, "pyftpdlib", CLIENT, within_s=120)
        server = pool.submit(drive, "inetutils-ftpd", SERVER, within_s=120)
        return client.result(), server.result()


def test_a_burst_takes_all_ports_and_the_next_one_comes_a_time_wait_later(
    told: tuple[Told, Told], shows: Shows
) -> None:
    first, (longest, shortest), second = told[0]
    shows("one destination, client first, 200 ports", "sessions of 260 at once", 200, first["sessions"]["none"])
    shows("the same", "s until a port is free again", "60.0 to 62.1", round(longest, 1))
    shows("the same", "sessions of the next 260", 199, second["sessions"]["none"])
    assert first["sessions"] == {"none": 200, "local-ports-exhausted": 60}
    assert longest >= TIME_WAIT_S[0]
    assert shortest <= TIME_WAIT_S[1] + GRACE_S
    assert second["sessions"] == {"none": 199, "local-ports-exhausted": 61}  # the probe that succeeded holds one


def test_inetutils_passive_ports_come_back_after_their_time_wait(told: tuple[Told, Told], shows: Shows) -> None:
    first, (waited_s,), second = told[1]
    shows("inetutils-ftpd, 20 ephemeral ports", "s until PASV works again", "up to 62.1", round(waited_s, 1))
    assert first["operations"].count("passive-exhausted") == 5
    assert waited_s <= TIME_WAIT_S[1] + GRACE_S
    assert second["operations"].count("passive-exhausted") == 6  # the one that found out holds a port
