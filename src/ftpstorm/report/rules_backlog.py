"""Rules for the way into the server: a full backlog in its three guises, and a server that accepts too slowly.

What a full backlog does depends on the system: with SYN cookies clients are connected to nobody (ghosts), without them
SYNs are dropped and sent again, or the handshake ends in RST (tcp_abort_on_overflow); Windows answers the SYN itself
with RST. See `ftpstorm.limits.backlog` for the sources.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ftpstorm.records.schema import ABSENT
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.finding import Against, Finding, Mask, Sign
from ftpstorm.report.remedies import remedies, runs_linux
from ftpstorm.report.summary import Generator
from ftpstorm.report.testimony import (
    COOKIES,
    OVERFLOWS,
    REFUSED_BY_NAT,
    counters,
    failed_as,
    greeted_after,
    in_bursts,
    moved,
    of_server,
    queue_peak,
    said,
)
from ftpstorm.report.wording import count_of, seconds
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import Cause, Side
from ftpstorm.vocabulary import FailureClass as F

ETIMEDOUT: Final = 110
SYN_RETRY_NS: Final = 900_000_000
"""A connect that took longer was answered at its second SYN, which Linux sends after a second (RFC 6298)."""
LONG_QUEUE: Final = 5
"""Connections that wait for accept(2) at one time: fewer are the scheduler's doing."""


def _overflows(evidence: Evidence) -> dict[str, int]:
    return moved(evidence, Side.SERVER, *OVERFLOWS)


def _silent(evidence: Evidence) -> tuple[Mask, Mask]:
    """Split silent greetings: clients of whom the server's kernel knows nothing, and clients that nobody serves.

    A nudge tells each (errno ETIMEDOUT: not acknowledged). Without one the server's counters decide for all of them.
    """
    silent = failed_as(evidence, F.GREETING_SILENT)
    if evidence.plan.scenario.client.greeting_nudge is not None:
        unknown = silent & (evidence.failures.data["errno"] == ETIMEDOUT)
        return unknown, silent & ~unknown
    if evidence.sees_server and counters(evidence, Side.SERVER, *OVERFLOWS):
        return (silent, silent & False) if _overflows(evidence) else (silent & False, silent)
    slow = _slowest_greeting_ns(evidence) >= evidence.plan.scenario.client.timeouts.greeting // 2
    return (silent & False, silent) if slow else (silent, silent & False)


def _slowest_greeting_ns(evidence: Evidence) -> int:
    waits = evidence.durations["greeting"].ns
    return int(waits.max()) if len(waits) else 0


def backlog_ghost(evidence: Evidence, generator: Generator) -> Finding | Against | None:
    """Connected for the client, unknown to the server: its accept queue overflowed while SYN cookies were on."""
    full, known = _overflows(evidence), of_server(evidence, "TcpExt.ListenOverflows")
    ghosts, _ = _silent(evidence)
    if not ghosts.any():
        if evidence.count(F.GREETING_SILENT):
            return Against((known or "the server's kernel acknowledged what silent connections were sent",))
        return Against((f"the accept queue never overflowed: {known}",)) if known and not full else None
    first_ns = int(evidence.failures.data["t_ns"][ghosts][0])
    if not full and not np.count_nonzero(evidence.started["greeting_ns"] != ABSENT):
        return None  # nobody at all was greeted: a server that is down, or hangs
    count = int(np.count_nonzero(ghosts))
    signs = [Sign("signature", f"{count_of(count, 'session')} were connected and never greeted")]
    if evidence.plan.scenario.client.greeting_nudge is not None:
        signs.append(Sign("records", "none of them had a NOOP acknowledged: no kernel holds the other end"))
    elif in_bursts(evidence, evidence.failures.data[ghosts]):
        signs.append(Sign("records", "they began together, in a burst"))
    if full:
        cookies = moved(evidence, Side.SERVER, *COOKIES)
        signs.append(Sign("witness", f"the server's kernel counted a full accept queue: {said(full | cookies)}"))
    backlog = f" of {evidence.emulator.backlog}" if evidence.emulator is not None else ""
    return Finding(
        signs=tuple(signs),
        sentence=f"The server's listen backlog{backlog} overflowed, the first silence was given up {seconds(first_ns)} "
        f"into the run: {count:,} clients are connected to nobody; a longer backlog, or a server that accepts faster, "
        "would lift it.",
        explained=ghosts,
        fixes=remedies(evidence, Cause.BACKLOG_GHOST),
        would_settle=() if full else ("TcpExt.ListenOverflows and SyncookiesSent on the server (`ftpstorm sample`)",),
    )


