"""The models of a scenario file, version 1: every key, its default, its range and its meaning.

Field docstrings are the reference that `ftpstorm schema` publishes to editors. Cross-field rules stand in validators
here; what only YAML positions can tell (line and column, did-you-mean) belongs to `ftpstorm.scenario.loader`.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, field_validator, model_serializer, model_validator

from ftpstorm.scenario.expressions import parse_expression
from ftpstorm.scenario.types import DurationNs, Frozen, PositiveRate, SizeBytes
from ftpstorm.vocabulary import Cause, FailureClass

Port = Annotated[int, Field(ge=1, le=65_535)]
Count = Annotated[int, Field(ge=0)]
PositiveCount = Annotated[int, Field(ge=1)]

FAILURE_WORDS: Final = tuple(member.word for member in FailureClass if member)


class Documented(Frozen):
    """Base of models whose attribute docstrings become JSON Schema descriptions."""

    model_config = ConfigDict(use_attribute_docstrings=True)


# --- target -----------------------------------------------------------------------------------------------------------


class Hold(Documented):
    """How long a passive port of the emulator stays taken after its data connection ended."""

    for_: DurationNs = Field(default="0s", alias="for")  # type: ignore[assignment]
    """Hold-down of a port; 0s frees it at once."""
    after: Literal["any-close", "server-close", "none"] = "any-close"
    """`server-close`: only when the server closed first, as TIME_WAIT works (RETR, LIST). `any-close`: after STOR too."""


class ConnectionCap(Documented):
    """What the emulator does with a control connection beyond its maximum."""

    count: PositiveCount
    """Control connections open at one time."""
    answer: Literal["421", "eof", "reset"] = "421"
    """`421` greets with that code and closes; `eof` closes without a word; `reset` sends RST."""
    text: str = "Too many connections"


class Emulator(Documented):
    """The embedded FTP server and its faults."""

    passive_ports: PositiveCount | Annotated[str, Field(pattern=r"^\d+-\d+$")] = 1000
    """Size of the passive pool, or the ports themselves as `10000-10019`."""
    hold: Hold = Hold()
    reply: str = "425 Try later, data connection in use."
    """Whole reply line when no passive port is free: a code from 400 to 599, a space, the text."""
    max_connections: ConnectionCap | None = None
    backlog: Annotated[int, Field(ge=0, le=65_535)] = 4096
    """listen(2) backlog of the control port; the kernel holds one more and clamps to somaxconn."""
    accept_rate: PositiveRate | None = None
    """Accept at most so many control connections a second; null for no limit."""

    @field_validator("reply")
    @classmethod
    def _reply_has_code(cls, value: str) -> str:
        code, space, text = value.partition(" ")
        if not (code.isdigit() and len(code) == 3 and 400 <= int(code) <= 599 and space and text) or "\n" in value:
            raise ValueError("must be one reply line: a code from 400 to 599, a space and a text")
        return value

    @field_validator("passive_ports")
    @classmethod
    def _range_in_order(cls, value: int | str) -> int | str:
        if isinstance(value, int):
            if value > 20_000:
                raise ValueError("at most 20000 ports")
            return value
        first, last = (int(part) for part in value.split("-"))
        if not 1024 <= first <= last <= 65_535:
            raise ValueError("must be first-last with 1024 <= first <= last <= 65535")
        return value

    @property
    def passive_count(self) -> int:
        """Ports in the passive pool."""
        if isinstance(self.passive_ports, int):
            return self.passive_ports
        first, last = (int(part) for part in self.passive_ports.split("-"))
        return last - first + 1


class Target(Documented):
    """The server under test: the embedded emulator, or a host."""

    emulator: Emulator | None = None
    host: str | None = None
    """Name or address. Anything but loopback needs --allow-target and a `guard`."""
    port: Port = 21
    user: str = "anonymous"
    password_env: str | None = None
    """Environment variable that holds the password."""
    password_file: str | None = None
    """File whose first line is the password."""
    passive_ports: Annotated[str, Field(pattern=r"^\d+-\d+$")] | None = None
    """The server's declared passive range, such as `10000-10019`, where you know it: ports outside it are reported."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Target:
        if (self.emulator is None) == (self.host is None):
            raise ValueError("give exactly one of `emulator` and `host`")
        if self.password_env and self.password_file:
            raise ValueError("give at most one of `password_env` and `password_file`")
        return self


