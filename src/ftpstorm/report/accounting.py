"""The books: counts that must agree because different parties counted the same thing.

One identity that does not hold makes the run invalid: some number in the report is wrong, and nobody knows which. An
identity whose two sides are not both on record is not checkable and says so.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ftpstorm.report.evidence import UNTOLD, Evidence
from ftpstorm.report.summary import Identity
from ftpstorm.units import NS_PER_MS
from ftpstorm.vocabulary import DataMode, FailureClass, Metric, Outcome, Side, Status

WORKER_COUNTS: Final = ("started", "succeeded", "failed", "interrupted", "dropped", "operations", "connects")
"""What each worker counts in memory and the records must show again."""

GIVEN_UP: Final = (
    FailureClass.FINAL_REPLY_TIMEOUT,
    FailureClass.REPLY_TIMEOUT,
    FailureClass.TRANSFER_STALLED,
    FailureClass.TRANSFER_SHORT,
    FailureClass.TRANSFER_ABORTED,
    FailureClass.CONTROL_LOST,
)
"""Failures after which the server may have completed what the client gave up."""


def identities(evidence: Evidence) -> list[Identity]:
    """Return every identity, whether or not it can be checked."""
    return [
        _planned(evidence),
        _started(evidence),
        *_worker_counts(evidence),
        _kernel_opens(evidence),
        *_server_accepts(evidence),
        _server_refusals(evidence),
        _server_transfers(evidence),
    ]


def _balance(identity: str, left: float | None, right: float | None, reason: str | None = None) -> Identity:
    """Compare two counts; with a reason, or with a side missing, nothing can be said."""
    if reason is not None or left is None or right is None:
        return Identity(
            identity=identity, left=left, right=right, ok=None, reason=reason or "one side is not on record"
        )
    return Identity(identity=identity, left=left, right=right, ok=left == right)


def _untold(evidence: Evidence) -> str | None:
    """Return why counts of processes cannot be had, or None when all said theirs."""
    if evidence.manifest.status is None:
        return UNTOLD
    lost = [process.role for process in evidence.lost_processes if process.role.startswith("worker")]
    return f"{', '.join(lost)} died before saying what it counted" if lost else None


def _planned(evidence: Evidence) -> Identity:
    identity = "planned = started + dropped + not due"
    closed = [name for name in evidence.planned_by_load if evidence.is_closed(name)]
    if closed:
        reason = f"how many sessions load {closed[0]} makes shows only in the run"
        return _balance(identity, None, None, reason)
    if evidence.status is Status.SIMULATED:
        return _balance(identity, evidence.planned, len(evidence.sessions))
    not_due = evidence.counted("not_due")
    right = None if not_due is None else len(evidence.sessions) + not_due
    return _balance(identity, evidence.planned, right, _untold(evidence))


def _started(evidence: Evidence) -> Identity:
    identity = "started (workers) = succeeded + failed + interrupted (records)"
    ended = sum(evidence.outcome(how) for how in (Outcome.SUCCEEDED, Outcome.FAILED, Outcome.INTERRUPTED))
    if evidence.status is Status.SIMULATED:
        return _balance(identity, len(evidence.started), ended)
    return _balance(identity, evidence.counted("started"), ended, _untold(evidence))


def _worker_counts(evidence: Evidence) -> list[Identity]:
    if evidence.status is Status.SIMULATED:
        return []
    recorded = {
        "started": len(evidence.started),
        "succeeded": evidence.outcome(Outcome.SUCCEEDED),
        "failed": evidence.outcome(Outcome.FAILED),
        "interrupted": evidence.outcome(Outcome.INTERRUPTED),
        "dropped": evidence.outcome(Outcome.DROPPED),
        "operations": len(evidence.operations),
        "connects": _connects(evidence),
    }
    reason = _untold(evidence)
    return [
        _balance(f"{name} (workers' own count) = {name} (records)", evidence.counted(name), recorded[name], reason)
        for name in WORKER_COUNTS
    ]


def _connects(evidence: Evidence) -> int:
    return int(evidence.sessions["connects"].sum(dtype=np.int64))


def _kernel_opens(evidence: Evidence) -> Identity:
    identity = "connects (kernel, Tcp.ActiveOpens) = connects (records)"
    opens = evidence.counters_of(Side.CLIENT).get("Tcp.ActiveOpens")
    reason = _untold(evidence)
    if reason is None and not evidence.manifest.namespace.private:
        why = evidence.manifest.namespace.reason
        reason = f"the network namespace is shared, others connect too{f' ({why})' if why else ''}"
    reason = reason or _read_late(evidence)
    if reason is None and opens is None:
        reason = f"the sampler did not read {Metric.COUNTER} Tcp.ActiveOpens at both ends of the run"
    return _balance(identity, opens, _connects(evidence), reason)


def _read_late(evidence: Evidence) -> str | None:
    """Return why counters cannot be compared: on a busy host their first reading may come after the first connects."""
    begun = evidence.started["start_ns"]
    followed = evidence.run.samples.select(Metric.COUNTER, key="Tcp.ActiveOpens")
    read = [int(part.t_ns[0]) for part in followed.values() if len(part)]
    if evidence.counters_start_ns is not None:  # a sample's own stamp is from before it was read
        read.append(evidence.counters_start_ns)
    if not read or not len(begun) or max(read) <= int(begun.min()):
        return None
    late_ms = (max(read) - int(begun.min())) / NS_PER_MS
    return f"the sampler first read the counters {late_ms:.0f} ms after the first session had started"


def _server_accepts(evidence: Evidence) -> list[Identity]:
    """In a lab the server's kernel counts on its own what it accepted."""
    lab = evidence.plan.scenario.lab
    if lab is None or lab.topology == "loopback":
        return []
    identity = "connections accepted (server's kernel, Tcp.PassiveOpens) = connects (records)"
    behind: int | None = 0
    if evidence.emulator is not None and evidence.emulator.backend is not None:
        identity += " + connections to the back end (emulator)"
        behind, _ = _emulator_count(evidence, "backend_connects")
    accepted = evidence.counters_of(Side.SERVER).get("Tcp.PassiveOpens")
    reason = _untold(evidence) or _read_late(evidence)
    unfinished = evidence.outcome(Outcome.INTERRUPTED) + len(evidence.failures)
    if reason is None and unfinished:
        reason = f"{unfinished} failures or interrupted sessions: some of their connects may never have been accepted"
    if reason is None and np.isin(evidence.transfers["mode"], (DataMode.PORT, DataMode.EPRT)).any():
        reason = "in active mode the server connects"
    return [_balance(identity, accepted, None if behind is None else _connects(evidence) + behind, reason)]


