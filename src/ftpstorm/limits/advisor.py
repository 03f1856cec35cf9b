"""The limits read backwards: which range and which TIME_WAIT a rate needs, alone and together, on a platform."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, floor
from typing import Final, Literal

from ftpstorm.limits.limit import Limit
from ftpstorm.limits.platform import Platform
from ftpstorm.limits.profile import Profile
from ftpstorm.limits.settings import Fix, passive_range_settings, range_settings, reuse_settings, time_wait_settings

Means = Literal["nothing", "range", "time-wait", "range-and-time-wait", "reuse", "addresses"]
"""What is changed. `nothing`: the platform bears the rate as it is."""

TIME_WAIT_FLOOR_S: Final = 30.0
"""The shortest that is advised where something longer does it: what Microsoft's own pages set as the least."""


PORTS_MOST: Final = 64_512
"""Ports from 1024 to 65535."""
PAIRS_MOST: Final = 64
"""More addresses than this are advised only together with the widest range."""


@dataclass(frozen=True, slots=True)
class Option:
    """One way to reach the rate."""

    means: Means
    ports: int
    time_wait_s: float
    """The longest that the platform may keep a port, with this change."""
    reaches_per_s: float
    """R = P x S x D/(T + C) with these figures."""
    settings: tuple[Fix, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Advice:
    """What a profile needs for a rate."""

    profile: str
    rate_per_s: float
    now_per_s: float | None
    """What it surely bears as it is: the low end where sources differ. None where nobody says how long a port stays."""
    options: tuple[Option, ...]
    """Mildest first. Empty with `why` where nothing does it."""
    why: str = ""


def ports_needed(rate_per_s: float, time_wait_s: float, connection_s: float = 0.0, spread: int = 1) -> int:
    """Return P = r x (T + C)/(S x D), rounded up to an even number: the ports that bear a rate for ever.

    `spread` is S x D, source addresses times destination (address, port) pairs. Worked numbers: 400 a second, 240 s:
    96,000, more than there are; 120 s: 48,000; 30 s: 12,000; Linux' 62.07 s: 24,828.
    """
    if rate_per_s < 0 or time_wait_s < 0 or connection_s < 0 or spread < 1:
        raise ValueError("rate and times are 0 or more, and there is at least one pair of addresses")
    return max(2, 2 * ceil(round(rate_per_s * (time_wait_s + connection_s) / spread / 2, 9)))


def time_wait_needed(ports: int, rate_per_s: float, connection_s: float = 0.0, spread: int = 1) -> float:
    """Return T = P x S x D/r - C in s: the longest TIME_WAIT with which `ports` bear a rate; below 0 where none does.

    Worked numbers: 3,976 ports, 400 a second: 9.94 s; 16,384 ports: 40.96 s.
    """
    if ports < 1 or rate_per_s <= 0 or connection_s < 0 or spread < 1:
        raise ValueError("ports and rate are above 0, and a connection lasts 0 or longer")
    return ports * spread / rate_per_s - connection_s


def advise(profile: Profile, rate_per_s: float, connection_s: float = 0.0, spread: int = 1) -> Advice:
    """Return what makes `profile` bear `rate_per_s` (> 0) new connections a second to one destination.

    Cautious: where figures are ranges the fewest ports and the longest TIME_WAIT count. `connection_s` C and `spread`
    S x D as for `ports_needed`. Each option is checked against what the platform can be set to.
    """
    if rate_per_s <= 0:
        raise ValueError(f"rate {rate_per_s:g}: must be above 0")
    if profile.ports is None and profile.time_wait is not None:
        return _advise_rule(profile, rate_per_s, connection_s)
    if profile.ports is None:
        return Advice(profile.name, rate_per_s, None, (), profile.unknown or "it has no ports of its own")
    if profile.time_wait is None:
        return _advise_unknown(profile, rate_per_s, profile.ports.low * spread)
    now_ports, now_s = profile.ports.low, profile.time_wait.high_s
    asker = _Asker(profile, rate_per_s, connection_s, spread)
    now = asker.rate(now_ports, now_s)
    if now is None or now >= rate_per_s:
        option = Option("nothing", now_ports, now_s, now or rate_per_s, (), "it bears the rate as it is")
        return Advice(profile.name, rate_per_s, now, (option,))
    candidates = (
        asker.range_alone(now_s),
        asker.time_wait_alone(now_ports),
        *asker.pairs(now_s),
        *asker.reuse(now_ports),
    )
    options = tuple(option for option in candidates if option is not None)
    more = asker.addresses(now_ports, now_s)
    return Advice(profile.name, rate_per_s, now, (*options, more))


@dataclass(frozen=True, slots=True)
class Need:
    """What one limit of a path must be for a rate."""

    symbol: str
    """Of the equation: the number of places."""
    meaning: str
    now: float
    needed: int
    """With everything else as it is."""
    hold_symbol: str | None
    """T or H of the equation, where a hold is part of it."""
    hold_needed_s: float | None
    """The longest hold with everything else as it is; None where even none at all is too long."""


def need_for(limit: Limit, rate_per_s: float) -> Need | None:
    """Return what `limit` must become to bear `rate_per_s` (> 0) of what it counts; None where it does already.

    None too for a limit that bounds no rate. Each equation is places over a time, R = n/(hold + life)/u, and its first
    symbol is n. The low end of an interval counts. Worked number: 20 ports held 2 s bear 10 transfers a second; 97 need
    194 ports, or a hold of 0.206 s.
    """
    if rate_per_s <= 0:
        raise ValueError(f"rate {rate_per_s:g}: must be above 0")
    if not limit.applies or limit.per_s is None:
        return None
    surely = limit.per_s if limit.interval is None else limit.interval[0]
    if surely >= rate_per_s or not limit.symbols:
        return None
    name, places = next(iter(limit.symbols.items()))
    if places.value is None:
        return None
    needed = ceil(round(places.value * rate_per_s / surely, 9))
    hold_name = next((key for key in ("T", "H") if key in limit.symbols and limit.symbols[key].value), None)
    longest = None
    if hold_name is not None:
        hold_s = limit.symbols[hold_name].value or 0.0
        life_s = max(0.0, places.value / (limit.per_s * _uses(limit)) - hold_s)
        left = places.value / (rate_per_s * _uses(limit)) - life_s
        longest = left if left > 0 else None
    return Need(name, places.meaning, places.value, needed, hold_name, longest)


def _uses(limit: Limit) -> float:
    used = limit.symbols.get("u")
    return used.value if used is not None and used.value else 1.0


def _advise_rule(profile: Profile, rate_per_s: float, connection_s: float) -> Advice:
    """A server's rule of thumb: it says how long a port counts, and the range is the administrator's."""
    assert profile.time_wait is not None
    seconds = profile.time_wait.high_s
    ports = ports_needed(rate_per_s, seconds, connection_s)
    settings = passive_range_settings(profile.platform, ports) if ports <= PORTS_MOST else ()
    if not settings:
        return Advice(profile.name, rate_per_s, None, (), f"it takes {ports:,} passive ports, more than there are")
    option = Option("range", ports, seconds, ports / (seconds + connection_s), settings)
    return Advice(profile.name, rate_per_s, None, (option,))


def _advise_unknown(profile: Profile, rate_per_s: float, ports: int) -> Advice:
    why = f"{profile.unknown}; at most {ports:,} connections at one time"
    return Advice(profile.name, rate_per_s, None, (), why)


@dataclass(frozen=True, slots=True)
class _Asker:
    """One profile and one rate."""

    profile: Profile
    rate_per_s: float
    connection_s: float
    spread: int

    @property
    def host(self) -> str:
        return (
            "server" if self.profile.kind == "passive-range" else "router" if self.profile.kind == "nat" else "client"
        )

    def rate(self, ports: int, time_wait_s: float) -> float | None:
        whole = time_wait_s + self.connection_s
        return ports * self.spread / whole if whole else None

    def option(self, means: Means, ports: int, time_wait_s: float, settings: tuple[Fix, ...], note: str = "") -> Option:
        reaches = self.rate(ports, time_wait_s)
        return Option(means, ports, time_wait_s, self.rate_per_s if reaches is None else reaches, settings, note)

    def range_settings(self, ports: int) -> tuple[Fix, ...]:
        if self.profile.kind == "passive-range":
            return passive_range_settings(Platform.IIS_6, ports)
        return range_settings(self.profile.platform, ports, self.host)

    def range_alone(self, time_wait_s: float) -> Option | None:
        ports = ports_needed(self.rate_per_s, time_wait_s, self.connection_s, self.spread)
        if self.profile.ports_most is None or ports > self.profile.ports_most:
            return None
        return self.option("range", ports, time_wait_s, self.range_settings(ports))

    def time_wait_alone(self, ports: int) -> Option | None:
        seconds = self._settable(ports)
        if seconds is None:
            return None
        settings = time_wait_settings(self.profile.platform, seconds, self.host)
        return self.option("time-wait", ports, seconds, settings, _shortness(seconds))

    def pairs(self, now_s: float) -> tuple[Option, ...]:
        """Both changed: the widest range with the longest TIME_WAIT that then does it; the range for the documented
        TIME_WAIT, set in words where sources differ about it; and the range for 30 s."""
        most, ports = self.profile.ports_most, self.profile.ports
        if most is None or ports is None or self.profile.time_wait is None or self.profile.time_wait_settable is None:
            return ()
        found: dict[float, Option] = {}
        longest = self._settable(most)
        if longest is not None and longest < now_s:
            found[longest] = self._pair(most, longest)
        floor_s = max(TIME_WAIT_FLOOR_S, self.profile.time_wait_settable[0])
        for seconds in (self.profile.time_wait.effective_s, floor_s):
            needed = ports_needed(self.rate_per_s, seconds, self.connection_s, self.spread)
            if ports.low < needed <= most and seconds < now_s:
                found.setdefault(seconds, self._pair(needed, seconds))
        return tuple(found.values())

    def _pair(self, ports: int, seconds: float) -> Option:
        settings = self.range_settings(ports) + time_wait_settings(self.profile.platform, seconds, self.host)
        return self.option("range-and-time-wait", ports, seconds, settings, _shortness(seconds))

    def _settable(self, ports: int) -> float | None:
        """The longest whole number of seconds that does it, within what can be set."""
        if self.profile.time_wait_settable is None:
            return None
        shortest, longest = self.profile.time_wait_settable
        seconds = float(floor(round(time_wait_needed(ports, self.rate_per_s, self.connection_s, self.spread), 9)))
        return min(seconds, longest) if seconds >= max(shortest, 1.0) else None

    def reuse(self, now_ports: int) -> tuple[Option, ...]:
        """Linux: connect() takes TIME_WAITs over, after the default delay or with the widest range a shorter one."""
        platform, most = self.profile.platform, self.profile.ports_most
        if not reuse_settings(platform) or most is None or self.profile.kind != "host":
            return ()
        delay = min(1.0, time_wait_needed(now_ports, self.rate_per_s, self.connection_s, self.spread))
        if delay >= 1.0:
            note = "connect() only: it does nothing for bind() and for a server's passive ports"
            return (self.option("reuse", now_ports, 1.0, reuse_settings(platform, 1.0, self.host), note),)
        wide = min(1.0, time_wait_needed(most, self.rate_per_s, self.connection_s, self.spread))
        if wide < 0.001:
            return ()
        kept = floor(wide * 1000) / 1000
        settings = self.range_settings(most) + reuse_settings(platform, kept, self.host)
        return (self.option("reuse", most, kept, settings, "connect() only"),)

    def addresses(self, ports: int, time_wait_s: float) -> Option:
        """More source addresses or destinations: what always does it, and changes no timer."""
        settings: tuple[Fix, ...] = ()
        times = self._times(ports, time_wait_s)
        if times > PAIRS_MOST and self.profile.ports_most is not None:
            ports = self.profile.ports_most
            settings = self.range_settings(ports)
            times = self._times(ports, time_wait_s)
        wider = replace(self, spread=self.spread * times)
        if self.profile.kind == "passive-range":
            command = f"{times} servers or server addresses, or a server that binds its range with SO_REUSEADDR"
        elif self.profile.kind == "nat":
            command = (
                f"{times} address{'' if times == 1 else 'es'} of the gateway, or as many destination addresses or ports"
            )
        else:
            command = f"{times} source addresses of the client, or {times} destination addresses or ports"
        fix = Fix(self.host, command, "now", "firewalls and peers must admit them")
        return wider.option("addresses", ports, time_wait_s, (*settings, fix))

    def _times(self, ports: int, time_wait_s: float) -> int:
        whole = time_wait_s + self.connection_s
        return max(1, ceil(round(self.rate_per_s * whole / (ports * self.spread), 9)))


def _shortness(seconds: float) -> str:
    return "" if seconds >= TIME_WAIT_FLOOR_S else f"shorter than the {TIME_WAIT_FLOOR_S:g} s that is usually advised"
