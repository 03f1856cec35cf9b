"""The plain figures of summary.json: sessions, transfers, failures, latency, loads and windows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from ftpstorm.plan.plan import load_end_ns
from ftpstorm.records import aggregate
from ftpstorm.records.aggregate import Durations, FailureGroup
from ftpstorm.records.reader import Array
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.summary import (
    Example,
    Failure,
    Latency,
    LoadSummary,
    Sessions,
    SustainedRate,
    Transfers,
    Window,
)
from ftpstorm.scenario.load import (
    Burst,
    ProbeUntilSuccess,
    RampingArrivalRate,
    RampingSessions,
    RateStage,
    SessionsStage,
)
from ftpstorm.units import NS_PER_MS, NS_PER_S
from ftpstorm.vocabulary import LATENCY_PHASES, FailureClass, Outcome

P999_MIN: Final = 1000
"""Fewer values have no 99.9th percentile worth the name."""

_BASIS: Final = {"session": "intended start", "session_actual": "actual start"}

_SCOPES: Final[dict[FailureClass, str]] = {
    FailureClass.LOCAL_PORTS_EXHAUSTED: "client",
    FailureClass.LOCAL_FILES_EXHAUSTED: "client",
    FailureClass.LOCAL_BUFFERS_EXHAUSTED: "client",
    FailureClass.UNREACHABLE: "network",
    FailureClass.CONTROL_CONNECT_TIMEOUT: "network",
    FailureClass.DATA_CONNECT_TIMEOUT: "network",
    FailureClass.DATA_CONNECT_REFUSED: "network",
    FailureClass.PASSIVE_OUT_OF_RANGE: "server",
    FailureClass.AUTH_FAILED: "none",
    FailureClass.FILE_ERROR: "none",
    FailureClass.UNSUPPORTED: "none",
    FailureClass.PROTOCOL_ERROR: "none",
    FailureClass.TRANSFER_CORRUPT: "none",
}
"""Whose limit a failure class shows; every other class is the server's."""


def sessions_of(evidence: Evidence, rows: Array, planned: int | None) -> Sessions:
    """Return `rows` (session records) by fate; `not_due` follows from `planned`, null where that is."""
    return Sessions(
        planned=planned,
        started=len(rows) - evidence.outcome(Outcome.DROPPED, rows),
        succeeded=evidence.outcome(Outcome.SUCCEEDED, rows),
        failed=evidence.outcome(Outcome.FAILED, rows),
        interrupted=evidence.outcome(Outcome.INTERRUPTED, rows),
        dropped=evidence.outcome(Outcome.DROPPED, rows),
        not_due=None if planned is None or evidence.manifest.status is None else max(planned - len(rows), 0),
    )


def transfers_of(evidence: Evidence) -> Transfers:
    """Return the transfer figures of the whole run."""
    rows = evidence.transfers
    offered = sum(evidence.offered_by_load.values())
    succeeded = len(evidence.success_ns)
    _, rates = aggregate.rate_bins(evidence.success_ns, evidence.load_start_ns, evidence.shown_ns, NS_PER_S)
    sustained = evidence.sustained
    return Transfers(
        offered=offered,
        due=evidence.due,
        attempted=len(rows),
        retried=int(np.count_nonzero(rows["attempt"])),
        succeeded=succeeded,
        failed=evidence.outcome(Outcome.FAILED, rows),
        interrupted=evidence.outcome(Outcome.INTERRUPTED, rows),
        bytes=int(evidence.operations["bytes"].sum(dtype=np.int64)),
        offered_per_s=evidence.offered_per_s,
        rate_per_s=succeeded / evidence.load_s,
        peak_rate_per_s=float(rates.max()),
        sustained=SustainedRate(
            rate_per_s=sustained.rate_per_s,
            window_from_s=sustained.window_from_ns / NS_PER_S,
            window_to_s=sustained.window_to_ns / NS_PER_S,
            periods=sustained.periods,
            method=sustained.method,
            reason=sustained.reason,
        ),
    )


def failures_of(evidence: Evidence) -> list[Failure]:
    """Return the failures in groups, the largest first, each with its first as an example."""
    return [_failure(evidence, group) for group in aggregate.failure_groups(evidence.failures, evidence.started)]


def _failure(evidence: Evidence, group: FailureGroup) -> Failure:
    row = evidence.failures.data[group.first]
    return Failure(
        class_=group.failure.word,
        phase=group.phase.word,
        code=group.code or None,
        errno=group.errno or None,
        count=group.count,
        control_survived=group.survived,
        control_unknown=group.unknown,
        consequences=group.consequences,
        limit_scope=_SCOPES.get(group.failure, "server"),
        first_at_s=int(row["t_ns"]) / NS_PER_S,
        example=_example(evidence, row),
    )


def _example(evidence: Evidence, row: np.void) -> Example:
    address = evidence.address(int(row["target"]))
    local_port = int(row["local_port"])
    control_port = 0 if address is None or row["unconnected"] else address[1]
    remote_port = int(row["remote_port"]) or control_port
    sources = evidence.plan.scenario.client.addresses
    source = sources[int(row["source"])] if int(row["source"]) < len(sources) else "*"
    ports = [f"tcp.port == {port}" for port in (local_port, remote_port) if port]
    return Example(
        reply=evidence.failures.texts[int(row["text"])] or None,
        four_tuple=f"{source}:{local_port or '*'} -> {address[0] if address else '*'}:{remote_port or '*'}",
        utc=utc_of(evidence, int(row["t_ns"]), evidence.failures.writers[int(row["worker"])]),
        display_filter=" && ".join(ports) or None,
    )