def _server_refusals(evidence: Evidence) -> Identity:
    identity = "passive requests refused (emulator) = passive-exhausted failures (records)"
    refused, reason = _emulator_count(evidence, "passive_refused")
    ours = evidence.count(FailureClass.PASSIVE_EXHAUSTED)
    return _balance(identity, refused, ours, reason or _cut_off(evidence, refused, ours))


def _server_transfers(evidence: Evidence) -> Identity:
    identity = "transfers completed (emulator) = transfers succeeded (records)"
    completed, reason = _emulator_count(evidence, "transfers_completed")
    ours = len(evidence.success_ns)
    return _balance(identity, completed, ours, reason or _cut_off(evidence, completed, ours))


def _emulator_count(evidence: Evidence, name: str) -> tuple[int | None, str | None]:
    if evidence.emulator is None:
        return None, "the server is not ours: it does not say what it counted"
    process = evidence.process("emulator")
    counts = process.counts if process is not None else None
    if counts is None or counts.get(name) is None:
        return None, _untold(evidence) or "the emulator did not live to say what it counted"
    return int(counts[name]), _untold(evidence)


def _cut_off(evidence: Evidence, server: int | None, ours: int) -> str | None:
    """Return why the server may rightly have counted more than the client: something was given up halfway."""
    given_up = evidence.outcome(Outcome.INTERRUPTED) + evidence.count(*GIVEN_UP)
    if server is not None and ours < server <= ours + given_up:
        return f"{given_up} sessions or transfers were given up halfway; the server may have completed them"
    return None
