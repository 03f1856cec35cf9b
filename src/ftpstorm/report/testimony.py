"""What kernels and servers say of a run, in a line each: counters that moved, occupancy, who was open when.

Each is worded once here, for signs and for what rules a cause out. None or "" stands for what nobody sampled.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from ftpstorm.records import aggregate
from ftpstorm.records.reader import Array, Readings
from ftpstorm.records.schema import ABSENT
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.finding import Mask
from ftpstorm.scenario.client import parse_port_range
from ftpstorm.vocabulary import DataMode, FailureClass, Metric, Phase, Side

OVERFLOWS: Final = (
    "TcpExt.ListenOverflows",
    "TcpExt.ListenDrops",
    "TcpExt.TCPReqQFullDoCookies",
    "TcpExt.TCPReqQFullDrop",
)
"""Counters of a full accept queue, or of a full queue of half-open connections."""
SHOWN_BY: Final = 3
"""So many refusals at about the same number show that the number has to do with them."""
PASSED_BY: Final = 0.1
"""So great a share may be let in beyond a cap: client and server do not count at the same instant."""
COOKIES: Final = ("TcpExt.SyncookiesSent", "TcpExt.SyncookiesRecv")
REFUSED_BY_NAT: Final = ("conntrack.insert_failed", "conntrack.drop")
"""Connections that the router could not translate, or had no room to track."""


def failed_as(evidence: Evidence, *classes: FailureClass) -> Mask:
    """Return which failures are of these classes."""
    found: Mask = np.isin(evidence.failures.data["class"], np.array(classes, np.uint8))
    return found


def counters(evidence: Evidence, side: Side, *names: str) -> dict[str, int]:
    """Return how far these counters moved on the hosts of `side`, those left out that nobody read there.

    Without a lab one kernel was sampled: the client's, and the server's too where both live on it. A router's is known
    in a lab alone.
    """
    lab = evidence.plan.scenario.lab
    if side is Side.SERVER and not evidence.sees_server:
        return {}
    if side is Side.ROUTER and (lab is None or lab.topology != "routed"):
        return {}
    known = evidence.counters_of(side)
    return {name: round(known[name]) for name in names if name in known}


def moved(evidence: Evidence, side: Side, *names: str) -> dict[str, int]:
    """Return those of these counters that rose on `side`."""
    return {name: value for name, value in counters(evidence, side, *names).items() if value > 0}


def said(counts: dict[str, int]) -> str:
    """Return ``ListenOverflows +190, SyncookiesSent +400``."""
    return ", ".join(f"{name.partition('.')[2]} +{count:,}" for name, count in counts.items())


def of_server(evidence: Evidence, *names: str) -> str:
    """Return ``server ListenOverflows +0``; "" where the server's kernel was not sampled."""
    known = counters(evidence, Side.SERVER, *names)
    return f"server {said(known)}" if known else ""


def listener_stood(evidence: Evidence) -> bool | None:
    """Tell whether the server's control port was listening in the last sample; None where nobody looked."""
    found = evidence.run.samples.select(Metric.LISTEN_BACKLOG, host=Side.SERVER)
    known = [readings.value[-1] > 0 for readings in found.values() if len(readings)]
    return any(known) if known else None


def queue_peak(evidence: Evidence) -> tuple[int | None, int | None]:
    """Return the longest accept queue of the control port and its limit (the kernel holds one more)."""
    peaks = [
        evidence.peak(Metric.LISTEN_QUEUE, host=Side.SERVER),
        evidence.peak(Metric.ACCEPT_QUEUE) if evidence.emulator is not None else None,
    ]
    known = [peak for peak in peaks if peak is not None]
    return max(known, default=None), evidence.peak(Metric.LISTEN_BACKLOG, host=Side.SERVER)


def nat_ports(evidence: Evidence) -> int | None:
    """Return how many ports the lab's router may translate to; None where it does not translate, or nobody knows."""
    lab = evidence.plan.scenario.lab
    if lab is None or lab.nat is None or lab.nat.ports is None:
        return None
    first, last = parse_port_range(lab.nat.ports)
    return last - first + 1


def client_share(evidence: Evidence) -> str:
    """Return ``client ports 3 % used``; "" where they were not sampled."""
    peak, budget = evidence.client_ports
    return f"client ports {100 * peak / budget:.0f} % used" if peak is not None and budget else ""


def connected(evidence: Evidence) -> Readings:
    """Return how many control connections stood, over time."""
    rows = evidence.started[evidence.started["connected_ns"] != ABSENT]
    return aggregate.in_flight(rows["connected_ns"], rows["end_ns"])


def let_in(evidence: Evidence, refused: Mask) -> Array:
    """Return the sessions that the server greeted, those left out that it turned away with one of these failures."""
    keys = [
        rows["load"].astype(np.int64) << 32 | rows["session"] for rows in (evidence.started, evidence.failures.data)
    ]
    stayed = ~np.isin(keys[0], keys[1][refused]) | (evidence.started["login_ns"] != ABSENT)
    rows: Array = evidence.started[(evidence.started["greeting_ns"] != ABSENT) & stayed]
    return rows