# --- client -----------------------------------------------------------------------------------------------------------


class Timeouts(Documented):
    """Deadline of each phase."""

    connect: DurationNs = "5s"  # type: ignore[assignment]  # validated from text
    greeting: DurationNs = "5s"  # type: ignore[assignment]
    reply: DurationNs = "10s"  # type: ignore[assignment]
    data: DurationNs = "10s"  # type: ignore[assignment]
    """Longest silence on a data connection, and longest wait for the final reply after it."""


class Client(Documented):
    """How the load generator connects."""

    driver: Literal["storm"] = "storm"
    mode: Literal["epsv", "pasv", "auto"] = "auto"
    """How data connections are asked for; `auto` tries EPSV and falls back to PASV after 500, 502 or 522."""
    bind: Literal["kernel", "no-port", "port"] = "kernel"
    """`kernel`: the kernel draws the port at connect (4-tuple space); `no-port`: source address fixed, port drawn at
    connect; `port`: bind first (port space)."""
    source_addresses: tuple[str, ...] = ()
    """Local addresses, spread evenly over sessions; control and data of a session share one."""
    pasv_address: Literal["control-peer", "reply", "refuse"] = "control-peer"
    """When a PASV reply names another host: connect to the control peer, to that host, or fail with protocol-error."""
    timeouts: Timeouts = Timeouts()

    @model_validator(mode="after")
    def _bind_needs_address(self) -> Client:
        if self.bind != "kernel" and not self.source_addresses:
            raise ValueError(f"`bind: {self.bind}` needs `source_addresses`")
        return self


# --- flows ------------------------------------------------------------------------------------------------------------


class Shorthand(Documented):
    """Base of options with a scalar shorthand: the scalar stands for the field named by `_scalar`."""

    @classmethod
    def scalar_field(cls) -> str | None:
        """Name of the field that a bare scalar means, or None when the step takes no scalar."""
        return None

    @model_validator(mode="before")
    @classmethod
    def _from_scalar(cls, value: Any) -> Any:
        if value is None:
            return {}
        field = cls.scalar_field()
        if field is not None and not isinstance(value, dict | Frozen):
            return {field: value}
        return value


class Close(Documented):
    """Who ends a data connection, and how."""

    first: Literal["natural", "client", "server"] = "natural"
    """`natural`: whoever sends the data (server on RETR and LIST, client on STOR). `client` on RETR closes as soon as
    the expected bytes are in; `server` on STOR is not possible and refused."""
    with_: Literal["fin", "rst"] = Field(default="fin", alias="with")
    """`rst` sets SO_LINGER(1, 0): no TIME_WAIT on either side."""


class TransferOptions(Shorthand):
    """Options that every step with a data connection has."""

    mode: Literal["epsv", "pasv", "auto"] | None = None
    """Overrides `client.mode`."""
    close: Close = Close()


class LoginOptions(Shorthand):
    """Wait for the greeting, send USER and PASS, then TYPE I."""


class RetrOptions(TransferOptions):
    """Download a file and discard it."""

    file: str

    @classmethod
    def scalar_field(cls) -> str | None:
        return "file"


class StorOptions(TransferOptions):
    """Upload `size` bytes under the name `file`; `{session}` and `{operation}` in it are replaced by numbers."""

    file: str = "upload-{session}-{operation}.bin"
    size: SizeBytes = "1KiB"  # type: ignore[assignment]

    @classmethod
    def scalar_field(cls) -> str | None:
        return "size"

    @model_validator(mode="after")
    def _client_sends(self) -> StorOptions:
        if self.close.first == "server":
            raise ValueError("an upload ends when the client closes; `close.first: server` is not possible on stor")
        return self


class ListOptions(TransferOptions):
    """List a directory; null for the current one."""

    path: str | None = None

    @classmethod
    def scalar_field(cls) -> str | None:
        return "path"


class PasvOnlyOptions(Shorthand):
    """Ask for a passive port and never connect to it."""

    mode: Literal["epsv", "pasv", "auto"] | None = None


class CwdOptions(Shorthand):
    """Change the directory."""

    path: str

    @classmethod
    def scalar_field(cls) -> str | None:
        return "path"


