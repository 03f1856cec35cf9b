"""Rules for causes that are about ports and descriptors running out: on the server's passive range, on the client."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from ftpstorm.records.aggregate import Instants
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.finding import Against, Finding, Sign
from ftpstorm.report.summary import Fix, Generator
from ftpstorm.report.wording import count_of, number, per_second, seconds
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import FailureClass as F
from ftpstorm.vocabulary import Metric

FULL_SHARE: Final = 0.98
"""A range with so many of its ports taken is full: some are reserved, or others' own."""
NEAR_LAW: Final = 0.1
"""A measured rate within this of N/(H + C) obeys that law."""


def server_passive_pool(evidence: Evidence, generator: Generator) -> Finding | Against | None:
    """Requests for a passive port that the server refused: its pool is full."""
    refused = evidence.count(F.PASSIVE_EXHAUSTED)
    size, taken = evidence.pool_size, evidence.pool_peak
    if not refused:
        if not len(evidence.transfers):
            return None
        room = f"; at most {taken} of {size} ports were taken" if taken is not None and size is not None else ""
        return Against(
            (f"none of {count_of(len(evidence.transfers), 'request')} for a passive port was refused{room}",)
        )
    first_ns = evidence.first_ns(F.PASSIVE_EXHAUSTED)
    signs = [
        Sign(
            "signature",
            f"{count_of(refused, 'request')} for a passive port were refused, first after {seconds(first_ns or 0)}: "
            f"{evidence.quoted_reply(F.PASSIVE_EXHAUSTED)}",
        )
    ]
    if taken is not None and size is not None and taken >= size:
        signs.append(Sign("witness", f"the server's pool had no free port: {taken} of {size} were taken at one time"))
    law, need = _pool_law(evidence)
    measured = evidence.sustained.rate_per_s
    if law is not None and measured is not None and abs(measured / law - 1) <= NEAR_LAW:
        signs.append(
            Sign("records", f"{per_second(measured)} sustained is {measured / law:.1%} of the pool's law N/(H + C)")
        )
    elif len(evidence.success_ns) and len(_offered_ports(evidence)) < len(evidence.success_ns):
        ports = _offered_ports(evidence)
        signs.append(Sign("records", f"the successful transfers shared {count_of(len(ports), 'port')} in turn"))
    return Finding(
        signs=tuple(signs),
        explains=refused,
        first_ns=first_ns,
        sentence=_pool_sentence(evidence, first_ns or 0, law, need),
        fixes=_pool_fixes(evidence, need),
        would_settle=()
        if evidence.emulator is not None
        else ("the server's passive range, and whether it binds with SO_REUSEADDR",),
    )


def _offered_ports(evidence: Evidence) -> Instants:
    return np.unique(evidence.passive_transfers["passive_port"]).astype(np.int64)


def _pool_law(evidence: Evidence) -> tuple[float | None, int | None]:
    """Return N/(H + C) in transfers a second, and the ports that the offered load needs; None where H is not known.

    A port is taken for H + C, so the load needs as many as it offers transfers in its busiest H + C: for an even rate
    that is rate x (H + C), for a burst the burst.
    """
    if evidence.pool_size is None or evidence.hold_ns is None or evidence.connection_s is None:
        return None, None
    taken_s = evidence.hold_ns / NS_PER_S + evidence.connection_s
    return evidence.pool_size / taken_s, _most_offered_within(evidence, int(taken_s * NS_PER_S))


def _most_offered_within(evidence: Evidence, window_ns: int) -> int:
    """Return the most transfers that sessions due in any window of this length offer."""
    due: list[npt.NDArray[np.int64]] = []
    for index, (name, _) in enumerate(evidence.plan.loads):
        rows = evidence.sessions[evidence.sessions["load"] == index]
        due.append(np.repeat(rows["intended_ns"], evidence.transfers_each(name, rows["session"])))
    instants = np.sort(np.concatenate(due)) if due else np.empty(0, np.int64)
    if not len(instants):
        return 0
    return int((np.searchsorted(instants, instants + window_ns, side="left") - np.arange(len(instants))).max())


def _pool_sentence(evidence: Evidence, first_ns: int, law: float | None, need: int | None) -> str:
    offered = per_second(evidence.offered_per_s)
    if law is None or need is None or evidence.hold_ns is None:
        size = f"{evidence.pool_size} " if evidence.pool_size is not None else ""
        return (
            f"The server's {size}passive ports ran out {seconds(first_ns)} into the run, at {offered} offered; "
            "a wider passive range, or a server that frees its ports sooner, would lift it."
        )
    hold = number(evidence.hold_ns / NS_PER_S)
    asked = f"{need:,} were asked for within {hold} s" if _uneven(evidence, need) else f"{offered} were asked for"
    return (
        f"The server's {evidence.pool_size} passive ports ran out {seconds(first_ns)} into the run: each held {hold} s "
        f"after use, they carry {per_second(law)}, and {asked}; {need:,} ports or more"
        f"{'' if _uneven(evidence, need) else ', or a shorter hold,'} would lift it."
    )


