"""The rule for a server without ephemeral ports of its own: they go to connections that it makes, not that it takes."""

from __future__ import annotations

from typing import Final

import numpy as np

from ftpstorm.limits.fixes import SHARED_BACK_END
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.finding import Against, Finding, Mask, Sign
from ftpstorm.report.remedies import remedies
from ftpstorm.report.summary import Fix, Generator
from ftpstorm.report.testimony import active_transfers, failed_as, failures_of
from ftpstorm.report.wording import count_of, seconds
from ftpstorm.scenario.lab import sysctl_full_name
from ftpstorm.vocabulary import Cause, Metric, Outcome, Side
from ftpstorm.vocabulary import FailureClass as F

LOCAL_ERROR: Final = 451
"""Requested action aborted, local error in processing (RFC 959, 4.2.2)."""
NO_PORT_WORDS: Final = ("assign requested address", "address already in use", "10048", "10055", "no buffer space")
"""What systems say where connect or bind finds no local port: EADDRNOTAVAIL, EADDRINUSE, Winsock's numbers."""
NEAR: Final = 0.1
"""A count within this of the range's size is that size."""


def server_ephemeral_ports(evidence: Evidence, generator: Generator) -> Finding | Against | None:
    """The server could not connect for want of a local port: to a back end, or, in active mode, to its clients."""
    behind, outward = _local_errors(evidence), _active_refusals(evidence)
    explained = behind | outward
    if not explained.any():
        backend = evidence.emulator.backend if evidence.emulator is not None else None
        return None if backend is None else Against(("no transfer was refused with 451",))
    rows = evidence.failures.data[explained]
    first_ns = int(rows["t_ns"][0])
    reply = evidence.quoted_reply(F.TRANSFER_ABORTED if behind.any() else F.DATA_NOT_ESTABLISHED)
    signs = [Sign("signature", f"{count_of(len(rows), 'transfer')} were refused: {reply}")]
    ports = server_ports(evidence)
    if behind.any():
        refused = _told(evidence, "backend_refused")
        waiting = evidence.peak(Metric.TCP_STATE, host=Side.SERVER, key="time-wait") if evidence.sees_server else None
        if refused:
            signs.append(
                Sign("witness", f"the server had no port for {count_of(refused, 'connection')} to its back end")
            )
        if ports is not None and waiting is not None and waiting >= (1 - NEAR) * ports:
            signs.append(
                Sign("records", f"{waiting:,} sockets of the server were in TIME_WAIT, and it has {ports:,} ports")
            )
    else:
        tried = _not_refused(evidence)
        signs.append(Sign("records", f"it opened {tried:,} data connections or tried to, as many as it has ports"))
    has = f" ({ports:,} there are)" if ports is not None else ""
    return Finding(
        signs=tuple(signs),
        sentence=f"The server's own ephemeral ports ran out {seconds(first_ns)} into the run{has}: each connection "
        "that it makes takes one, and TIME_WAIT keeps it; "
        + ("connections that are kept and shared" if behind.any() else "passive mode")
        + ", or a wider ephemeral range there, would lift it.",
        explained=explained,
        fixes=remedies(evidence, Cause.SERVER_EPHEMERAL_PORTS) if behind.any() else _active_fixes(evidence),
        would_settle=() if signs[-1].kind == "witness" or evidence.sees_server
        else ("TIME_WAIT by remote address on the server's host (`ftpstorm sample`)",),
    )  # fmt: skip


def _active_fixes(evidence: Evidence) -> tuple[Fix, ...]:
    """Return what lifts it where the connections go to clients and not to a back end."""
    passive = Fix(
        host=Side.CLIENT,
        command="passive mode: the server listens for data connections and makes none",
        takes_effect="now",
        risk="firewalls must admit its passive range",
    )
    fixes = remedies(evidence, Cause.SERVER_EPHEMERAL_PORTS)
    return (passive, *(fix for fix in fixes if fix.command != SHARED_BACK_END))


def server_ports(evidence: Evidence) -> int | None:
    """Return how many ephemeral ports the lab gave to the server's host; None where it left the kernel's default."""
    lab = evidence.plan.scenario.lab
    if lab is None:
        return None
    given = {sysctl_full_name(name): value for name, value in lab.sysctls.server.items()}
    text = given.get("net.ipv4.ip_local_port_range")
    if text is None:
        return None
    first, last = (int(part) for part in text.replace("-", " ").split())
    return last - first + 1


def _local_errors(evidence: Evidence) -> Mask:
    rows = evidence.failures.data
    texts = np.array([any(words in text.lower() for words in NO_PORT_WORDS) for text in evidence.failures.texts], bool)
    found: Mask = failed_as(evidence, F.TRANSFER_ABORTED) & (rows["code"] == LOCAL_ERROR)
    return found & texts[rows["text"]] if len(texts) else np.zeros(len(rows), bool)


def _active_refusals(evidence: Evidence) -> Mask:
    """In active mode, refusals of all transfers but as many as the server has ephemeral ports."""
    refused = failed_as(evidence, F.DATA_NOT_ESTABLISHED)
    ports = server_ports(evidence)
    if not refused.any() or ports is None or abs(_not_refused(evidence) - ports) > NEAR * ports:
        return np.zeros(len(refused), bool)
    return refused & failures_of(evidence, active_transfers(evidence))


def _not_refused(evidence: Evidence) -> int:
    """Return how many transfers of active mode took a port of the server's: all but the refused."""
    rows = active_transfers(evidence)
    return int(np.count_nonzero((rows["outcome"] != Outcome.FAILED) | (rows["class"] != F.DATA_NOT_ESTABLISHED)))


def _told(evidence: Evidence, name: str) -> int | None:
    process = evidence.process("emulator")
    return None if process is None or process.counts is None else process.counts.get(name)
