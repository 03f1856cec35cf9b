"""``ftpstorm limits``: its questions answered with no packet sent. How that looks is left to `limits_shown`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ftpstorm.errors import ExitCode, UsageError
from ftpstorm.limits.advisor import Advice, Need, advise, need_for
from ftpstorm.limits.fixes import fixes
from ftpstorm.limits.limit import Limit
from ftpstorm.limits.platform import Platform
from ftpstorm.limits.profile import Profile
from ftpstorm.limits.profiles import PROFILES, profile_as_given, profile_of
from ftpstorm.limits.settings import Fix
from ftpstorm.plan.plan import Plan
from ftpstorm.sampler.hostfacts import read_host_facts
from ftpstorm.scenario.gallery import find_scenario
from ftpstorm.scenario.loader import load_scenario
from ftpstorm.scenario.target import Target
from ftpstorm.simulate.bounds import path_limits
from ftpstorm.simulate.events import Simulation
from ftpstorm.simulate.kernels import Suppose
from ftpstorm.simulate.shape import shape_of
from ftpstorm.units import NS_PER_S, parse_duration, parse_rate
from ftpstorm.vocabulary import Side


@dataclass(frozen=True, slots=True)
class Wanted:
    """A limit of the path that does not bear the rate that was asked for."""

    limit: Limit
    need: Need
    fixes: tuple[Fix, ...]


@dataclass(frozen=True, slots=True)
class PathAnswer:
    """A scenario's path, as it is or with a documented platform on it."""

    scenario: str
    profile: str | None
    """The platform that stands on the path; None: this host and the scenario's own."""
    limits: tuple[Limit, ...]
    """In rising order of rate."""
    offered_per_s: float | None
    wanted: tuple[Wanted, ...]
    """With a rate asked for: what falls short of it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Everything that one call says."""

    profiles: tuple[Profile, ...]
    rate_per_s: float | None
    advice: tuple[Advice, ...]
    paths: tuple[PathAnswer, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the answer as JSON types."""
        return {
            "profiles": [_profile_json(profile) for profile in self.profiles],
            "for_rate_per_s": self.rate_per_s,
            "advice": [asdict(advice) for advice in self.advice],
            "paths": [_path_json(path) for path in self.paths],
        }


def print_limits(
    scenario: str | None,
    names: Sequence[str],
    *,
    for_rate: str | None,
    ports: int | None,
    time_wait: str | None,
    overrides: Sequence[str],
    variant: str | None,
    as_json: bool,
    sources: bool,
) -> int:
    """Answer on stdout. Raises UsageError for what cannot be asked, ScenarioError for a bad scenario."""
    answer = answer_limits(
        scenario,
        names,
        for_rate=for_rate,
        ports=ports,
        time_wait=time_wait,
        overrides=overrides,
        variant=variant,
    )
    if as_json:
        print(json.dumps(answer.to_json(), indent=2))
        return ExitCode.PASS
    from ftpstorm.conduct.limits_shown import limits_tables
    from ftpstorm.conduct.live import new_console

    new_console().print(limits_tables(answer, sources=sources))
    return ExitCode.PASS


def answer_limits(
    scenario: str | None,
    names: Sequence[str] = (),
    *,
    for_rate: str | None = None,
    ports: int | None = None,
    time_wait: str | None = None,
    overrides: Sequence[str] = (),
    variant: str | None = None,
) -> Answer:
    """Return the answer. Errors as for `print_limits`."""
    rate = None if for_rate is None else _rate(for_rate)
    given = _given(ports, time_wait)
    named = tuple(_profile(name) for name in names) + given
    if scenario is None:
        if overrides or variant is not None:
            raise UsageError("--set and --variant change a scenario; name one")
        profiles = named or tuple(PROFILES.values())
        advice = () if rate is None else tuple(advise(profile, rate) for profile in profiles)
        return Answer(profiles, rate, advice, ())
    plan = _plan(scenario, overrides, variant)
    paths = tuple(_path(plan, profile, rate) for profile in (named or (None,)))
    return Answer(named, rate, (), paths)


def _rate(text: str) -> float:
    try:
        rate = float(parse_rate(text).per_s)
    except ValueError as error:
        raise UsageError(f"--for-rate {text}: {error}") from None
    if rate <= 0:
        raise UsageError(f"--for-rate {text}: must be above 0")
    return rate


def _given(ports: int | None, time_wait: str | None) -> tuple[Profile, ...]:
    if ports is None and time_wait is None:
        return ()
    if ports is None or time_wait is None:
        raise UsageError("--ports and --time-wait belong together: --ports 4000 --time-wait 120s")
    try:
        return (profile_as_given(ports, parse_duration(time_wait) / NS_PER_S),)
    except ValueError as error:
        raise UsageError(f"--ports {ports} --time-wait {time_wait}: {error}") from None


def _profile(name: str) -> Profile:
    try:
        return profile_of(name)
    except ValueError as error:
        raise UsageError(f"--profile {name}: {error}") from None


def _plan(scenario: str, overrides: Sequence[str], variant: str | None) -> Plan:
    loaded = load_scenario(find_scenario(scenario), overrides=overrides, variant=variant)
    return Plan(run_id="limits", scenario=loaded.scenario, variant=variant, host=read_host_facts())


def _path(plan: Plan, profile: Profile | None, rate: float | None) -> PathAnswer:
    simulation = Simulation(plan, suppose=None if profile is None else suppose_of(profile))
    shape = shape_of(plan, simulation.loads, simulation.service)
    limits = path_limits(plan, shape, simulation.setting)
    wanted: tuple[Wanted, ...] = ()
    if rate is not None:
        short = ((limit, need_for(limit, rate)) for limit in limits)
        wanted = tuple(
            Wanted(
                limit,
                need,
                fixes(
                    limit.name, limit.side, platform_at(limit.side, plan.scenario.target, profile), places=need.needed
                ),
            )
            for limit, need in short
            if need is not None
        )
    return PathAnswer(
        plan.scenario.name, None if profile is None else profile.name, limits, shape.offered_per_s, wanted
    )


def suppose_of(profile: Profile) -> Suppose:
    """Return where on a path a profile stands: a host at both ends, a gateway between them, a server's at the server.

    Raises UsageError for one without ports, which changes nothing.
    """
    if profile.ports is None:
        raise UsageError(f"--profile {profile.name}: it has no ports of its own ({profile.unknown or profile.title})")
    match profile.kind:
        case "nat":
            return Suppose(router=profile)
        case "passive-range" | "server":
            return Suppose(server=profile)
        case _:
            return Suppose(client=profile, server=profile)


def platform_at(side: Side, target: Target, profile: Profile | None) -> Platform:
    """Return whose words a fix on `side` needs: the server program's where it is known, else the system's."""
    if side is Side.SERVER:
        if target.emulator is not None:
            return Platform.EMULATOR
        if target.server is not None and target.server.name is not None:
            return Platform(target.server.name)
        return Platform.ANY if profile is None else profile.platform
    if profile is not None and (profile.kind == "nat") == (side is Side.ROUTER):
        return profile.platform
    return Platform.LINUX


def _profile_json(profile: Profile) -> dict[str, Any]:
    rate = profile.per_s
    rates = {f"per_{unit}": None if rate is None else rate * factor for unit, factor in PER.items()}
    return asdict(profile) | rates | {"per_s_interval": profile.per_s_interval}


PER = {"s": 1, "min": 60, "h": 3600}
"""Units of the table's rates, and seconds in each."""


def _path_json(path: PathAnswer) -> dict[str, Any]:
    return {
        "scenario": path.scenario,
        "profile": path.profile,
        "offered_per_s": path.offered_per_s,
        "limits": [limit.model_dump(mode="json") for limit in path.limits],
        "wanted": [
            {"name": entry.limit.name, "need": asdict(entry.need), "fixes": [asdict(fix) for fix in entry.fixes]}
            for entry in path.wanted
        ],
    }
