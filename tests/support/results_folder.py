"""Make a results folder with the real writers and without a run: a deterministic imitation of the demo.

A pool of N passive ports, each held H seconds after use, against evenly spaced sessions of login, retr and quit. Knobs
bend it into every story that the report must tell: failures of any class, late starts, a run killed in the middle.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftpstorm.plan.plan import HostFacts, Plan
from ftpstorm.records.manifest import (
    PLAN,
    SPOOL,
    Manifest,
    NamespaceRecord,
    ProcessRecord,
    write_json_atomically,
    write_manifest,
)
from ftpstorm.records.schema import ABSENT, OPERATIONS, SAMPLES, SESSIONS, UNKNOWN
from ftpstorm.records.spool import SpoolWriter, TextTable, spool_path
from ftpstorm.scenario.schema import Scenario
from ftpstorm.units import NS_PER_MS, NS_PER_S, NS_PER_US
from ftpstorm.vocabulary import (
    COUNTERS,
    DataMode,
    FailureClass,
    Metric,
    Operation,
    Outcome,
    Phase,
    PoolState,
)

REPLY = "425 Try later, data connection in use."
PORTS_FROM = 10_000
CONNECT_NS = 60 * NS_PER_US
GREETING_NS = 150 * NS_PER_US
LOGIN_NS = 400 * NS_PER_US
PASSIVE_NS = 200 * NS_PER_US
TRANSFER_NS = 300 * NS_PER_US
QUIT_NS = 150 * NS_PER_US


@dataclass(frozen=True)
class Fault:
    """What befalls a session: where it fails and as what. `survived` None: the run was stopped before anyone knew."""

    failure: FailureClass
    phase: Phase
    code: int = 0
    errno: int = 0
    text: str = ""
    survived: bool | None = False
    after_ns: int = NS_PER_MS
    """How long the phase took until it failed."""
    then: tuple[Fault, ...] = ()
    """What fails after a login that failed, in the steps of the flow that go on without it."""


@dataclass(frozen=True)
class Story:
    """The knobs."""

    ports: int = 20
    hold_s: float = 2.0
    rate: int = 97
    duration_s: int = 20
    workers: int = 2
    status: str | None = "completed"
    """None: the run was cut short; nothing said how it ended."""
    until_s: float | None = None
    """When the run was killed or stopped; later sessions were never started."""
    private: bool = True
    fault: Callable[[int, float], Fault | None] = lambda k, at_s: None
    """Fault of session k, due at `at_s`; None for none but the pool's own."""
    lateness_ns: Callable[[int], int] = lambda k: 80 * NS_PER_US + k % 7 * 10 * NS_PER_US
    stall_ms: int = 3
    """Longest time that a worker's loop stood still."""
    interrupted: frozenset[int] = frozenset()
    dropped: frozenset[int] = frozenset()
    counters: dict[str, int] = field(default_factory=dict)
    """How far kernel counters moved, beside those that follow from the sessions."""
    sampled_from_ms: int = -100
    """When the sampler's first reading came, after start_at."""
    counters_read_ms: int | None = None
    """When it had read the counters for the first time; None: it does not say."""
    counts_off: dict[str, int] = field(default_factory=dict)
    """What to add to the workers' own counts: books that do not balance."""
    foreign_hosts: int = 0
    """Replies to PASV that named another host, of each worker."""
    server_off: dict[str, int] = field(default_factory=dict)
    """What to add to the emulator's own counts."""
    expect: dict[str, Any] | None = field(
        default_factory=lambda: {
            "cause": "server-passive-pool",
            "failures": {"passive-exhausted": "count>0", "any-other": "count==0"},
        }
    )
    thresholds: dict[str, Any] = field(default_factory=lambda: {"data_connect{load:steady}": "p(99)<50ms"})
    target: dict[str, Any] | None = None
    """Another target than the emulator, as the scenario has it."""
    run_id: str = "20260102T030405-try-later-425-abcd"
    source: str | None = "try-later-425"
    """How the user named the scenario."""
    variant: str | None = None
    label: str | None = None

    def scenario(self) -> Scenario:
        """The scenario as a user would write it."""
        hold = {"for": f"{round(self.hold_s * 1000)}ms", "after": "any-close"}
        emulator = {"passive_ports": self.ports, "hold": hold, "reply": REPLY}
        return Scenario.model_validate(
            {
                "version": 1,
                "name": "try-later-425",
                "description": "Twenty passive ports, each held two seconds after use, against 97 downloads a second.",
                "imitates": "an FTP server whose passive ports stay in TIME_WAIT after each data connection",
                "cannot_show": "The hold-down lives in the emulator's memory, not in a kernel's TIME_WAIT table.",
                "target": self.target or {"emulator": emulator},
                "flows": {"download": {"steps": ["login", {"retr": "small.bin"}, "quit"]}},
                "files": {"small.bin": "1KiB"},
                "load": {
                    "steady": {
                        "executor": "constant-arrival-rate",
                        "rate": f"{self.rate}/s",
                        "duration": f"{self.duration_s}s",
                        "max_sessions": 400,
                        "flow": "download",
                    }
                },
                "expect": self.expect,
                "thresholds": self.thresholds,
            }
        )

    def plan(self) -> Plan:
        """The plan that the folder holds."""
        host = HostFacts(
            port_range=(32768, 60999), reserved_ports=0, tcp_tw_reuse=2, tcp_timestamps=1, somaxconn=4096, cpu_count=2,
            nofile_soft=65536, nofile_hard=65536, kernel="6.18.0", hostname_hash="0123abcd",
        )  # fmt: skip
        return Plan(
            run_id=self.run_id, scenario=self.scenario(), variant=self.variant, workers=self.workers,
            private_namespace=self.private, host=host,
        )  # fmt: skip


