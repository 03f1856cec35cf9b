"""Rules for the server's passive ports: a pool that is used up, and one that a server leaves when it is."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from ftpstorm.records.aggregate import Instants
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.finding import Against, Finding, Mask, Sign
from ftpstorm.report.occupancy import ports_of
from ftpstorm.report.remedies import remedies, run_again
from ftpstorm.report.summary import Fix, Generator
from ftpstorm.report.testimony import failed_as
from ftpstorm.report.wording import count_of, number, per_second, seconds
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import Cause, Metric, Outcome, Side
from ftpstorm.vocabulary import FailureClass as F

NEAR_LAW: Final = 0.1
"""A measured rate within this of N/(H + C) obeys that law."""
AT_ONCE_NS: Final = 5_000_000
NEARLY_FULL: Final = 0.9
"""A server that draws ports at random gives up before all are taken: vsftpd fails half of the time at 19 of 20."""


def server_passive_pool(evidence: Evidence, generator: Generator) -> Finding | Against | None:
    """Requests for a passive port that the server refused: its pool is full."""
    refused = evidence.count(F.PASSIVE_EXHAUSTED)
    size, taken = evidence.pool_size, evidence.pool_peak
    if not refused:
        asked = len(evidence.passive_transfers)
        if not asked:
            return None
        room = f"; at most {taken} of {size} ports were taken" if taken is not None and size is not None else ""
        return Against((f"none of {count_of(asked, 'request')} for a passive port was refused{room}",))
    first_ns = evidence.first_ns(F.PASSIVE_EXHAUSTED) or 0
    signs = [
        Sign(
            "signature",
            f"{count_of(refused, 'request')} for a passive port were refused, first after {seconds(first_ns)}: "
            f"{evidence.quoted_reply(F.PASSIVE_EXHAUSTED)}",
        ),
        *_full(evidence, first_ns),
    ]
    law, need = _pool_law(evidence)
    measured = evidence.sustained.rate_per_s
    if law is not None and measured is not None and abs(measured / law - 1) <= NEAR_LAW:
        signs.append(
            Sign("records", f"{per_second(measured)} sustained is {measured / law:.1%} of the pool's law N/(H + C)")
        )
    elif len(evidence.success_ns) and len(_offered_ports(evidence)) < len(evidence.success_ns):
        ports = _offered_ports(evidence)
        signs.append(Sign("records", f"the successful transfers shared {count_of(len(ports), 'port')} in turn"))
    seen = any(sign.kind == "witness" for sign in signs)
    return Finding(
        signs=tuple(signs),
        sentence=_pool_sentence(evidence, first_ns, law, need),
        explained=failed_as(evidence, F.PASSIVE_EXHAUSTED),
        fixes=_pool_fixes(evidence, need),
        would_settle=()
        if seen
        else (
            "`ftpstorm sample` on the server's host: TIME_WAIT sockets on as many passive ports as its range has",
            "the server's passive range, and whether it binds with SO_REUSEADDR",
        ),
    )


def _full(evidence: Evidence, first_ns: int) -> list[Sign]:
    """Return what speaks for a full pool: when refusals began, the emulator itself, the server's kernel."""
    size, taken = evidence.pool_size, evidence.pool_peak
    signs = []
    given = np.sort(evidence.passive_transfers["passive_ns"])
    before = given[given <= first_ns]
    if len(before):
        code = evidence.quoted_reply(F.PASSIVE_EXHAUSTED).strip('"')[:3]
        last = f"the {len(before):,}{_th(len(before))} port was given out, at {seconds(int(before[-1]))}"
        later = first_ns - int(before[-1])
        began = "at once" if later < AT_ONCE_NS else seconds(later)
        signs.append(Sign("signature", f"{code} began {began} after {last}"))
    if size is not None and taken is not None and taken >= size:
        text = f"the server's pool had no free port: {taken} of {size} were taken at one time"
        return [*signs, Sign("witness", text)]
    if evidence.emulator is not None or not evidence.sees_server:
        return signs
    server = ports_of(evidence).server
    if size is not None and server is not None and (server.in_use_peak or 0) >= NEARLY_FULL * size:
        text = f"the server's kernel had sockets on {server.in_use_peak} of {size} passive ports"
        return [*signs, Sign("witness", text)]
    waiting = evidence.peak(Metric.TCP_STATE, host=Side.SERVER, key="time-wait") or 0
    drawn = len(_offered_ports(evidence))
    if size is None and drawn and waiting >= drawn:
        text = f"the server's kernel held {waiting:,} sockets in TIME_WAIT; {drawn:,} passive ports were ever given out"
        signs.append(Sign("witness", text))
    return signs