def greeted_after(evidence: Evidence, t_ns: int) -> int:
    """Return how many sessions were greeted after an instant."""
    stamps = evidence.started["greeting_ns"]
    return int(np.count_nonzero((stamps != ABSENT) & (stamps > t_ns)))


def greeted_between(evidence: Evidence, first_ns: int, last_ns: int) -> int:
    """Return how many sessions that started between two instants were greeted, whenever that was."""
    rows = evidence.started
    between = (rows["start_ns"] > first_ns) & (rows["start_ns"] < last_ns)
    return int(np.count_nonzero(between & (rows["greeting_ns"] != ABSENT)))


def capped_at(at_refusal: npt.NDArray[np.float64], at_entry: npt.NDArray[np.float64]) -> int | None:
    """Return the number at which a cap lies; None where the records show none.

    `at_refusal` is how many were open at each refusal, `at_entry` how many others when one was let in. Under a steady
    load any refusal comes at about the same number: it is a cap only where almost nobody was let in beyond it.
    """
    if len(at_refusal) < SHOWN_BY:
        return None
    low, high = (float(value) for value in np.percentile(at_refusal, (10, 90)))
    if high < 1 or high - low > max(2.0, 0.1 * high):
        return None
    passed = int(np.count_nonzero(at_entry >= high))
    return None if passed > PASSED_BY * min(len(at_refusal), len(at_entry)) else round(float(np.median(at_refusal)))


def in_bursts(evidence: Evidence, rows: Array) -> bool:
    """Tell whether these failures befell sessions that started together, and the load at large did not.

    Yes for a burst that fails as such; for others when around the median of them at least three times as many sessions
    started within 100 ms as on average.
    """
    if not len(rows):
        return False
    names = [name for name, _ in evidence.plan.loads]
    if np.mean([evidence.is_burst(names[int(load)]) for load in rows["load"]]) >= 0.8:
        return True
    starts = np.sort(evidence.started["start_ns"])
    width = 100_000_000
    near = np.searchsorted(starts, rows["start_ns"] + width // 2) - np.searchsorted(
        starts, rows["start_ns"] - width // 2
    )
    mean = len(starts) * width / max(int(starts[-1] - starts[0]), width)
    return float(np.median(near)) >= 3 * mean + 3


def by_phase(evidence: Evidence) -> dict[Phase, int]:
    """Return how many sessions or transfers came to each phase: what a share of failures is a share of."""
    started, moved_rows = evidence.started, evidence.transfers
    connected_count = int(np.count_nonzero(started["connected_ns"] != ABSENT))
    greeted_count = int(np.count_nonzero(started["greeting_ns"] != ABSENT))
    data_count = int(np.count_nonzero(moved_rows["passive_ns"] != ABSENT))
    open_count = int(np.count_nonzero(moved_rows["data_connected_ns"] != ABSENT))
    return {
        Phase.NONE: len(started),
        Phase.CONTROL_CONNECT: len(started),
        Phase.TLS: connected_count,
        Phase.GREETING: connected_count,
        Phase.LOGIN: greeted_count,
        Phase.PASSIVE: len(moved_rows),
        Phase.DATA_CONNECT: data_count,
        Phase.FIRST_BYTE: data_count,
        Phase.TRANSFER: open_count,
        Phase.FINAL_REPLY: open_count,
        Phase.COMMAND: len(evidence.operations),
    }


def active_transfers(evidence: Evidence) -> Array:
    """Return the transfers in active mode that got as far as PORT or EPRT."""
    rows: Array = evidence.transfers[np.isin(evidence.transfers["mode"], (DataMode.PORT, DataMode.EPRT))]
    return rows


def not_listening(evidence: Evidence) -> Mask:
    """Return which failures are ports of active mode that the client could not listen on.

    It listens before it says a word, so what failed there has a data connection's phase and no reply to PASV or PORT.
    """
    rows = evidence.transfers
    rows = rows[
        (rows["class"] == FailureClass.LOCAL_PORTS_EXHAUSTED)
        & (rows["phase"] == Phase.DATA_CONNECT)
        & (rows["passive_ns"] == ABSENT)
    ]
    return failures_of(evidence, rows)


def failures_of(evidence: Evidence, rows: Array) -> Mask:
    """Return which failures are those of these operation records."""
    failures = evidence.failures.data
    found: Mask = np.isin(failures["t_ns"], rows["end_ns"])
    if found.any():
        names = ("load", "session", "t_ns")
        keys = set(zip(*(rows[name].tolist() for name in ("load", "session", "end_ns")), strict=True))
        these = zip(*(failures[name][found].tolist() for name in names), strict=True)
        found[found] = [key in keys for key in these]
    return found
