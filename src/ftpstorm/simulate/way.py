"""What stands between client and server in a plan's lab: address translation, a filter, a slow or lossy wire."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from ftpstorm.limits.profile import Profile
from ftpstorm.limits.router import nat_hold
from ftpstorm.limits.timewait import NO_HOLD, Hold
from ftpstorm.plan.plan import Plan
from ftpstorm.scenario.client import parse_port_range
from ftpstorm.scenario.lab import Firewall
from ftpstorm.simulate.service import ServiceTimes
from ftpstorm.simulate.serving import Failure
from ftpstorm.vocabulary import FailureClass, Phase

NAT_PORTS: Final = 64_512
"""Ports 1024 to 65535: what Linux translates to where no range is set."""
ECONNREFUSED: Final = 111
EHOSTUNREACH: Final = 113

_UNITS: Final = {"k": 1_000, "m": 1_000_000, "g": 1_000_000_000}


@dataclass(frozen=True, slots=True)
class Way:
    """The path's middle. The default is a wire that does nothing."""

    nat_ports: int | None = None
    """Connections to one destination address and port that the router can tell apart; None: no translation."""
    nat_hold: Hold = NO_HOLD
    """How long a closed connection keeps its translated port."""
    connection_limit: int | None = None
    """Control connections of one client address that the filter lets stand."""
    open_ports: frozenset[int] | None = None
    """Server ports that new connections may go to, beside the control port; None: all."""
    refuse: str = "drop"
    trip_ns: int = 0
    """What the wire adds to a round trip; 0 for one without delay."""

    def refusal(self, connect_timeout_ns: int, round_trip_ns: int) -> tuple[Failure, int]:
        """Return how a data connection fails that the filter does not allow, and after how long."""
        connecting = Phase.DATA_CONNECT
        if self.refuse == "reject":
            return (FailureClass.DATA_CONNECT_REFUSED, connecting, 1, 0, ECONNREFUSED, 0), round_trip_ns
        if self.refuse == "admin-prohibited":
            return (FailureClass.UNREACHABLE, connecting, 1, 0, EHOSTUNREACH, 0), round_trip_ns
        return (FailureClass.DATA_CONNECT_TIMEOUT, connecting, 1, 0, 0, 0), connect_timeout_ns


def way_of(plan: Plan, gateway: Profile | None = None) -> Way:
    """Return what stands between the two ends of a plan; `gateway` translates addresses in place of its own router."""
    lab = plan.scenario.lab
    nat, hold = None, NO_HOLD
    if gateway is not None and gateway.ports is not None:
        nat, hold = gateway.ports.count, gateway.time_wait or NO_HOLD
    elif lab is not None and lab.nat is not None:
        first, last = parse_port_range(lab.nat.ports) if lab.nat.ports is not None else (0, NAT_PORTS - 1)
        nat, hold = last - first + 1, _closed_hold(plan)
    wall = None if lab is None else lab.firewall
    if wall is None:
        return Way(nat_ports=nat, nat_hold=hold, trip_ns=trip_ns(plan))
    return Way(
        nat_ports=nat,
        nat_hold=hold,
        connection_limit=wall.connection_limit,
        open_ports=None if reads_control(plan, wall) else _open_ports(wall),
        refuse=wall.refuse,
        trip_ns=trip_ns(plan),
    )


def _closed_hold(plan: Plan) -> Hold:
    """How long this machine's kernel keeps a mapping whose connection has closed."""
    numbers = (plan.host.kernel or "").split("-")[0].split(".")[:2]
    known = len(numbers) == 2 and all(number.isdigit() for number in numbers)
    if not known:
        return NO_HOLD  # the lab runs on the kernel that plans it: 6.5 or later makes room
    return nat_hold((int(numbers[0]), int(numbers[1])))


def reads_control(plan: Plan, wall: Firewall) -> bool:
    """Tell whether the filter's FTP helper can follow what control connections agree on: not through TLS."""
    target = plan.scenario.target
    secret = target.tls.mode != "none" or (target.server is not None and target.server.tls != "none")
    return wall.helper and not secret


def _open_ports(wall: Firewall) -> frozenset[int]:
    ports: set[int] = set()
    for entry in wall.allow:
        first, _, last = str(entry).partition("-")
        ports.update(range(int(first), int(last or first) + 1))
    return frozenset(ports)


def trip_ns(plan: Plan) -> int:
    """Return how much longer the lab's link makes a round trip, in ns."""
    link = None if plan.scenario.lab is None else plan.scenario.lab.link
    return 0 if link is None else 2 * (link.delay or 0)


def over_link(service: ServiceTimes, plan: Plan) -> ServiceTimes:
    """Return service times with what the way adds: the emulator's own delay of its answers, and of a lab's link a round
    trip for whatever waits for an answer.

    Worked number: a link's one-way delay of 20 ms makes a connect of 100 us one of 40.1 ms. Loss is not in it.
    """
    emulator = plan.scenario.target.emulator
    if emulator is not None and emulator.delay:
        service = replace(
            service,
            reply_ns=service.reply_ns + emulator.delay,
            first_byte_ns=service.first_byte_ns + emulator.delay,
        )
    link = None if plan.scenario.lab is None else plan.scenario.lab.link
    if link is None:
        return service
    trip = trip_ns(plan)
    slowest = service.bytes_per_s
    if link.rate is not None:
        number = link.rate.removesuffix("bit")
        factor = _UNITS.get(number[-1], 1)
        slowest = max(1, min(slowest, round(float(number.rstrip("kmg")) * factor / 8)))
    return replace(
        service,
        connect_ns=service.connect_ns + trip,
        reply_ns=service.reply_ns + trip,
        first_byte_ns=service.first_byte_ns + trip,
        bytes_per_s=slowest,
    )
