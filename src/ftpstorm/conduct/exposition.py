"""What a run publishes as metrics, and under which names (OpenMetrics; Prometheus naming: base units, `_total`).

Names and labels are a contract: docs/outputs.md lists them. Serving them is `ftpstorm.conduct.metrics`'.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from ftpstorm.clock import monotonic_ns
from ftpstorm.conduct.children import Child
from ftpstorm.conduct.dashboard import Dashboard
from ftpstorm.plan.plan import Plan
from ftpstorm.records import aggregate
from ftpstorm.records.reader import Array
from ftpstorm.records.tail import RunTail
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import LATENCY_PHASES, FailureClass, Outcome, Phase

BUCKETS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the latency histograms: loopback to a client's patience."""

_EDGES_NS: Final = np.array([round(bound * NS_PER_S) for bound in BUCKETS_S], np.int64)


class RunCounts:
    """Totals by load since the run's start, grown from its spools at each `update`."""

    def __init__(self, loads: Sequence[str], folder: Path) -> None:
        self._loads = loads
        self._tail = RunTail(folder)
        self.sessions: Counter[tuple[str, str]] = Counter()
        """Ended sessions by load and outcome."""
        self.transfers: Counter[tuple[str, str]] = Counter()
        """Transfers, retries included, by load and outcome."""
        self.failures: Counter[tuple[str, str, str]] = Counter()
        """Failures by load, class and phase."""
        self.bytes: Counter[str] = Counter(dict.fromkeys(loads, 0))
        """Payload bytes of sessions that ended, by load."""
        self._buckets: dict[tuple[str, str], np.ndarray[Any, Any]] = {}
        self._sums_ns: Counter[tuple[str, str]] = Counter()

    def update(self) -> None:
        """Count what was recorded since the last call."""
        sessions, operations, failures = self._tail.read()
        moved = aggregate.transfers(operations)
        for number, load in enumerate(self._loads):
            ours, ops = sessions[sessions["load"] == number], operations[operations["load"] == number]
            self._count(self.sessions, load, ours)
            self._count(self.transfers, load, moved[moved["load"] == number])
            self.bytes[load] += int(ours["bytes"].sum())
            failed = failures[failures["load"] == number]
            for pair, count in zip(*np.unique(failed[["class", "phase"]], return_counts=True), strict=True):
                words = (FailureClass(int(pair["class"])).word, Phase(int(pair["phase"])).word)
                self.failures[(load, *words)] += int(count)
            self._time(load, ours, ops)

    def histograms(self) -> Iterator[tuple[tuple[str, str], list[int], float]]:
        """Yield load and phase, counts of BUCKETS_S and of what is above (not cumulative), and the sum in seconds."""
        for key, counts in sorted(self._buckets.items()):
            yield key, counts.tolist(), self._sums_ns[key] / NS_PER_S

    @staticmethod
    def _count(counter: Counter[tuple[str, str]], load: str, rows: Array) -> None:
        for outcome, count in zip(*np.unique(rows["outcome"], return_counts=True), strict=True):
            counter[load, Outcome(int(outcome)).word] += int(count)

    def _time(self, load: str, sessions: Array, operations: Array) -> None:
        durations = aggregate.phase_durations(sessions, operations)
        for phase in LATENCY_PHASES:
            spans = durations[phase].ns
            if not len(spans):
                continue
            places = np.searchsorted(_EDGES_NS, spans, side="left")  # a value on a bound is within it
            counts = np.bincount(places, minlength=len(BUCKETS_S) + 1)
            known = self._buckets.get((load, phase))
            self._buckets[load, phase] = counts if known is None else known + counts
            self._sums_ns[load, phase] += int(spans.sum())


