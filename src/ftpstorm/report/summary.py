"""The models of summary.json, schema 1: what scripts, pipelines and the page read. Keys are only ever added.

A value that cannot be known is null, and `unknown` says why, by its dotted key. Rates are a second, latencies in
milliseconds, instants in seconds after start_at; `build_summary` of `report.build` fills the models in.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from ftpstorm.errors import ExitCode
from ftpstorm.records.manifest import write_json_atomically
from ftpstorm.vocabulary import Status, Verdict

SUMMARY: Final = "summary.json"

Confidence = Literal["certain", "likely", "possible"]


class SummaryModel(BaseModel):
    """Base: a reader of an older version ignores what it does not know."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True, defer_build=True)


class Unknown(SummaryModel):
    """Why the value under `key` (dotted, such as ``ports.router``) is null."""

    key: str
    reason: str


class Sessions(SummaryModel):
    """Sessions by fate. `planned` is null where a load has no number of its own (constant-sessions)."""

    planned: int | None
    started: int
    succeeded: int
    failed: int
    interrupted: int
    dropped: int
    """Due, but no session slot was free: never started, never delayed."""
    not_due: int | None
    """Not yet due when the run ended."""


class SustainedRate(SummaryModel):
    """The rate that could have gone on for ever, and how it was estimated."""

    rate_per_s: float | None
    window_from_s: float
    window_to_s: float
    periods: int
    """Whole rounds of the pool, or hold periods, in the window."""
    method: str
    reason: str | None = None
    """Why there is no rate."""


class Transfers(SummaryModel):
    """Downloads, uploads and listings. `attempted` = `succeeded` + `failed` + `interrupted`, retries included."""

    offered: int
    """Planned by the schedule; of a load without a number of sessions, by those that started."""
    due: int | None = None
    """Of these, what was offered until the run ended: all, unless it ended early. Null where an older ftpstorm wrote
    it."""
    attempted: int
    retried: int
    succeeded: int
    failed: int
    interrupted: int
    bytes: int
    offered_per_s: float | None
    """`due` over the load window, from the first load's start to the last one's end; null where all sessions start at
    one instant."""
    rate_per_s: float
    """Succeeded over the load window; where all sessions start at one instant, over the whole run."""
    peak_rate_per_s: float
    """Most successes in one whole second."""
    sustained: SustainedRate


class Example(SummaryModel):
    """One failure to look at, the first of its kind."""

    reply: str | None
    four_tuple: str | None
    """``local -> remote`` of the connection concerned; ``*`` where an address is not on record."""
    utc: str
    display_filter: str | None
    """Filter that finds it in a packet capture (Wireshark's syntax)."""


class Failure(SummaryModel):
    """Failures alike in class, phase, code and errno."""

    class_: str = Field(alias="class")
    phase: str
    code: int | None
    errno: int | None
    count: int
    control_survived: int
    """How many of them control survived."""
    control_unknown: int
    """How many of them nobody could tell for."""
    consequences: int = 0
    """How many of them came after the login of their session had failed, in steps that went on without it."""
    limit_scope: str
    """Whose limit it shows: server, client, network or none."""
    first_at_s: float
    example: Example


class Latency(SummaryModel):
    """Percentiles (nearest-rank) of one phase, in ms."""

    n: int
    basis: str
    """What the clock starts from."""
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    p999: float | None
    """null below 1,000 values."""
    max: float | None
    excluded: int
    """Entered the phase, did not complete it, and are in no percentile."""


class SidePorts(SummaryModel):
    """Ports and sockets of one side; each null where nothing sampled it."""

    range: tuple[int, int] | None = None
    """First and last: ephemeral range of the client, passive range of the server, translated ports of the router."""
    in_use_peak: int | None = None
    """Ports of that range in use at one time, of several client hosts the busiest one's; of the router the connections
    that it tracked."""
    time_wait_peak: int | None = None
    close_wait_peak: int | None = None
    established_peak: int | None = None
    fin_wait2_peak: int | None = None
    syn_recv_peak: int | None = None
    accept_queue_peak: int | None = None
    budget: int | None = None
    """Ports there are; of client and router to one destination, so that with several more than these may be in use."""


class Ports(SummaryModel):
    """Ports by side; a side that the run does not have is null."""

    client: SidePorts | None
    server: SidePorts | None
    router: SidePorts | None


class PassivePorts(SummaryModel):
    """What the replies to PASV and EPSV showed."""

    distinct: int
    min: int | None
    max: int | None
    declared_range: tuple[int, int] | None
    outside_range: int | None
    order: Literal["sequential", "rotating", "random"] | None
    """`rotating`: each port comes round in the same order; null where too few were seen."""
    reuse_interval_s: float | None
    """Shortest time from the end of a port's data connection to its next offer."""
    range_estimate: tuple[int, int] | None
    """First and last port of the range where every port was seen several times."""
    foreign_host: int | None = None
    """Replies to PASV that named another host than the control connection's: an address behind NAT, as a rule. Null
    where a worker did not live to tell, or an older ftpstorm did not count."""


class LimitRow(SummaryModel):
    """One limit of the prediction beside what was measured of it."""

    name: str
    side: str
    applies: bool
    per_s: float | None
    concurrent: int | None
    interval: tuple[float, float] | None
    measured_per_s: float | None
    ratio: float | None
    """Measured by predicted rate; of what the limit counts, which may be what was asked for and refused as well."""
    utilisation: float | None
    """Most in use at one time, by what there is."""
    binding: bool
    equation: str
    assumptions: list[str]
    subject: str = ""
    counts: str = ""
    symbols: dict[str, Any] = {}
    source: str = ""
    not_applicable_reason: str | None = None