def utc_of(evidence: Evidence, t_ns: int, writer: str) -> str:
    """Return the UTC of an instant after start_at that `writer` recorded, ISO 8601 with microseconds and Z."""
    t_ns += evidence.manifest.started_later_ns.get(writer, 0)
    start = datetime.fromisoformat(evidence.manifest.started_at.replace("Z", "+00:00")).astimezone(UTC)
    at = start + timedelta(microseconds=t_ns // 1000)
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def latency_of(durations: Durations, basis: str) -> Latency:
    """Return the percentiles of one phase, in ms."""
    found = aggregate.percentiles(durations.ns / NS_PER_MS, (50, 90, 95, 99, 99.9, 100))
    p50, p90, p95, p99, p999, most = found or (None,) * 6
    enough = len(durations.ns) >= P999_MIN
    return Latency(
        n=len(durations.ns),
        basis=basis,
        p50=p50,
        p90=p90,
        p95=p95,
        p99=p99,
        p999=p999 if enough else None,
        max=most,
        excluded=durations.excluded,
    )


def latencies(evidence: Evidence) -> dict[str, Latency]:
    """Return the latency of every phase, and of sessions on both bases."""
    return {
        name: latency_of(evidence.durations[name], _BASIS.get(name, "end of the phase before"))
        for name in (*LATENCY_PHASES, "session_actual")
    }


def by_load(evidence: Evidence) -> dict[str, LoadSummary]:
    """Return the figures of each load."""
    return {name: _load(evidence, index, name) for index, (name, _) in enumerate(evidence.plan.loads)}


def _load(evidence: Evidence, index: int, name: str) -> LoadSummary:
    rows = evidence.sessions[evidence.sessions["load"] == index]
    moved = evidence.transfers[evidence.transfers["load"] == index]
    load = evidence.plan.scenario.load[name]
    durations = aggregate.session_durations(rows)["session"]
    return LoadSummary(
        executor=load.executor,
        flow=load.flow if isinstance(load.flow, str) else ", ".join(f"{k} {v}" for k, v in load.flow.items()),
        sessions=sessions_of(evidence, rows, evidence.planned_by_load[name]),
        transfers={
            "offered": evidence.offered_by_load[name],
            "attempted": len(moved),
            "succeeded": evidence.outcome(Outcome.SUCCEEDED, moved),
            "failed": evidence.outcome(Outcome.FAILED, moved),
        },
        session_ms=latency_of(durations, _BASIS["session"]),
    )


def windows(evidence: Evidence) -> list[Window]:
    """Return a window for each burst or stage, and one for each load that has neither.

    That of probe-until-success ends when a try had succeeded: its length is how long that took.
    """
    found = []
    for index, (name, load) in enumerate(evidence.plan.loads):
        rows = evidence.sessions[evidence.sessions["load"] == index]
        moved = evidence.transfers[evidence.transfers["load"] == index]
        if isinstance(load, Burst):
            for burst in range(load.times):
                first, last = burst * load.sessions, (burst + 1) * load.sessions
                from_ns = load.start_time + burst * (load.every or 0)
                found.append(
                    _window(
                        evidence,
                        name,
                        f"burst {burst + 1} of {load.times}",
                        from_ns,
                        from_ns + load.over,
                        rows[(rows["session"] >= first) & (rows["session"] < last)],
                        moved[(moved["session"] >= first) & (moved["session"] < last)],
                    )
                )
        elif isinstance(load, RampingArrivalRate | RampingSessions):
            from_ns = load.start_time
            stages: tuple[RateStage | SessionsStage, ...] = load.stages
            for number, stage in enumerate(stages, 1):
                to_ns = from_ns + stage.duration
                due = rows[(rows["intended_ns"] >= from_ns) & (rows["intended_ns"] < to_ns)]
                title = f"stage {number} of {len(load.stages)}, to {stage.target}"
                moved_then = moved[np.isin(moved["session"], due["session"])]
                found.append(_window(evidence, name, title, from_ns, to_ns, due, moved_then))
                from_ns = to_ns
        elif isinstance(load, ProbeUntilSuccess) and len(done := rows[rows["outcome"] == Outcome.SUCCEEDED]):
            served_ns = int(done["end_ns"].min())
            found.append(_window(evidence, name, "until a try succeeded", load.start_time, served_ns, rows, moved))
        else:
            to_ns = min(load_end_ns(load), evidence.load_end_ns)
            found.append(_window(evidence, name, "whole load", load.start_time, to_ns, rows, moved))
    return found


def _window(evidence: Evidence, load: str, name: str, from_ns: int, to_ns: int, rows: Array, moved: Array) -> Window:
    return Window(
        load=load,
        name=name,
        from_s=from_ns / NS_PER_S,
        to_s=to_ns / NS_PER_S,
        started=len(rows) - evidence.outcome(Outcome.DROPPED, rows),
        succeeded=evidence.outcome(Outcome.SUCCEEDED, rows),
        failed=evidence.outcome(Outcome.FAILED, rows),
        dropped=evidence.outcome(Outcome.DROPPED, rows),
        interrupted=evidence.outcome(Outcome.INTERRUPTED, rows),
        transfers_succeeded=evidence.outcome(Outcome.SUCCEEDED, moved),
        transfers_failed=evidence.outcome(Outcome.FAILED, moved),
    )
