"""The models of a scenario file, version 1: every key, its default, its range and its meaning.

Field docstrings are the reference that `ftpstorm schema` publishes to editors. Cross-field rules stand in validators
here; what only YAML positions can tell (line and column, did-you-mean) belongs to `ftpstorm.scenario.loader`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from ftpstorm.scenario.capture import Capture
from ftpstorm.scenario.client import LAB_ADDRESSES, Client
from ftpstorm.scenario.expressions import parse_expression, parse_metric
from ftpstorm.scenario.flow import Flow
from ftpstorm.scenario.lab import Lab
from ftpstorm.scenario.load import Load
from ftpstorm.scenario.search import Search
from ftpstorm.scenario.sweep import Sweep
from ftpstorm.scenario.target import Target
from ftpstorm.scenario.threshold import Threshold
from ftpstorm.scenario.types import Count, DurationNs, Frozen, LastingNs, PositiveCount, PositiveRate, SizeBytes
from ftpstorm.scenario.variables import BUILT_IN, NAME
from ftpstorm.vocabulary import Cause, FailureClass

FAILURE_WORDS: Final = tuple(member.word for member in FailureClass if member)


def _metric(text: str) -> str:
    parse_metric(text)
    return text


def _failure_name(text: str) -> str:
    if text not in (*FAILURE_WORDS, "any", "any-other"):
        raise ValueError(f"{text!r} is no failure class; classes: any, any-other, {', '.join(FAILURE_WORDS)}")
    return text


def _count_condition(text: str) -> str:
    if re.match(r"\s*rate\b", text) or parse_expression(text).aggregation != "count":
        raise ValueError("a condition on failures is on `count`; write one such as count>0")
    return text


def _variable_name(text: str) -> str:
    if not re.fullmatch(NAME, text):
        raise ValueError("a variable's name has lower-case letters, digits and underscores, and begins with no digit")
    if text in BUILT_IN:
        raise ValueError(f"{text!r} is a variable that every scenario has")
    return text


VariableName = Annotated[str, AfterValidator(_variable_name)]
MetricText = Annotated[str, AfterValidator(_metric)]
FailureName = Annotated[str, AfterValidator(_failure_name)]
CountCondition = Annotated[str, AfterValidator(_count_condition)]


class Sampling(Frozen):
    """The sampler's pace."""

    every: DurationNs = "100ms"  # type: ignore[assignment]
    """Counters and socket counts; at least 10ms."""
    ports_every: DurationNs = "1s"  # type: ignore[assignment]
    """Per-port maps by inet_diag dump; slowed down by itself where a dump costs more than a tenth of this."""
    cool_down: DurationNs = "1s"  # type: ignore[assignment]
    """How long to go on sampling after the last session, to see ports recover."""

    @field_validator("every", "ports_every")
    @classmethod
    def _at_least(cls, value: int) -> int:
        if value < 10_000_000:
            raise ValueError("must be at least 10ms")
        return value


class Stop(Frozen):
    """When a run ends before its time."""

    max_duration: LastingNs = "1h"  # type: ignore[assignment]
    """Bound of the whole run."""
    unreachable_sessions: PositiveCount | None = None
    """End the run after so many sessions in a row got no greeting; null goes on to the end."""


class Guard(Frozen):
    """Bounds that a target outside loopback and the lab requires."""

    max_sessions: PositiveCount
    """Sessions in flight over all loads."""
    max_rate: PositiveRate
    """Sessions started over all loads: compared with what open models will start (of a Poisson process the mean) before
    the run, and with what closed models do start while it lasts."""
    stop_after: LastingNs


class Expect(Frozen):
    """What makes this run a reproduction: the run fails with 99 where it does not hold."""

    cause: Cause | None = None
    """What the diagnosis must name; `none` for a run in which nothing may run out."""
    failures: dict[FailureName, CountCondition] = {}
    """Failure class, `any`, or `any-other` (all not named here), to a condition such as `count>0`."""


class Users(Frozen):
    """Accounts to log in with, instead of `target.user`."""

    from_: Annotated[str, Field(min_length=1)] = Field(alias="from")
    """CSV file of `user,password`, with or without that heading. Looked for beside the scenario file, else from the
    working directory. Its passwords reach no results and no log."""
    pick: Literal["round-robin", "random"] = "round-robin"
    """Which account a session takes: the next by its number, or one by the scenario's `seed` and that number."""


class Variant(Frozen):
    """The same scenario with other settings."""

    set: dict[str, Any] = {}
    """Dotted key to new value."""
    expect: Expect | None = None
    """Replaces the scenario's `expect`; null keeps it."""
    description: str = ""


class Scenario(Frozen):
    """One scenario file, version 1."""

    version: Literal[1]
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=64)]
    """Lower-case letters, digits and hyphens; names the results folder."""
    description: str = ""
    imitates: str | None = None
    """The incident that this stands for."""
    cannot_show: str | None = None
    """What the imitation lacks."""
    target: Target
    lab: Lab | None = None
    """The network to build for the run; null: loopback, in a namespace of its own for the emulator."""
    client: Client = Client()
    flows: Annotated[dict[str, Flow], Field(min_length=1)]
    users: Users | None = None
    vars: dict[VariableName, str | Annotated[tuple[str, ...], Field(min_length=1)]] = {}
    """Variables for names and paths in steps, such as `{region}`: a text, or a list that sessions take in turn."""
    files: dict[str, SizeBytes] = {}
    """Files that the emulator offers for download, by name and size."""
    load: Annotated[dict[str, Load], Field(min_length=1, max_length=250)]
    sampling: Sampling = Sampling()
    capture: Capture | None = None
    """Keep the client's packets; null: none. `{}` keeps the headers of all."""
    stop: Stop = Stop()
    guard: Guard | None = None
    expect: Expect | None = None
    thresholds: dict[MetricText, tuple[Threshold, ...]] = {}
    """k6-like: metric, such as `data_connect{load:steady}`, to conditions, such as `p(99)<50ms`."""
    variants: dict[str, Variant] = {}
    sweep: Sweep | None = None
    """A grid over any keys, for `ftpstorm sweep`."""
    search: Search | None = None
    """Which load to look for, for `ftpstorm search`."""
    seed: Count = 1
    """Seed of everything random in the plan."""

    @model_validator(mode="after")
    def _lab_and_target(self) -> Scenario:
        if self.target.server is not None and self.lab is None:
            raise ValueError("`target.server` is started in a lab: add `lab: {topology: pair}`")
        if self.target.host is not None and self.lab is not None:
            raise ValueError("a lab reaches no host outside it: give `target.server` or `target.emulator`")
        if LAB_ADDRESSES in self.client.source_addresses:
            if self.lab is None:
                raise ValueError("`client.source_addresses: [lab]` needs a `lab`")
            if self.client.data_source == "other" and self.lab.client_addresses < 2:
                raise ValueError("`data_source: other` needs `lab.client_addresses: 2` or more")
        return self

    @model_validator(mode="after")
    def _captures_no_password(self) -> Scenario:
        secret = self.users is not None or self.target.password_env or self.target.password_file
        if self.capture is not None and self.capture.payload and secret:
            raise ValueError("`capture.payload` would keep passwords: leave it out, or log in without one")
        return self

    @field_validator("thresholds", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: [item] if isinstance(item, str | dict) else item for key, item in value.items()}
        return value
