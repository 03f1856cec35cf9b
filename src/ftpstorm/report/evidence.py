"""What a run says, worked out once for all parts of the report: plan, records, peaks and counters side by side.

Only facts are gathered here; judging them is `diagnose`, `accounting`, `generator` and `agreement`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from ftpstorm.errors import RecordsError
from ftpstorm.plan.plan import Plan
from ftpstorm.records import aggregate
from ftpstorm.records.aggregate import Failures
from ftpstorm.records.estimate import Sustained, sustained_rate
from ftpstorm.records.manifest import Manifest, ProcessRecord
from ftpstorm.records.reader import Array, Readings, Run
from ftpstorm.records.schema import ABSENT
from ftpstorm.report import offering
from ftpstorm.report.spans import Spans
from ftpstorm.scenario.load import Burst, HoldSessions
from ftpstorm.scenario.target import Emulator
from ftpstorm.simulate.prediction import Prediction
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import DataMode, FailureClass, Metric, Outcome, PoolState, Side, Status

GAUGES: Final = frozenset({"conntrack.entries"})
"""What stands among a host's counters and goes down again."""
UNTOLD: Final = "the run was cut short: nobody said how it ended"


class Evidence:
    """One run under judgement. Every property is a fact read from the folder, None where it holds no answer."""

    def __init__(self, run: Run) -> None:
        """Raises RecordsError when the folder lacks its manifest or plan, or they cannot be understood."""
        if run.manifest is None or run.plan is None:
            missing = "manifest.json" if run.manifest is None else "plan.json"
            raise RecordsError(f"{run.folder}: has no {missing}; a report needs a run's folder")
        self.run = run
        self.manifest: Manifest = run.manifest
        try:
            self.plan = Plan.model_validate(run.plan)
            self.prediction = Prediction.model_validate(run.prediction) if run.prediction is not None else None
        except ValidationError as error:
            raise RecordsError(f"{run.folder}: plan.json or prediction.json: {error}") from None

    # --- the run ------------------------------------------------------------------------------------------------------

    @cached_property
    def status(self) -> Status:
        """How the run ended; cut-short where nobody said it."""
        return Status(self.manifest.status) if self.manifest.status else Status.CUT_SHORT

    @property
    def whole(self) -> bool:
        """Whether the plan was carried out to its end, so that its totals can be compared."""
        return self.status in (Status.COMPLETED, Status.SIMULATED)

    @cached_property
    def end_ns(self) -> int:
        """When the last worker was done; where that was not said, the last instant on their record; at least 1."""
        if self.manifest.ended_ns is not None:
            return max(self.manifest.ended_ns, 1)
        return max(self._last_record_ns, 1)

    @cached_property
    def _last_record_ns(self) -> int:
        # The sampler may have outlived the workers: what they recorded says how far the load came.
        loaded = [int(rows["end_ns"].max()) for rows in (self.sessions, self.operations) if len(rows)]
        sampled = self.run.samples.data["t_ns"]
        return max(loaded) if loaded else int(sampled.max()) if len(sampled) else 0

    @cached_property
    def spans(self) -> Spans:
        """From when to when loads pressed on."""
        return Spans(self.plan, self.sessions, self.end_ns, self.status)

    @property
    def load_start_ns(self) -> int:
        """When the first load begins."""
        return self.spans.start_ns

    @property
    def load_end_ns(self) -> int:
        """When the last load stopped starting sessions: as planned, or when the run ended before."""
        return self.spans.end_ns

    def window(self, load: str) -> tuple[int, int]:
        """Return when a load began and when it stopped starting sessions."""
        return self.spans.windows[load]

    @property
    def shown_ns(self) -> int:
        """Where the time axis of a picture ends: with the load or the last session, whichever is later."""
        return max(self.end_ns, self.load_end_ns)

    @property
    def load_s(self) -> float:
        """Length of the load window in seconds; the whole run's where all sessions start at one instant."""
        return self.spans.seconds() or 1 / NS_PER_S

    @property
    def emulator(self) -> Emulator | None:
        """The emulator's settings where it was the target."""
        return self.plan.scenario.target.emulator

    # --- records ------------------------------------------------------------------------------------------------------

    @property
    def sessions(self) -> Array:
        """All session records."""
        return self.run.sessions.data

    @property
    def operations(self) -> Array:
        """All operation records."""
        return self.run.operations.data

    @cached_property
    def started(self) -> Array:
        """Sessions that started."""
        rows: Array = self.sessions[self.sessions["outcome"] != Outcome.DROPPED]
        return rows

    @cached_property
    def transfers(self) -> Array:
        """Transfer records: each attempt once."""
        return aggregate.transfers(self.operations)

    @cached_property
    def success_ns(self) -> aggregate.Instants:
        """When each transfer succeeded, sorted."""
        return aggregate.success_instants(self.transfers)

    @cached_property
    def failures(self) -> Failures:
        """Every failure once, by time."""
        return aggregate.failures(self.run.sessions, self.run.operations)

    @cached_property
    def failure_counts(self) -> dict[FailureClass, int]:
        """Failures by class, largest first."""
        numbers, counts = np.unique(self.failures.data["class"], return_counts=True)
        pairs = ((FailureClass(int(n)), int(c)) for n, c in zip(numbers, counts, strict=True))
        return dict(sorted(pairs, key=lambda pair: -pair[1]))

    @cached_property
    def consequences(self) -> npt.NDArray[np.bool_]:
        """Which failures came after their session's login had failed: what they say is that nobody was logged in."""
        return aggregate.after_failed_login(self.failures, self.started)

    def count(self, *classes: FailureClass) -> int:
        """Return how many failures are of these classes."""
        return sum(self.failure_counts.get(failure, 0) for failure in classes)

    def outcome(self, outcome: Outcome, rows: Array | None = None) -> int:
        """Return how many sessions (or rows of `rows`) ended so."""
        return int(np.count_nonzero((self.sessions if rows is None else rows)["outcome"] == outcome))

    def quoted_reply(self, *classes: FailureClass, of: npt.NDArray[np.bool_] | None = None) -> str:
        """Return the reply text that most failures of these classes (or those that `of` marks) carried, in quotes;
        "" where none did."""
        texts = (self.failures.of(*classes) if of is None else self.failures.data[of])["text"]
        texts = texts[texts != 0]
        return f'"{self.failures.texts[int(np.bincount(texts).argmax())]}"' if len(texts) else ""

    def first_ns(self, *classes: FailureClass) -> int | None:
        """Return when the first failure of these classes came."""
        rows = self.failures.of(*classes)
        return int(rows["t_ns"][0]) if len(rows) else None

    @cached_property
    def durations(self) -> dict[str, aggregate.Durations]:
        """Latency phases over all loads."""
        return aggregate.phase_durations(self.sessions, self.operations)

    # --- what was planned ---------------------------------------------------------------------------------------------

    @cached_property
    def planned_by_load(self) -> dict[str, int | None]:
        """Sessions that this machine's shard was to start, by load; None where only the run tells."""
        return offering.planned_by_load(self.plan)

    @cached_property
    def planned(self) -> int | None:
        """Sessions planned; None where a load has no number of them."""
        return _sum_or_none(self.planned_by_load.values())

    def transfers_each(self, load: str, sessions: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Return how many transfers each of these sessions of `load` offers, by their numbers; shape as given."""
        return offering.transfers_each(self.plan, load, sessions)

    @cached_property
    def offered_by_load(self) -> dict[str, int]:
        """Transfers offered, by load: by all planned sessions; where only the run tells how many, by the started."""
        return offering.offered_by_load(self.plan, self.started)

    @cached_property
    def offered_ns(self) -> npt.NDArray[np.int64]:
        """When each transfer was offered, sorted: due instants of open loads, starts of closed ones' sessions."""
        return offering.offered_ns(self.plan, self.started)

    @cached_property
    def due(self) -> int:
        """Transfers offered until the run ended: all of them, unless it ended early."""
        if self.whole:
            return sum(self.offered_by_load.values())
        return sum(
            int(self.transfers_each(name, self.sessions["session"][self.sessions["load"] == index]).sum())
            for index, (name, _) in enumerate(self.plan.loads)
        )

    @property
    def offered_per_s(self) -> float | None:
        """Transfers a second that were due over the load window; None where all sessions start at one instant."""
        return self.due / self.load_s if self.load_end_ns > self.load_start_ns else None

    def open_load(self, name: str) -> bool:
        """Tell whether a load's sessions are due at planned instants that are spread over time (no burst)."""
        executor: str = self.plan.scenario.load[name].executor
        return executor.endswith("-arrival-rate") or executor == "replay"

    # --- what the processes counted -----------------------------------------------------------------------------------

    @cached_property
    def workers(self) -> tuple[ProcessRecord, ...]:
        """The load-generating processes."""
        return tuple(process for process in self.manifest.processes if process.role.startswith("worker"))

    def process(self, role: str) -> ProcessRecord | None:
        """Return the only process of `role`, None when there was none."""
        return next((process for process in self.manifest.processes if process.role == role), None)

    def counted(self, name: str) -> int | None:
        """Return the sum of what the workers counted under `name`; None when one did not live to say it."""
        return _sum_or_none((worker.counts or {}).get(name) for worker in self.workers) if self.workers else None

    @cached_property
    def lost_processes(self) -> tuple[ProcessRecord, ...]:
        """Processes that ended without a word, or with an error."""
        if self.manifest.status is None:
            return ()
        return tuple(process for process in self.manifest.processes if process.error or process.counts is None)

    # --- samples ------------------------------------------------------------------------------------------------------

    def peak(self, metric: str, *, host: str | None = None, key: str | None = None) -> int | None:
        """Return the highest reading of the series that match; None when none was sampled."""
        found = self.run.samples.select(metric, host=host, key=key).values()
        return max((int(readings.value.max()) for readings in found if len(readings)), default=None)

    @cached_property
    def counters(self) -> dict[str, float]:
        """Kernel counters and how far they moved from the sampler's baseline to its last sample, over all hosts."""
        return self.counters_of()

    def counters_of(self, side: Side | None = None) -> dict[str, float]:
        """Return how far the counters moved on the hosts of `side`, None being all hosts.

        A host where client and server live together is of either side.
        """
        sampler = self.process("sampler")
        counts = (sampler.counts or {}) if sampler is not None else {}
        hosts = counts.get("hosts") or {"host": {"side": None, **counts}}
        moved: dict[str, float] = {}
        told = False
        for host in hosts.values():
            start, end = host.get("counters_start"), host.get("counters_end")
            if not isinstance(start, dict) or not isinstance(end, dict):
                continue
            told = True
            if side is None or host["side"] in (None, side):
                for name in start.keys() & end.keys() - GAUGES:
                    moved[name] = moved.get(name, 0.0) + float(end[name]) - float(start[name])
        return dict(sorted(moved.items())) if told else self._sampled_counters(side)

    @property
    def counters_start_ns(self) -> int | None:
        """When the sampler had read the counters of every host for the first time, in ns; None where it did not say."""
        sampler = self.process("sampler")
        told = (sampler.counts or {}).get("counters_start_ns") if sampler is not None else None
        return told if isinstance(told, int) else None

    def _sampled_counters(self, side: Side | None) -> dict[str, float]:
        moved: dict[str, float] = {}
        for series, readings in self.run.samples.select(Metric.COUNTER).items():
            if series.key in GAUGES or not (side is None or series.host.startswith((str(side), "host"))):
                continue
            rise = aggregate.increase(readings)
            if rise is not None:
                moved[series.key] = moved.get(series.key, 0.0) + rise
        return moved

    # --- the passive pool ---------------------------------------------------------------------------------------------

    @cached_property
    def pool_size(self) -> int | None:
        """Ports of the server's passive pool: the emulator's, or the range that the scenario declares."""
        if self.emulator is not None:
            return self.emulator.passive_count
        declared = self.declared_range
        return None if declared is None else declared[1] - declared[0] + 1

    @cached_property
    def declared_range(self) -> tuple[int, int] | None:
        """First and last passive port as declared; None where nobody did."""
        ports = self.manifest.target.get("passive_ports") or []
        if self.emulator is not None and ports:
            return min(ports), max(ports)
        started = self.manifest.target.get("passive_range")
        if self.plan.scenario.target.server is not None and started:
            return int(started[0]), int(started[1])
        declared = self.plan.scenario.target.passive_ports
        if declared is None:
            return None
        first, _, last = declared.partition("-")
        return int(first), int(last)

    @cached_property
    def hold_ns(self) -> int | None:
        """How long a passive port stays taken after its data connection; known for the emulator alone."""
        if self.emulator is None:
            return None
        return 0 if self.emulator.hold.after == "none" else self.emulator.hold.for_

    def pool_series(self, state: PoolState) -> Readings | None:
        """Return how many ports of the emulator's pool were in `state`, over time."""
        return self.run.samples.one(Metric.POOL, key=state.word)

    @cached_property
    def connection_s(self) -> float | None:
        """Mean seconds from the reply to PASV to the end of the data, over successful transfers (C in N/(H + C))."""
        done = self.transfers[(self.transfers["outcome"] == Outcome.SUCCEEDED)]
        done = done[(done["passive_ns"] != ABSENT) & (done["data_end_ns"] != ABSENT)]
        return float((done["data_end_ns"] - done["passive_ns"]).mean()) / NS_PER_S if len(done) else None

    @cached_property
    def sustained(self) -> Sustained:
        """The sustained transfer rate, by the estimator that the prediction used: of what it said would run out."""
        size, hold_ns = self.pool_size if self.emulator is not None else None, self.hold_ns
        by = FailureClass.PASSIVE_EXHAUSTED
        said = None if self.prediction is None else self.prediction.estimator
        if said is not None and (self.emulator is None or said.exhausted_by != by.word):
            size, hold_ns, by = said.pool_size, said.hold_ns, FailureClass.from_word(said.exhausted_by)
        exhausted = self.first_ns(by)
        found = sustained_rate(
            self.success_ns,
            self.load_end_ns,
            size,
            hold_ns,
            exhausted if exhausted is None or exhausted <= self.load_end_ns else None,
            load_start_ns=self.load_start_ns,
        )
        if not self.spans.seconds():
            return found.model_copy(update={"reason": "no load had begun when the run ended"})
        return found

    @cached_property
    def pool_peak(self) -> int | None:
        """Most ports of the emulator's pool taken at one time; None where it published none.

        Samples miss what comes and goes between them: no less than what the records show in use at one time.
        """
        free = self.pool_series(PoolState.FREE)
        if free is None or self.pool_size is None:
            return None
        given, ended = self.passive_transfers["passive_ns"], self.passive_transfers["data_end_ns"]
        answered = given != ABSENT
        given, ended = given[answered], ended[answered]
        used = aggregate.most_in_flight(given, np.where(ended != ABSENT, ended, given + 1))
        return max(self.pool_size - int(free.value.min()), min(self.pool_size, used))

    @cached_property
    def passive_offers(self) -> Array:
        """Records of all operations that the server gave a passive port, those that never connect to it included."""
        rows = self.operations
        offered: Array = rows[(rows["passive_port"] != 0) & np.isin(rows["mode"], (DataMode.PASV, DataMode.EPSV))]
        return offered

    @cached_property
    def passive_transfers(self) -> Array:
        """Records of the transfers that the server gave a passive port, those of active mode left out."""
        rows = self.transfers
        asked: Array = rows[(rows["passive_port"] != 0) & np.isin(rows["mode"], (DataMode.PASV, DataMode.EPSV))]
        return asked

    @cached_property
    def client_ports(self) -> tuple[int | None, int | None]:
        """Most ephemeral ports of the client in use at one time, and how many there are; None where unknown."""
        return self.peak(Metric.EPHEMERAL_PORTS, host="client", key="*"), self.plan.local_ports

    @property
    def sees_server(self) -> bool:
        """Whether the server's kernel is sampled: the target is the emulator, in a lab, or on loopback."""
        address = self.address(0)
        return (
            self.emulator is not None
            or self.plan.scenario.lab is not None
            or (address is not None and address[0].startswith(("127.", "::1")))
        )

    # --- address and time ---------------------------------------------------------------------------------------------

    def address(self, target: int) -> tuple[str, int] | None:
        """Return host and port of target number `target`."""
        addresses: Any = self.manifest.target.get("addresses") or []
        return (str(addresses[target][0]), int(addresses[target][1])) if target < len(addresses) else None

    def is_burst(self, name: str) -> bool:
        """Tell whether a load starts its sessions together: a burst, or sessions to be held."""
        return isinstance(self.plan.scenario.load[name], Burst | HoldSessions)

    def is_closed(self, name: str) -> bool:
        """Tell whether how many sessions a load makes shows only in the run."""
        return self.planned_by_load[name] is None


def _sum_or_none(values: Iterable[Any]) -> int | None:
    total = 0
    for value in values:
        if value is None:
            return None
        total += int(value)
    return total