def _uneven(evidence: Evidence, need: int) -> bool:
    """Whether the load comes in bursts: its mean rate then says nothing, only how many come while a port is held."""
    taken_s = (evidence.hold_ns or 0) / NS_PER_S + (evidence.connection_s or 0)
    return evidence.load_s < taken_s or need > 1.2 * evidence.offered_per_s * taken_s + 1


def _pool_fixes(evidence: Evidence, need: int | None) -> tuple[Fix, ...]:
    if evidence.emulator is not None and need is not None:
        wider = Fix(
            host="server (emulator)",
            command=f"ftpstorm run {evidence.plan.scenario.name} --set target.emulator.passive_ports={need}",
            takes_effect="next run",
            risk="none: it is the emulator's pool; on a real server the firewall must admit the wider range",
        )
        if _uneven(evidence, need):
            return (wider,)  # a burst finds every port taken however short the hold
        per_port_s = (evidence.pool_size or 1) / max(evidence.offered_per_s, 1e-9)
        shorter = Fix(
            host="server (emulator)",
            command=f"ftpstorm run {evidence.plan.scenario.name} --set target.emulator.hold.for="
            f"{max(int(per_port_s * 1000) - 10, 0)}ms",
            takes_effect="next run",
            risk="none here; on a real server a shorter TIME_WAIT admits stray segments (RFC 9293 section 3.4.3)",
        )
        return (wider, shorter)
    return (
        Fix(
            host="server",
            command="widen the passive range: vsftpd pasv_min_port, pasv_max_port; ProFTPD PassivePorts; "
            "Pure-FTPd -p first:last; IIS: FTP Firewall Support, Data Channel Port Range",
            takes_effect="after a restart of the FTP server",
            risk="the firewall must admit the new ports",
        ),
        Fix(
            host="client",
            command="spread the transfers over time, or use one control connection for several",
            takes_effect="at once",
            risk="none",
        ),
    )


def client_ephemeral_ports(evidence: Evidence, generator: Generator) -> Finding | Against | None:
    """No local port left: the load generator's own."""
    failed = evidence.count(F.LOCAL_PORTS_EXHAUSTED)
    peak, budget = evidence.client_ports
    if not failed:
        if peak is None or budget is None:
            return None
        return Against((f"at most {peak:,} of {budget:,} ephemeral ports of the client were in use",))
    first_ns = evidence.first_ns(F.LOCAL_PORTS_EXHAUSTED)
    signs = [
        Sign("signature", f"connect or bind failed {count_of(failed, 'time')}: no local port was left (errno 98, 99)")
    ]
    if peak is not None and budget is not None and peak >= FULL_SHARE * budget:
        signs.append(Sign("witness", f"{peak:,} of the {budget:,} ephemeral ports were in use at one time"))
    waiting = evidence.peak(Metric.TCP_STATE, host="client", key="time-wait")
    if waiting and budget is not None and waiting >= 0.5 * budget:
        signs.append(Sign("records", f"{waiting:,} of the client's ports were in TIME_WAIT"))
    return Finding(
        signs=tuple(signs),
        explains=failed,
        first_ns=first_ns,
        sentence=f"The load generator's own ephemeral ports ran out {seconds(first_ns or 0)} into the run"
        f"{f' ({budget:,} there are)' if budget is not None else ''}; "
        "more source addresses or a wider net.ipv4.ip_local_port_range would lift it.",
        fixes=(
            Fix(
                host="client",
                command="sysctl -w net.ipv4.ip_local_port_range='10240 65535'",
                takes_effect="at once, for new connections",
                risk="must not overlap ports that services listen on (net.ipv4.ip_local_reserved_ports)",
            ),
            Fix(
                host="client",
                command="client.source_addresses in the scenario: each address has a port range of its own",
                takes_effect="next run",
                risk="none",
            ),
        ),
    )


def client_files(evidence: Evidence, generator: Generator) -> Finding | Against | None:
    """No file descriptor left: the load generator's own."""
    failed = evidence.count(F.LOCAL_FILES_EXHAUSTED)
    if not failed:
        return None
    first_ns = evidence.first_ns(F.LOCAL_FILES_EXHAUSTED)
    limit = evidence.plan.host.nofile_soft
    return Finding(
        signs=(Sign("witness", f"the kernel refused {count_of(failed, 'socket')}: too many open files"),),
        explains=failed,
        first_ns=first_ns,
        sentence=f"The load generator ran out of file descriptors {seconds(first_ns or 0)} into the run"
        f"{f' (limit {limit:,})' if limit is not None else ''}; `ulimit -n` or more workers would lift it.",
        fixes=(Fix(host="client", command="ulimit -n 65536", takes_effect="next run from this shell", risk="none"),),
    )