class _Worker:
    """One worker's spools and what it counted."""

    def __init__(self, folder: Path, number: int) -> None:
        self.name = f"worker-{number}"
        header = {"writer": self.name, "origin_ns": 10**12, "pid": 100 + number}
        self.sessions = SpoolWriter(spool_path(folder, self.name, SESSIONS), SESSIONS, header)
        self.operations = SpoolWriter(spool_path(folder, self.name, OPERATIONS), OPERATIONS, header)
        self.texts = TextTable(folder, self.name, header)
        self.counts: Counter[str] = Counter()

    def close(self) -> None:
        for spool in (self.texts, self.operations, self.sessions):
            spool.close()


class _Pool:
    """N ports in FIFO order, each free again H after its data connection ended; remembers who held what when."""

    def __init__(self, ports: int, hold_ns: int) -> None:
        self.free_at = {PORTS_FROM + i: -(1 << 60) for i in range(ports)}
        self.hold_ns = hold_ns
        self.uses: list[tuple[int, int, int, int]] = []
        """(port, taken, ended, free again)."""

    refused = 0

    def take(self, t_ns: int, for_ns: int) -> int | None:
        port = min(self.free_at, key=lambda port: (self.free_at[port], port))
        if self.free_at[port] > t_ns:
            self.refused += 1
            return None
        self.free_at[port] = t_ns + for_ns + self.hold_ns
        self.uses.append((port, t_ns, t_ns + for_ns, self.free_at[port]))
        return port


def write_results(folder: Path, story: Story | None = None) -> Path:
    """Write manifest.json, plan.json, scenario.yaml and the spools of `story` into a new `folder`; return it."""
    story = story or Story()
    plan = story.plan()
    spools = folder / SPOOL
    spools.mkdir(parents=True)
    write_json_atomically(folder / PLAN, plan.to_json())
    (folder / "scenario.yaml").write_text(f"version: 1\nname: {story.scenario().name}\n", encoding="utf-8")
    workers = [_Worker(spools, i) for i in range(story.workers)]
    pool = _Pool(story.ports, round(story.hold_s * NS_PER_S))
    until_ns = round((story.until_s if story.until_s is not None else story.duration_s) * NS_PER_S)
    planned = story.rate * story.duration_s
    for k in range(planned):
        due = k * NS_PER_S // story.rate
        worker = workers[k % story.workers]
        worker.counts["planned"] += 1
        if due >= until_ns:
            worker.counts["not_due"] += 1
        else:
            _session(story, worker, pool, k, due)
    for worker in workers:
        worker.close()
    connects = sum(worker.counts["connects"] for worker in workers)
    counters = _counters(story, connects)
    _samples(spools, story, pool, counters, until_ns)
    _manifest(folder, story, workers, pool, counters, until_ns)
    return folder


