"""Situations in which a known thing runs out: sections of a scenario, and the cause that must be named first.

Counts decide, no rates: bursts, closed loads and short steady loads that finish on a slow machine too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from support.faulty_server import command

Sections = dict[str, Any]

FAST = {"connect": "1500ms", "greeting": "1500ms", "reply": "4s", "data": "1500ms"}
PATIENT = {"connect": "30s", "greeting": "30s", "reply": "30s", "data": "30s"}
PAIR = {"topology": "pair"}
QUICK = {"every": "50ms", "ports_every": "200ms", "cool_down": "300ms"}


def flow(*steps: Any, **options: Any) -> Sections:
    return {"download": {"steps": ["login", *steps, "quit"], **options}}


def burst(sessions: int, **options: Any) -> Sections:
    return {"burst": {"executor": "burst", "sessions": sessions, "flow": "download", "graceful_stop": "20s", **options}}


def steady(rate: int, duration: str = "2s") -> Sections:
    return {
        "steady": {
            "executor": "constant-arrival-rate",
            "rate": f"{rate}/s",
            "duration": duration,
            "flow": "download",
            "graceful_stop": "20s",
        }
    }


def rounds(iterations: int, sessions: int = 4) -> Sections:
    return {
        "all": {
            "executor": "shared-iterations",
            "sessions": sessions,
            "iterations": iterations,
            "max_duration": "20s",
            "flow": "download",
        }
    }


def own(fault: str, number: int = 0) -> Sections:
    return {"server": {"command": command(fault, number)}}


def client(timeouts: Sections = FAST, **options: Any) -> Sections:
    return {"timeouts": timeouts, **options}


def emulator(**options: Any) -> Sections:
    return {"emulator": {"passive_ports": 500, **options}}


@dataclass(frozen=True)
class Situation:
    """One run. `needs` names a real server it uses; `files` the limit of open files that ftpstorm starts with."""

    cause: str
    sections: Sections
    lab: Sections | None = field(default_factory=lambda: dict(PAIR))
    needs: str | None = None
    files: int | None = None
    others: tuple[str, ...] = ()
    """Causes that must be among the others."""
    confidence: str | None = None


RETR = {"retr": "small.bin"}
STOR = {"stor": {"file": "{session}.bin", "size": "1KiB"}}
SMALL_RANGE = {"client": {"ip_local_port_range": "40000-40019"}}

CAUSES = {
    "ports-by-connect": Situation(
        "client-ephemeral-ports",
        {"target": emulator(passive_ports=1), "client": client(), "flows": flow(STOR), "load": rounds(60, 1)},
        PAIR | {"sysctls": SMALL_RANGE},
    ),
    "ports-by-bind": Situation(
        "client-bind-habit",
        {
            "target": emulator(passive_ports=50),
            "client": client(bind="port", source_addresses=["lab"]),
            "flows": flow(STOR),
            "load": rounds(60, 2),
        },
        PAIR | {"sysctls": SMALL_RANGE},
        confidence="certain",
    ),
    "open-files": Situation(
        "client-files",
        {
            "target": {"server": {"name": "proftpd"}},
            "client": client(PATIENT),
            "flows": flow({"think": "2s"}),
            "load": steady(100),
        },
        needs="proftpd",
        files=96,
        confidence="certain",
    ),
    "passive-pool-held": Situation(
        "server-passive-pool",
        {"target": emulator(passive_ports=4, hold={"for": "500ms"}), "flows": flow(RETR), "load": steady(50, "1s")},
        lab=None,
        confidence="certain",
    ),
    "passive-pool-of-the-kernel": Situation(
        "server-passive-pool",
        {"target": {"server": {"name": "inetutils-ftpd"}}, "flows": flow(RETR), "load": rounds(40, 2)},
        PAIR | {"sysctls": {"server": {"ip_local_port_range": "50000-50009"}}},
        needs="inetutils-ftpd",
        confidence="certain",
    ),
    "passive-pool-escaped": Situation(
        "server-passive-pool-escaped",
        {
            "target": {"server": {"name": "pyftpdlib", "passive_ports": 4}},
            "client": client(),
            "flows": flow({"pasv-only": {}}, {"think": "1s"}, RETR),
            "load": burst(20),
        },
        {"topology": "routed", "firewall": {"allow": ["10000-10003"]}},
    ),
    "data-connection-in-use": Situation(
        "data-connection-in-use",
        {
            "target": own("port-20"),
            "client": client(mode="active"),
            "flows": flow(RETR),
            "load": rounds(20, 1),
        },
    ),
    "active-ports-reused": Situation(
        "active-port-reused",
        {
            "target": own("port-20-again"),
            "client": client(mode="active", active_ports="41000-41003"),
            "flows": flow(RETR),
            "load": rounds(20, 1),
        },
        # with timestamps Linux lets a bound port take over its own TIME_WAIT
        PAIR | {"sysctls": {"server": {"tcp_timestamps": 0}}},
    ),
    "connection-cap-421": Situation(
        "server-connection-cap",
        {
            "target": emulator(max_connections={"count": 10}),
            "flows": flow({"think": "1s"}, RETR),
            "load": burst(30),
        },
        lab=None,
        confidence="certain",
    ),
    "connection-cap-at-login": Situation(
        "server-connection-cap",
        {
            "target": {"server": {"name": "proftpd", "max_clients": 5}},
            "flows": flow({"think": "1s"}, RETR),
            "load": burst(20),
        },
        needs="proftpd",
    ),
    "per-address-by-firewall": Situation(
        "per-address-limit",
        {
            "target": emulator(),
            "client": client(bind="no-port", source_addresses=["lab"]),
            "flows": flow({"think": "1s"}, RETR),
            "load": steady(25),
        },
        {
            "topology": "routed",
            "client_addresses": 2,
            "firewall": {"allow": ["1024-65535"], "connection_limit": 4, "refuse": "reject"},
        },
    ),
    "per-address-by-server": Situation(
        "per-address-limit",
        {
            "target": {"server": {"name": "vsftpd", "settings": {"max_per_ip": "5"}}},
            "flows": flow({"think": "1s"}, RETR),
            "load": burst(20),
        },
        needs="vsftpd",
    ),
    "ghosts": Situation(
        "backlog-ghost",
        {
            "target": emulator(backlog=8, accept_rate="20/s"),
            "client": client(greeting_nudge="500ms"),
            "flows": flow(RETR),
            "load": burst(100),
        },
        confidence="certain",
    ),
    "refused-in-bursts": Situation(
        "backlog-syn-refused",
        {
            "target": own("shy", 10),
            "flows": flow(RETR),
            "load": burst(40, over="50ms", every="1500ms", times=3),
        },
    ),
    "reset-by-the-server": Situation(
        "reset-after-accept",
        {"target": own("reset", 5), "client": client(), "flows": flow({"think": "500ms"}, RETR), "load": burst(20)},
        confidence="certain",
    ),
    "slow-accept": Situation(
        "slow-accept",
        {
            "target": emulator(accept_rate="20/s"),
            "client": client(greeting_nudge="500ms"),
            "flows": flow(RETR),
            "load": burst(100),
        },
        confidence="certain",
    ),
    "nat-pool": Situation(
        "nat-pool",
        {
            "target": emulator(),
            "client": client(),
            "flows": flow({"think": "1s"}, RETR),
            "load": steady(40),
        },
        {"topology": "routed", "nat": {"ports": "40000-40019"}},
        confidence="certain",
    ),
    "firewall-drops": Situation(
        "firewall-no-helper",
        {"target": emulator(), "client": client(), "flows": flow(RETR), "load": burst(10)},
        {"topology": "routed", "firewall": {}},
        confidence="certain",
    ),
    "close-wait": Situation(
        "close-wait-leak",
        {"target": own("leak", 8), "client": client(), "flows": flow(RETR), "load": steady(10)},
        confidence="certain",
    ),
    "login-refused": Situation(
        "login-refused",
        {"target": own("stranger"), "flows": flow(RETR), "load": burst(5)},
    ),
    "server-stops": Situation(
        "server-down",
        {"target": own("deaf", 20), "client": client(), "flows": flow(RETR), "load": steady(40)},
        confidence="certain",
    ),
    "stalled": Situation(
        "transfer-stall",
        {"target": own("stall"), "client": client(), "flows": flow(RETR), "load": burst(10)},
    ),
    "no-such-file": Situation(
        "unknown",
        {"target": own("absent"), "flows": flow(RETR), "load": burst(5)},
    ),
}

MIXED = {
    "pool-behind-a-cap": Situation(
        "server-passive-pool",
        {
            "target": emulator(passive_ports=2, hold={"for": "5s"}, max_connections={"count": 10}),
            "flows": flow(RETR, {"think": "1s"}),
            "load": burst(30),
        },
        lab=None,
        others=("server-connection-cap",),
    ),
    "nat-before-a-pool": Situation(
        "server-passive-pool",
        {
            "target": emulator(passive_ports=2, hold={"for": "5s"}),
            "client": client(),
            "flows": flow(RETR, {"think": "1s"}),
            "load": steady(40),
        },
        {"topology": "routed", "nat": {"ports": "40000-40019"}},
        others=("nat-pool",),
    ),
    "pool-behind-a-backlog": Situation(
        "server-passive-pool",
        {
            "target": emulator(passive_ports=2, hold={"for": "5s"}, backlog=8, accept_rate="20/s"),
            "client": client(greeting_nudge="500ms"),
            "flows": flow(RETR),
            "load": burst(100),
        },
        others=("backlog-ghost",),
    ),
}

HEALTHY = {
    "healthy": Situation(
        "none", {"target": emulator(), "client": client(PATIENT), "flows": flow(RETR, STOR), "load": rounds(40)}
    ),
    "slow-disk": Situation(
        "none",
        {"target": own("slow", 300), "client": client(PATIENT), "flows": flow(RETR), "load": rounds(16, 8)},
    ),
    "little-cpu": Situation(
        "none",
        {
            "target": {"server": {"command": ["nice", "-n", "19", *command("busy", 20)]}},
            "client": client(PATIENT),
            "flows": flow(RETR),
            "load": rounds(30, 8),
        },
    ),
    "far-server": Situation(
        "none",
        {"target": emulator(delay="100ms"), "client": client(PATIENT), "flows": flow(RETR), "load": rounds(16, 8)},
    ),
    "far-link": Situation(
        "none",
        {"target": emulator(), "client": client(PATIENT), "flows": flow(RETR), "load": rounds(16, 8)},
        PAIR | {"link": {"delay": "60ms"}},
        needs="netem",
    ),
}