class ThinkOptions(Shorthand):
    """Do nothing for a while, the control connection open."""

    duration: DurationNs

    @classmethod
    def scalar_field(cls) -> str | None:
        return "duration"


class NoopOptions(Shorthand):
    """Send NOOP."""


class QuitOptions(Shorthand):
    """Send QUIT, wait for 221 and for the server's close."""


class RepeatOptions(Documented):
    """Run `steps` so many times."""

    times: PositiveCount
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]


class Step(Documented):
    """One step of a flow: a mapping with exactly one key, or just its name where it needs no options."""

    login: LoginOptions | None = None
    retr: RetrOptions | None = None
    stor: StorOptions | None = None
    list: ListOptions | None = None
    nlst: ListOptions | None = None
    mlsd: ListOptions | None = None
    pasv_only: PasvOnlyOptions | None = Field(default=None, alias="pasv-only")
    cwd: CwdOptions | None = None
    noop: NoopOptions | None = None
    think: ThinkOptions | None = None
    quit: QuitOptions | None = None
    repeat: RepeatOptions | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {value: {}}
        if isinstance(value, dict):
            # `- login:` with nothing behind the colon reads as null in YAML and means the defaults
            return {key: {} if options is None else options for key, options in value.items()}
        return value

    @model_validator(mode="after")
    def _one_key(self) -> Step:
        if len(self.model_fields_set) != 1:
            raise ValueError("a step has exactly one key, such as `retr: small.bin`")
        return self

    @model_serializer
    def _as_written(self) -> dict[str, Any]:
        alias = type(self).model_fields[self.kind].alias or self.kind
        return {alias: self.options.model_dump(by_alias=True)}

    @property
    def kind(self) -> str:
        """The step's field name, such as ``retr`` or ``pasv_only``."""
        return next(iter(self.model_fields_set))

    @property
    def options(self) -> Any:
        """The step's options model."""
        return getattr(self, self.kind)


class Retry(Documented):
    """Try a failed step again on the same control connection."""

    on: tuple[Annotated[int, Field(ge=400, le=599)] | Literal["any"], ...] = ("any",)
    """FTP codes that are worth a retry, or `any` for every failure that control survived."""
    times: PositiveCount = 3
    wait: DurationNs | Annotated[str, Field(pattern=r"^[^.]+(\.\d+[a-z]+)?\.\.[^.]+")] = "2s"
    """Pause before each retry; `2s..30s` doubles from the first to the second."""

    @field_validator("wait", mode="before")
    @classmethod
    def _wait(cls, value: Any) -> Any:
        from ftpstorm.units import parse_duration

        if isinstance(value, str) and ".." in value:
            first, _, last = value.partition("..")
            if parse_duration(first) > parse_duration(last):
                raise ValueError("the first pause is longer than the last")
        return value

    def wait_ns(self, attempt: int) -> int:
        """Return the pause before retry `attempt` (1-based), in ns."""
        from ftpstorm.units import parse_duration

        if isinstance(self.wait, int):
            return self.wait
        first, _, last = self.wait.partition("..")
        return min(parse_duration(first) << (attempt - 1), parse_duration(last))


class OnFailure(Documented):
    """The long form of `on_failure`."""

    retry: Retry


class Flow(Documented):
    """What one session does."""

    steps: Annotated[tuple[Step, ...], Field(min_length=1)]
    on_failure: Literal["continue", "end-session"] | OnFailure = "continue"
    """After a failed step: `continue` with the next one if control survived, else end; `end-session`; or retry."""


# --- load -------------------------------------------------------------------------------------------------------------


class LoadBase(Documented):
    """Keys of every load."""

    flow: str
    start_time: DurationNs = "0s"  # type: ignore[assignment]
    """When this load begins, after the run's start."""
    graceful_stop: DurationNs = "10s"  # type: ignore[assignment]
    """How long sessions under way may go on after the load's end; then they count as interrupted."""