class Agreement(SummaryModel):
    """One predicted quantity beside the measured one."""

    quantity: str
    unit: str
    predicted: float | None
    measured: float | None
    ratio: float | None
    tolerance: str
    verdict: Literal["agrees", "disagrees", "not-measurable"]
    why: str | None = None


class Fix(SummaryModel):
    """What lifts the limit, in the words of the platform concerned."""

    host: str
    command: str
    takes_effect: str
    risk: str


class RuledOut(SummaryModel):
    """A cause that was looked into, and what speaks against it."""

    cause: str
    evidence: list[str]


class Diagnosis(SummaryModel):
    """What ran out, how sure that is, and on what evidence."""

    cause: str
    confidence: Confidence
    evidence: list[str]
    ruled_out: list[RuledOut] = []
    would_settle: list[str] = []
    """What to measure to be more sure."""
    fixes: list[Fix] = []
    failures: int = 0
    """Failures that this cause explains."""
    first_at_s: float | None = None


class Identity(SummaryModel):
    """One balance of the books; `ok` is null, with the reason, where it cannot be checked."""

    identity: str
    left: float | None
    right: float | None
    ok: bool | None
    reason: str | None = None


class LatenessMs(SummaryModel):
    """Actual minus intended start, in ms; n sessions."""

    n: int
    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None
    late_share: float | None
    """Share that started more than 250 ms late."""


class Generator(SummaryModel):
    """How the load generator itself fared."""

    cpu_s: float | None
    cpu_us_per_transfer: float | None
    lateness_ms: LatenessMs
    """Of loads whose sessions are due at planned instants, bursts left out."""
    lateness_by_load: dict[str, LatenessMs] = {}
    headroom: float | None
    """Share of one core that the busiest worker left unused over the load window, at its busiest second."""
    headroom_basis: str | None = None
    """What `headroom` rests on, and how far the host's calibrated ceiling was, where one was measured."""
    saturated: bool | None
    """Whether a worker had no core left for most of the load window."""
    loop_stall_ms: float | None = None
    invalid: list[str] = []
    """Why the generator was the bottleneck; empty where it was not."""
    notes: list[str] = []


class LoadSummary(SummaryModel):
    """One load."""

    executor: str
    flow: str
    """A flow, or several with their weights such as `download 3, upload 1`."""
    sessions: Sessions
    transfers: dict[str, int]
    """offered, attempted, succeeded, failed."""
    session_ms: Latency
    """Succeeded sessions, from their intended start."""


class Window(SummaryModel):
    """One burst, or one load where it has none."""

    load: str
    name: str
    from_s: float
    to_s: float
    started: int
    succeeded: int
    failed: int
    dropped: int
    interrupted: int
    transfers_succeeded: int
    transfers_failed: int


class Check(SummaryModel):
    """A threshold or an expectation. `measured` is in `unit`; one that cannot be measured does not hold."""

    name: str
    condition: str
    measured: float | str | None
    unit: str
    ok: bool
    reason: str | None = None


class Summary(SummaryModel):
    """All of summary.json."""

    schema_version: int = Field(default=1, alias="schema")
    run_id: str
    label: str | None
    scenario: str
    variant: str | None
    notes: str | None
    status: Status
    verdict: Verdict
    verdict_reasons: list[str]
    headline: str
    """One sentence: what ran out, when, and what would lift it."""
    started_at: str
    duration_s: float
    sessions: Sessions
    transfers: Transfers
    failures: list[Failure]
    latency_ms: dict[str, Latency]
    ports: Ports
    passive_ports: PassivePorts
    limits: list[LimitRow]
    agreement: list[Agreement]
    diagnosis: Diagnosis
    others: list[Diagnosis]
    accounting: list[Identity]
    generator: Generator
    by_load: dict[str, LoadSummary]
    windows: list[Window]
    thresholds: list[Check]
    expectations: list[Check]
    counters: dict[str, int]
    """Kernel counters that moved."""
    unknown: list[Unknown]
    stop_reason: str | None = None
    description: str = ""
    imitates: str | None = None
    cannot_show: str | None = None
    warnings: list[str] = []
    host: dict[str, Any] = {}
    versions: dict[str, str] = {}
    command: list[str] = []

    def to_json(self) -> dict[str, Any]:
        """Return summary.json as JSON types."""
        return self.model_dump(mode="json", by_alias=True)

    def failure_count(self, failure_class: str) -> int:
        """Return how many failures are of a class."""
        return sum(failure.count for failure in self.failures if failure.class_ == failure_class)


def exit_code(summary: Summary) -> ExitCode:
    """Return what the command exits with; precedence 105 interrupted, 121 invalid, 99 failed, 0."""
    if summary.status is Status.INTERRUPTED:
        return ExitCode.INTERRUPTED
    if summary.verdict is Verdict.INVALID:
        return ExitCode.INVALID_RUN
    if summary.verdict is Verdict.FAIL:
        return ExitCode.EXPECTATION_FAILED
    return ExitCode.PASS


def write_summary(folder: Path, summary: Summary) -> Path:
    """Write summary.json of a results folder; return its path."""
    path = folder / SUMMARY
    write_json_atomically(path, summary.to_json())
    return path


def read_summary(folder: Path) -> Summary:
    """Read summary.json. Raises FileNotFoundError or pydantic.ValidationError."""
    return Summary.model_validate_json((folder / SUMMARY).read_text(encoding="utf-8"))