def slow_accept(evidence: Evidence, generator: Generator) -> Finding | Against | None:
    """Connections wait too long for accept(2): they are never greeted in time, or their SYNs go unanswered."""
    _, waiting = _silent(evidence)
    full, translated = _overflows(evidence), moved(evidence, Side.ROUTER, *REFUSED_BY_NAT)
    timeouts = failed_as(evidence, F.CONTROL_CONNECT_TIMEOUT)
    first_timeout = evidence.first_ns(F.CONTROL_CONNECT_TIMEOUT)
    burst = timeouts.any() and in_bursts(evidence, evidence.failures.data[timeouts])
    blind = not evidence.sees_server and burst and greeted_after(evidence, first_timeout or 0) > 0
    dropped = timeouts if (full or blind) and not translated else timeouts & False
    explained = waiting | dropped
    slowest = _slowest_greeting_ns(evidence)
    queue, limit = queue_peak(evidence)
    if not explained.any():
        if not len(evidence.durations["greeting"].ns):
            return None
        wait = f"each greeting came within {seconds(slowest)}"
        return Against((wait if queue is None else f"{wait}; at most {queue:,} connections waited for accept",))
    if not full and not len(evidence.durations["greeting"].ns):
        return None  # nobody at all was greeted: a server that is down, or hangs
    first_ns = int(evidence.failures.data["t_ns"][explained][0])
    kinds = [f"{count_of(int(np.count_nonzero(waiting)), 'session')} were never greeted"] if waiting.any() else []
    kinds += [f"{count_of(int(np.count_nonzero(dropped)), 'connect')} got no answer"] if dropped.any() else []
    signs = [Sign("signature", "; ".join(kinds))]
    if slowest >= NS_PER_S:
        signs.append(Sign("records", f"those that were greeted waited up to {seconds(slowest)}"))
    again = int(np.count_nonzero(evidence.durations["control_connect"].ns >= SYN_RETRY_NS))
    if dropped.any() and again:
        signs.append(
            Sign("records", f"{count_of(again, 'connect')} succeeded at a repeated SYN, a second later or more")
        )
    if waiting.any() and queue is not None and queue >= LONG_QUEUE:
        signs.append(Sign("witness", f"up to {queue:,} connections waited for accept{_of(limit)} on the server"))
    if dropped.any() and full:
        signs.append(Sign("witness", f"the server's kernel dropped SYNs: {said(full)}; no SYN cookie was sent"))
    return Finding(
        signs=tuple(signs),
        sentence=f"The server accepts connections too slowly, the first were given up {seconds(first_ns)} into the "
        "run; more accepting threads or processes, less work before the greeting, or a longer backlog would lift it.",
        explained=explained,
        fixes=remedies(evidence, Cause.SLOW_ACCEPT),
        would_settle=()
        if signs[-1].kind == "witness"
        else ("the accept queue (ss -ltn, Recv-Q) and TcpExt.ListenDrops on the server (`ftpstorm sample`)",),
    )


def _of(limit: int | None) -> str:
    return "" if limit is None else f" (backlog {limit:,})"


def reset_after_accept(evidence: Evidence, generator: Generator) -> Finding | Against | None:
    """RST after the handshake and before the greeting: a full queue with abort_on_overflow, or the server itself."""
    explained = failed_as(evidence, F.GREETING_RESET, F.CONTROL_CONNECT_RESET)
    known = of_server(evidence, "TcpExt.EmbryonicRsts")
    if not explained.any():
        text = "no connection was reset before its greeting"
        return Against((f"{text}; {known}" if known else text,)) if len(evidence.started) else None
    emulator = evidence.process("emulator")
    if emulator is not None and (emulator.counts or {}).get("refused_connections"):
        return Against(("the server itself counts them as turned away by its cap on connections",))
    count = int(np.count_nonzero(explained))
    first_ns = int(evidence.failures.data["t_ns"][explained][0])
    signs = [Sign("signature", f"{count_of(count, 'connection')} were made and then reset, before any greeting")]
    if in_bursts(evidence, evidence.failures.data[explained]):
        signs.append(Sign("records", "they began together, in a burst"))
    resets = counters(evidence, Side.SERVER, "TcpExt.EmbryonicRsts", "Tcp.OutRsts")
    full = _overflows(evidence)
    if full and sum(resets.values()):
        signs.append(
            Sign("witness", f"the server's kernel reset what its queue had no room for: {said(resets | full)}")
        )
    elif resets.get("Tcp.OutRsts", 0) >= count:
        text = f"the server sent {resets['Tcp.OutRsts']:,} RSTs, and its accept queue never overflowed"
        signs.append(Sign("witness", f"{text}: its program or a cap does it"))
    return Finding(
        signs=tuple(signs),
        sentence=f"The server resets connections right after the handshake, from {seconds(first_ns)} on: {count:,} of "
        "them; a longer backlog, more accepting threads, or no reset at its maximum would lift it.",
        explained=explained,
        fixes=remedies(evidence, Cause.RESET_AFTER_ACCEPT),
        would_settle=()
        if signs[-1].kind == "witness"
        else ("TcpExt.EmbryonicRsts, ListenOverflows and Tcp.OutRsts on the server (`ftpstorm sample`)",),
    )


def backlog_syn_refused(evidence: Evidence, generator: Generator) -> Finding | Against | None:
    """The SYN itself is answered with RST while others get in: what a full backlog does on Windows."""
    explained = failed_as(evidence, F.CONTROL_CONNECT_REFUSED)
    if not explained.any():
        return Against(("no connect was refused",)) if len(evidence.started) else None
    rows = evidence.failures.data[explained]
    if runs_linux(evidence):
        return Against(("the server runs on Linux, which never answers a SYN with RST for a full backlog",))
    after = greeted_after(evidence, int(rows["t_ns"][0]))
    if not after:
        return None
    if not in_bursts(evidence, rows):
        return Against(("refusals came while sessions started evenly, not in bursts",))
    count = len(rows)
    return Finding(
        signs=(
            Sign("signature", f"{count_of(count, 'connect')} were refused (RST in answer to SYN)"),
            Sign("records", f"only in bursts: {count_of(after, 'session')} were greeted after the first of them"),
        ),
        sentence=f"Connects are refused when many come at once, first {seconds(int(rows['t_ns'][0]))} into the run: "
        "the first suspect is a full listen backlog on Windows, then a firewall that counts connections; a longer "
        "backlog would lift it.",
        explained=explained,
        fixes=remedies(evidence, Cause.BACKLOG_SYN_REFUSED),
        would_settle=(
            "whether the server runs on Windows; on Linux only a firewall refuses so (nft list ruleset)",
            "a packet capture on the server: a SYN that never arrives was refused on the way",
        ),
    )