class Burst(LoadBase):
    """`sessions` at once, or spread evenly `over` a while; `every` repeats the burst `times` times."""

    executor: Literal["burst"]
    sessions: PositiveCount
    over: DurationNs = "0s"  # type: ignore[assignment]
    every: DurationNs | None = None
    times: PositiveCount = 1
    max_sessions: PositiveCount | None = None
    """Sessions in flight at one time; an arrival beyond is a counted drop. null: no limit."""

    @model_validator(mode="after")
    def _repeats(self) -> Burst:
        if self.times > 1 and self.every is None:
            raise ValueError("`times` needs `every`")
        if self.every is not None and self.every < max(self.over, 1):
            raise ValueError("`every` must be at least as long as `over`, and above 0s")
        return self


class ConstantArrivalRate(LoadBase):
    """Open model: sessions start at a fixed rate, however long each takes."""

    executor: Literal["constant-arrival-rate"]
    rate: PositiveRate
    """Sessions started for each unit of time."""
    duration: DurationNs
    max_sessions: PositiveCount = 1000
    """Sessions in flight at one time; an arrival beyond is a counted drop."""


class ConstantSessions(LoadBase):
    """Closed model: so many sessions at any time, each replaced when it ends."""

    executor: Literal["constant-sessions"]
    sessions: PositiveCount
    duration: DurationNs


class SharedIterations(LoadBase):
    """Closed model: `iterations` sessions in all, done by `sessions` at a time."""

    executor: Literal["shared-iterations"]
    sessions: PositiveCount
    iterations: PositiveCount
    max_duration: DurationNs = "10m"  # type: ignore[assignment]
    """When it stops even if iterations are left."""


Load = Annotated[Burst | ConstantArrivalRate | ConstantSessions | SharedIterations, Field(discriminator="executor")]


# --- what is watched and what must hold -------------------------------------------------------------------------------


class Sampling(Documented):
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


class Stop(Documented):
    """When a run ends before its time."""

    max_duration: DurationNs = "1h"  # type: ignore[assignment]
    """Bound of the whole run."""
    unreachable_sessions: PositiveCount | None = None
    """End the run after so many sessions in a row got no greeting; null goes on to the end."""


class Guard(Documented):
    """Bounds that a target outside loopback and the lab requires."""

    max_sessions: PositiveCount
    """Sessions in flight over all loads."""
    max_rate: PositiveRate
    """Sessions started over all loads."""
    stop_after: DurationNs


class Expect(Documented):
    """What makes this run a reproduction: the run fails with 99 where it does not hold."""

    cause: Cause | None = None
    failures: dict[str, str] = {}
    """Failure class, `any`, or `any-other` (all not named here), to a condition such as `count>0`."""

    @field_validator("failures")
    @classmethod
    def _known(cls, value: dict[str, str]) -> dict[str, str]:
        for name, condition in value.items():
            if name not in (*FAILURE_WORDS, "any", "any-other"):
                raise ValueError(f"{name!r} is no failure class; classes: any, any-other, {', '.join(FAILURE_WORDS)}")
            if parse_expression(condition).aggregation != "count":
                raise ValueError(f"{name}: a condition on failures is on `count`, such as count>0")
        return value


class Variant(Documented):
    """The same scenario with other settings."""

    set: dict[str, Any] = {}
    """Dotted key to new value."""
    expect: Expect | None = None
    """Replaces the scenario's `expect`; null keeps it."""
    description: str = ""


class Scenario(Documented):
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
    client: Client = Client()
    flows: Annotated[dict[str, Flow], Field(min_length=1)]
    files: dict[str, SizeBytes] = {}
    """Files that the emulator offers for download, by name and size."""
    load: Annotated[dict[str, Load], Field(min_length=1, max_length=250)]
    sampling: Sampling = Sampling()
    stop: Stop = Stop()
    guard: Guard | None = None
    expect: Expect | None = None
    thresholds: dict[str, tuple[str, ...]] = {}
    """k6-like: metric, such as `data_connect{load:steady}`, to conditions, such as `p(99)<50ms`."""
    variants: dict[str, Variant] = {}
    seed: Count = 1
    """Seed of everything random in the plan."""

    @field_validator("thresholds", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: [item] if isinstance(item, str) else item for key, item in value.items()}
        return value

    @field_validator("thresholds")
    @classmethod
    def _parse(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        from ftpstorm.scenario.expressions import parse_metric

        for metric, conditions in value.items():
            parse_metric(metric)
            for condition in conditions:
                parse_expression(condition)
        return value