class RunCollector(Collector):
    """The metrics of one run, for a registry of prometheus_client."""

    def __init__(self, plan: Plan, dashboard: Dashboard, folder: Path) -> None:
        self._plan = plan
        self._dashboard = dashboard
        self._counts = RunCounts([name for name, _ in plan.loads], folder)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics as OpenMetrics or, for an Accept header that does not want it, as Prometheus text."""
        encode, kind = choose_encoder(accept)
        return encode(self._registry), kind

    def describe(self) -> list[Metric]:
        """Return nothing: names follow from what there is to tell."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield all families."""
        self._counts.update()
        yield from self._run()
        yield from self._from_progress()
        yield from self._from_records()
        yield from self._from_kernel(_progress(self._dashboard.sampler))
        yield from self._from_emulator(_progress(self._dashboard.emulator))

    def _run(self) -> Iterator[Metric]:
        plan, board = self._plan, self._dashboard
        info = InfoMetricFamily("ftpstorm_run", "Which run this is")
        info.add_metric([], {"run_id": plan.run_id, "scenario": plan.scenario.name, "variant": plan.variant or ""})
        yield info
        elapsed_ns = 0 if board.start_at_ns is None else monotonic_ns() - board.start_at_ns
        yield _gauge("ftpstorm_run_elapsed_seconds", "Time since the start; negative before it", elapsed_ns / NS_PER_S)
        yield _gauge("ftpstorm_run_planned_seconds", "When the load is planned to end", board.total_ns / NS_PER_S)

    def _from_progress(self) -> Iterator[Metric]:
        totals = self._dashboard.totals()
        yield CounterMetricFamily("ftpstorm_sessions_started", "Sessions started", value=totals.started)
        dropped = "Sessions due when no session slot was free: never started"
        yield CounterMetricFamily("ftpstorm_sessions_dropped", dropped, value=totals.dropped)
        yield _gauge("ftpstorm_sessions_in_flight", "Sessions under way", totals.in_flight)
        late = "Largest lateness of a session's start since the workers' last message"
        yield _gauge("ftpstorm_start_lateness_seconds", late, totals.lateness_ns / NS_PER_S)

    def _from_records(self) -> Iterator[Metric]:
        counts = self._counts
        sessions = CounterMetricFamily("ftpstorm_sessions", "Sessions that ended", labels=["load", "outcome"])
        transfers = CounterMetricFamily("ftpstorm_transfers", "Transfers, retries too", labels=["load", "outcome"])
        failures = CounterMetricFamily("ftpstorm_failures", "Failures", labels=["load", "class", "phase"])
        moved = CounterMetricFamily("ftpstorm_payload_bytes", "Payload of ended sessions", labels=["load"])
        for family, counted in ((sessions, counts.sessions), (transfers, counts.transfers)):
            for pair, count in sorted(counted.items()):
                family.add_metric(list(pair), count)
        for labels, count in sorted(counts.failures.items()):
            failures.add_metric(list(labels), count)
        for load, size in sorted(counts.bytes.items()):
            moved.add_metric([load], size)
        yield from (sessions, transfers, failures, moved)
        spans = HistogramMetricFamily(
            "ftpstorm_phase_duration_seconds", "Durations of phases that were completed", labels=["load", "phase"]
        )
        for pair, tally, total_s in counts.histograms():
            bounds = [*(f"{bound}" for bound in BUCKETS_S), "+Inf"]
            cumulated = np.cumsum(tally).tolist()
            spans.add_metric(list(pair), list(zip(bounds, cumulated, strict=True)), total_s)
        yield spans

    def _from_kernel(self, kernel: dict[str, Any]) -> Iterator[Metric]:
        waiting = GaugeMetricFamily("ftpstorm_time_wait_sockets", "Sockets in TIME_WAIT", labels=["side"])
        for side, count in _known(kernel.get("time_wait")):
            waiting.add_metric([side], count)
        ports = GaugeMetricFamily("ftpstorm_ephemeral_ports_in_use", "Local ports in use", labels=["side"])
        for side, count in _known(kernel.get("ephemeral")):
            ports.add_metric([side], count)
        yield from (waiting, ports)
        if self._plan.port_range is not None:
            first, last = self._plan.port_range
            yield _gauge("ftpstorm_ephemeral_ports", "Local ports there are on the client", last - first + 1)

    def _from_emulator(self, emulator: dict[str, Any]) -> Iterator[Metric]:
        if emulator.get("pool"):
            pool = GaugeMetricFamily("ftpstorm_passive_pool_ports", "Ports of the emulator's pool", labels=["state"])
            for state, count in _known(emulator["pool"]):
                pool.add_metric([state], count)
            yield pool
        if emulator.get("accept_queue") is not None:
            queued = "Connections that wait for the emulator's accept"
            yield _gauge("ftpstorm_accept_queue_connections", queued, emulator["accept_queue"])


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(name, documentation, value=value)


def _known(counts: Any) -> Iterator[tuple[str, float]]:
    """Yield what is known of a mapping from a name to a count."""
    for name, count in sorted((counts or {}).items()):
        if count is not None:
            yield str(name), float(count)


def _progress(child: Child | None) -> dict[str, Any]:
    return child.progress if child is not None and child.progress is not None else {}