def _session(story: Story, worker: _Worker, pool: _Pool, k: int, due: int) -> None:
    counts = worker.counts
    if k in story.dropped:
        counts["dropped"] += 1
        worker.sessions.append(
            0, k, Outcome.DROPPED, 0, 0, UNKNOWN, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, due, *[ABSENT] * 6
        )  # fmt: skip
        return
    counts["started"] += 1
    start = due + story.lateness_ns(k)
    fault = story.fault(k, due / NS_PER_S)
    stamps = dict.fromkeys(("connected", "greeting", "login"), ABSENT)
    now, connects, size, operations, failed = start, 1, 0, 0, 0
    first: Fault | None = None
    for phase, name, length in (
        (Phase.CONTROL_CONNECT, "connected", CONNECT_NS),
        (Phase.GREETING, "greeting", GREETING_NS),
        (Phase.LOGIN, "login", LOGIN_NS),
    ):
        if fault is not None and fault.phase is phase:
            now, first = now + fault.after_ns, fault
            break
        now += length
        stamps[name] = now
    if first is None or first.phase is Phase.LOGIN:
        login_start = stamps["greeting"]
        operations += 1
        failed += first is not None
        _operation(worker, k, 0, Operation.LOGIN, first, [login_start, *[ABSENT] * 4, now], code=230)
        for ordinal, later in enumerate(first.then if first else (), 1):
            operations, failed, begin, now = operations + 1, failed + 1, now, now + later.after_ns
            _operation(worker, k, ordinal, Operation.RETR, later, [begin, *[ABSENT] * 4, now])
    elif first.failure is FailureClass.LOCAL_PORTS_EXHAUSTED:
        connects = 0
    if first is None:
        begin = now
        operations += 1
        port = pool.take(now + PASSIVE_NS, TRANSFER_NS) if fault is None else PORTS_FROM
        if fault is not None or port is None:
            first = fault or Fault(FailureClass.PASSIVE_EXHAUSTED, Phase.PASSIVE, 425, 0, REPLY, True, PASSIVE_NS)
            failed += 1
            now += first.after_ns
            past_passive = first.phase not in (Phase.PASSIVE, Phase.COMMAND)
            stamp = [begin, begin + PASSIVE_NS if past_passive else ABSENT, *[ABSENT] * 3, now]
            connects += past_passive
            _operation(worker, k, 1, Operation.RETR, first, stamp, port=PORTS_FROM if past_passive else 0)
        else:
            passive = now + PASSIVE_NS
            connected = passive + CONNECT_NS
            now = connected + TRANSFER_NS
            connects, size = connects + 1, 1024
            stamp = [begin, passive, connected, connected + NS_PER_MS // 10, now - NS_PER_MS // 20, now]
            _operation(worker, k, 1, Operation.RETR, None, stamp, code=226, port=port, size=1024)
        if first is None or first.survived:
            operations += 1
            _operation(worker, k, 2, Operation.QUIT, None, [now, *[ABSENT] * 4, now + QUIT_NS], code=221)
            now += QUIT_NS
    outcome = Outcome.FAILED if first else Outcome.SUCCEEDED
    if k in story.interrupted:
        outcome = Outcome.INTERRUPTED
    survived = UNKNOWN if first is None or first.survived is None else int(first.survived)
    text = worker.texts.intern(first.text) if first and first.text else 0
    worker.sessions.append(
        0, k, outcome, first.failure if first else 0, first.phase if first else 0, survived,
        first.code if first else 0, first.errno if first else 0, text, 0, 0, 33_000 + k % 20_000 if connects else 0,
        operations, failed, connects, size, due, start, stamps["connected"], ABSENT, stamps["greeting"],
        stamps["login"], now,
    )  # fmt: skip
    counts[outcome.word] += 1
    counts["connects"] += connects
    counts["operations"] += operations


def _operation(
    worker: _Worker, k: int, ordinal: int, operation: Operation, fault: Fault | None, stamps: list[int], *,
    code: int = 0, port: int = 0, size: int = 0,
) -> None:  # fmt: skip
    survived = UNKNOWN if fault is None or fault.survived is None else int(fault.survived)
    text = worker.texts.intern(fault.text) if fault and fault.text else 0
    worker.operations.append(
        0, k, ordinal, 0, operation, Outcome.FAILED if fault else Outcome.SUCCEEDED, fault.failure if fault else 0,
        fault.phase if fault else 0, DataMode.EPSV if operation is Operation.RETR else 0, survived,
        fault.code if fault else code, fault.errno if fault else 0, text, port, 40_000 + k % 20_000 if port else 0,
        size, *stamps,
    )  # fmt: skip


def _counters(story: Story, connects: int) -> dict[str, tuple[int, int]]:
    moved = {"Tcp.ActiveOpens": connects, "Tcp.PassiveOpens": connects, "TcpExt.TW": connects, **story.counters}
    return {name: (1000, 1000 + moved.get(name, 0)) for name in COUNTERS}


def _samples(folder: Path, story: Story, pool: _Pool, counters: dict[str, tuple[int, int]], until_ns: int) -> None:
    writers = {}
    for name in ("emulator", "sampler"):
        header = {"writer": name, "origin_ns": 10**12, "pid": 50}
        texts = TextTable(folder, name, header)
        writers[name] = (SpoolWriter(spool_path(folder, name, SAMPLES), SAMPLES, header), texts)

    def put(writer: str, t_ns: int, host: str, metric: str, key: str, value: float) -> None:
        spool, texts = writers[writer]
        spool.append(t_ns, texts.intern_series(host, metric, key), value)

    end_ns = until_ns + NS_PER_S
    began, over, freed = (sorted(use[i] for use in pool.uses) for i in (1, 2, 3))
    for t_ns in range(story.sampled_from_ms * NS_PER_MS, end_ns, 100 * NS_PER_MS):
        share = min(max(t_ns, 0) / until_ns, 1.0) if until_ns else 0.0
        _sample_kernel(put, t_ns, share, counters, story)
        if story.target is None:
            held = bisect_right(over, t_ns) - bisect_right(freed, t_ns)
            in_use = bisect_right(began, t_ns) - bisect_right(over, t_ns)
            for state, count in (
                (PoolState.FREE, story.ports - held - in_use),
                (PoolState.LISTENING, 0),
                (PoolState.IN_USE, in_use),
                (PoolState.HELD, held),
            ):
                put("emulator", t_ns, "server", Metric.POOL, state.word, count)
            put("emulator", t_ns, "server", Metric.ACCEPT_QUEUE, "control", 0)
    if story.target is None:
        for port, taken, ended, free in pool.uses:
            for t_ns, state in ((taken, PoolState.IN_USE), (ended, PoolState.HELD), (free, PoolState.FREE)):
                if t_ns < end_ns:
                    put("emulator", t_ns, "server", Metric.POOL_PORT, str(port), state)
    for spool, texts in writers.values():
        texts.close()
        spool.close()


def _sample_kernel(
    put: Callable[..., None], t_ns: int, share: float, counters: dict[str, tuple[int, int]], story: Story
) -> None:
    waiting = round(share * (counters["Tcp.ActiveOpens"][1] - 1000))
    put("sampler", t_ns, "host", Metric.SOCKSTAT, "tw", waiting)
    for name, (start, end) in counters.items():
        put("sampler", t_ns, "host", Metric.COUNTER, name, start + round(share * (end - start)))
    for number in range(story.workers):
        put("sampler", t_ns, "host", Metric.PROCESS_CPU, f"worker-{number}", 0.4 + share * 1.2)
    put("sampler", t_ns, "host", Metric.PROCESS_CPU, "emulator", 0.5 + share * 2.0)
    put("sampler", t_ns, "host", Metric.SAMPLER_COST, "tick", 0.0002)
    if t_ns % NS_PER_S == 0:
        put("sampler", t_ns, "server", Metric.TCP_STATE, "time-wait", waiting)
        put("sampler", t_ns, "client", Metric.TCP_STATE, "time-wait", 0)
        put("sampler", t_ns, "client", Metric.TCP_STATE, "established", 2)
        put("sampler", t_ns, "client", Metric.EPHEMERAL_PORTS, "*", 3)


def _manifest(
    folder: Path, story: Story, workers: list[_Worker], pool: _Pool, counters: dict[str, tuple[int, int]], until_ns: int
) -> None:
    done = story.status is not None
    totals: Counter[str] = Counter()
    processes = []
    for number, worker in enumerate(workers):
        totals.update(worker.counts)
        names = ("planned", "started", "succeeded", "failed", "interrupted", "dropped", "not_due", "connects")
        counts: dict[str, Any] = {name: worker.counts[name] for name in (*names, "operations")}
        if number == 0:
            for name, off in story.counts_off.items():
                counts[name] += off
        counts |= {
            "cpu_s": 1.6, "max_rss_bytes": 40_000_000, "lateness_ns": {"p50": 90_000, "p99": 140_000, "max": 900_000},
            "foreign_hosts": story.foreign_hosts, "loop_stall_ns": story.stall_ms * NS_PER_MS, "open_files_left": 0,
            "sessions_left": 0,
        }  # fmt: skip
        processes.append(ProcessRecord(role=worker.name, pid=100 + number, counts=counts if done else None))
    sampler = {
        "ticks": 210, "cpu_s": 0.3,
        "counters_start_ns": None if story.counters_read_ms is None else story.counters_read_ms * NS_PER_MS,
        "counters_start": {name: start for name, (start, _) in counters.items()},
        "counters_end": {name: end for name, (_, end) in counters.items()},
    }  # fmt: skip
    processes.append(ProcessRecord(role="sampler", pid=50, counts=sampler if done else None))
    if story.target is None:
        sessions = totals["started"]
        emulator = {
            "accepted": sessions, "refused_connections": 0, "logins": sessions,
            "passive_replies": len(pool.uses), "passive_refused": pool.refused,
            "data_accepted": len(pool.uses), "transfers_completed": len(pool.uses), "transfers_failed": 0,
            "bytes_sent": 1024 * len(pool.uses), "bytes_received": 0, "cpu_s": 2.5,
        }  # fmt: skip
        for name, off in story.server_off.items():
            emulator[name] += off
        processes.append(ProcessRecord(role="emulator", pid=51, counts=emulator if done else None))
    ports = [PORTS_FROM + i for i in range(story.ports)] if story.target is None else []
    write_manifest(
        folder,
        Manifest(
            run_id=story.run_id, name="try-later-425", source=story.source, variant=story.variant, label=story.label,
            started_at="2026-01-02T03:04:05.000000Z", start_at_ns=10**12,
            clock={"monotonic_ns": 10**12, "realtime_ns": 0},
            ended_ns=until_ns + 5 * NS_PER_MS if done else None, status=story.status, command=["ftpstorm", "run"],
            versions={"ftpstorm": "0.1.0"}, host={"kernel": "6.18.0", "hostname_hash": "0123abcd"},
            namespace=NamespaceRecord(private=story.private, reason=None if story.private else "not asked for"),
            target={
                "kind": "emulator" if story.target is None else "host",
                "addresses": [["127.0.0.1", 2121]], "passive_ports": ports,
            },
            processes=processes,
        ),
    )  # fmt: skip
