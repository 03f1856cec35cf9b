"""Why each null of summary.json is one: nothing is left blank without a reason."""

from __future__ import annotations

from collections.abc import Iterator

from ftpstorm.report.evidence import UNTOLD, Evidence
from ftpstorm.report.summary import Summary, Unknown


def unknowns(evidence: Evidence, summary: Summary) -> list[Unknown]:
    """Return the reason of each null, by its dotted key."""
    pairs = (
        *_totals(evidence, summary),
        *_ports(summary),
        *_latencies(summary),
        *_passive(summary),
        *_rest(evidence, summary),
    )
    return [Unknown(key=key, reason=reason) for key, reason in pairs]


def _totals(evidence: Evidence, summary: Summary) -> Iterator[tuple[str, str]]:
    loads = {f"by_load.{name}.sessions": load.sessions for name, load in summary.by_load.items()}
    for key, sessions in {"sessions": summary.sessions, **loads}.items():
        if sessions.planned is None:
            yield f"{key}.planned", "a load keeps a number of sessions going: how many that makes shows in the run"
        if sessions.not_due is None:
            untold = evidence.manifest.status is None
            yield f"{key}.not_due", UNTOLD if untold else "no number of sessions was planned"
    if summary.transfers.offered_per_s is None:
        begun = evidence.spans.seconds() > 0
        yield "transfers.offered_per_s", "all sessions start at one instant" if begun else "no load had begun"
    if summary.transfers.sustained.rate_per_s is None:
        yield "transfers.sustained.rate_per_s", summary.transfers.sustained.reason or "not measurable"


def _ports(summary: Summary) -> Iterator[tuple[str, str]]:
    yield "ports.router", "this run has no router"
    if summary.ports.server is None:
        yield "ports.server", "the server's host was not sampled"
    for side, figures in (("client", summary.ports.client), ("server", summary.ports.server)):
        for name, value in figures.model_dump().items() if figures is not None else ():
            if value is None:
                client_queue = name == "accept_queue_peak" and side == "client"
                yield f"ports.{side}.{name}", "a client accepts nothing" if client_queue else "nothing sampled it"


def _latencies(summary: Summary) -> Iterator[tuple[str, str]]:
    phases = {f"latency_ms.{phase}": latency for phase, latency in summary.latency_ms.items()}
    loads = {f"by_load.{name}.session_ms": load.session_ms for name, load in summary.by_load.items()}
    for key, latency in {**phases, **loads}.items():
        if not latency.n:
            yield key, "no session came to the end of this phase"
        elif latency.p999 is None:
            yield f"{key}.p999", f"needs 1,000 values, there are {latency.n}"


def _passive(summary: Summary) -> Iterator[tuple[str, str]]:
    for name, reason in (
        ("min", "no passive port was offered"),
        ("max", "no passive port was offered"),
        ("declared_range", "nobody declared the server's passive range"),
        ("outside_range", "nobody declared the server's passive range"),
        ("order", "too few ports were seen, or each too seldom"),
        ("reuse_interval_s", "no port was offered twice"),
        ("range_estimate", "the ports were not seen often enough"),
        ("foreign_host", "no worker told, or the driver does not see the host that a reply names"),
    ):
        if getattr(summary.passive_ports, name) is None:
            yield f"passive_ports.{name}", reason


def _rest(evidence: Evidence, summary: Summary) -> Iterator[tuple[str, str]]:
    for name in ("cpu_s", "cpu_us_per_transfer", "headroom", "saturated", "loop_stall_ms"):
        if getattr(summary.generator, name) is None:
            yield f"generator.{name}", "no worker said it, or the run was too short to sample it"
    if summary.generator.headroom_basis is None:
        yield "generator.headroom_basis", "nothing was sampled and this host has no calibration that fits the load"
    if evidence.prediction is None:
        yield "limits", "the folder holds no prediction.json"
        yield "agreement", "the folder holds no prediction.json"