def _th(count: int) -> str:
    if count % 100 in (11, 12, 13):
        return "th"
    return {1: "st", 2: "nd", 3: "rd"}.get(count % 10, "th")


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
            f"The server's {size}passive ports ran out {seconds(first_ns)} into the run, {_asked(evidence, first_ns)}; "
            "a wider passive range, or a server that frees its ports sooner, would lift it."
        )
    hold = number(evidence.hold_ns / NS_PER_S)
    asked = f"{need:,} were asked for within {hold} s" if _uneven(evidence, need) else f"{offered} were asked for"
    return (
        f"The server's {evidence.pool_size} passive ports ran out {seconds(first_ns)} into the run: each held {hold} s "
        f"after use, they carry {per_second(law)}, and {asked}; {need:,} ports or more"
        f"{'' if _uneven(evidence, need) else ', or a shorter hold,'} would lift it."
    )


def _asked(evidence: Evidence, first_ns: int) -> str:
    """Return how hard the load pressed: its rate where that is one number, else how many ports it took until then."""
    (name, _), *others = evidence.plan.loads
    if evidence.offered_per_s and not others and not evidence.is_burst(name):
        return f"at {per_second(evidence.offered_per_s)} offered"
    given = int(np.count_nonzero(evidence.passive_offers["passive_ns"] <= first_ns))
    return f"after {count_of(given, 'port')} had been given out"


def _uneven(evidence: Evidence, need: int) -> bool:
    """Whether the load comes in bursts: its mean rate then says nothing, only how many come while a port is held."""
    taken_s = (evidence.hold_ns or 0) / NS_PER_S + (evidence.connection_s or 0)
    rate = evidence.offered_per_s
    return rate is None or evidence.load_s < taken_s or need > 1.2 * rate * taken_s + 1


def _pool_fixes(evidence: Evidence, need: int | None) -> tuple[Fix, ...]:
    wider = remedies(evidence, Cause.SERVER_PASSIVE_POOL, places=need)
    if evidence.emulator is None or need is None or _uneven(evidence, need):
        return wider  # a burst finds every port taken however short the hold
    per_port_s = (evidence.pool_size or 1) / max(evidence.offered_per_s or 0, 1e-9)
    hold_ms = max(int(per_port_s * 1000) - 10, 0)
    shorter = Fix(
        host="server",
        command=f"{run_again(evidence)} --set target.emulator.hold.for={hold_ms}ms",
        takes_effect="now",
        risk="none here; on a real server a shorter TIME_WAIT admits stray segments (RFC 9293 section 3.4.3)",
    )
    return (*wider, shorter)


def server_passive_pool_escaped(evidence: Evidence, generator: Generator) -> Finding | Against | None:
    """Passive ports outside the declared range: the server went on beyond its pool, and a firewall may not follow."""
    declared = evidence.declared_range
    rows = evidence.passive_transfers
    if declared is None or not len(rows):
        return None
    first, last = declared
    outside = (rows["passive_port"] < first) | (rows["passive_port"] > last)
    given = int(np.count_nonzero(outside))
    if not given:
        return Against((f"each of {count_of(len(rows), 'passive port')} given out lay inside {first}-{last}",))
    explained = _escaped(evidence, first, last)
    failed = int(np.count_nonzero(explained))
    inside = rows[~outside]
    inside_lost = int(np.count_nonzero(np.isin(inside["class"], np.array(_UNREACHED, np.uint8))))
    text = f"{given:,} of {count_of(len(rows), 'passive port')} given out lay outside {first}-{last}"
    signs = [Sign("signature", f"{text}; {count_of(failed, 'transfer')} to them failed")]
    through = int(np.count_nonzero(inside["outcome"] == Outcome.SUCCEEDED))
    if failed and through and not inside_lost:
        signs.append(Sign("records", f"all {count_of(len(inside), 'data connection')} to ports inside were made"))
    server = ports_of(evidence).server
    if evidence.sees_server and server is not None and (server.in_use_peak or 0) >= NEARLY_FULL * (last - first + 1):
        seen = f"the server's kernel had sockets on {server.in_use_peak} of the range's {last - first + 1} ports"
        signs.append(Sign("witness", seen))
    first_ns = int(rows["passive_ns"][outside].min())
    return Finding(
        signs=tuple(signs),
        sentence=f"The server's {last - first + 1} passive ports were all taken {seconds(first_ns)} into the run, and "
        f"it went on with ports outside {first}-{last}"
        + (f", where {count_of(failed, 'transfer')} failed" if failed else "")
        + "; a wider range, or a firewall that follows FTP, would lift it.",
        explained=explained,
        fixes=remedies(evidence, Cause.SERVER_PASSIVE_POOL_ESCAPED),
        would_settle=() if signs[-1].kind == "witness" else ("the server's listening ports at that time (ss -ltn)",),
    )


_UNREACHED: Final = (F.DATA_CONNECT_TIMEOUT, F.DATA_CONNECT_REFUSED, F.UNREACHABLE, F.DATA_CONNECT_RESET)


def _escaped(evidence: Evidence, first: int, last: int) -> Mask:
    port = evidence.failures.data["remote_port"]
    lost = failed_as(evidence, *_UNREACHED, F.DATA_NOT_ESTABLISHED) & (port != 0) & ((port < first) | (port > last))
    found: Mask = failed_as(evidence, F.PASSIVE_OUT_OF_RANGE) | lost
    return found
