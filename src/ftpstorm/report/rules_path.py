"""Rules for what stands between client and server: address translation, firewalls, limits for each address."""

from __future__ import annotations

from typing import Final

import numpy as np

from ftpstorm.records import aggregate
from ftpstorm.records.schema import ABSENT
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.finding import Against, Finding, Mask, Sign
from ftpstorm.report.remedies import remedies, runs_linux
from ftpstorm.report.summary import Generator
from ftpstorm.report.testimony import (
    OVERFLOWS,
    REFUSED_BY_NAT,
    capped_at,
    counters,
    failed_as,
    greeted_after,
    greeted_between,
    in_bursts,
    let_in,
    moved,
    nat_ports,
    of_server,
    said,
)
from ftpstorm.report.wording import count_of, seconds
from ftpstorm.vocabulary import Cause, Metric, Phase, Side
from ftpstorm.vocabulary import FailureClass as F

UNREACHED: Final = (F.DATA_CONNECT_TIMEOUT, F.DATA_CONNECT_REFUSED, F.UNREACHABLE)
ONE_ADDRESS: Final = (
    "from your internet address",
    "per host",
    "per ip",
    "this address",
    "your ip",
    "same ip",
    "same host",
    "from your host",
)
"""What servers say of a limit that each address has to itself, in lower case."""
SEPARATE_PORTS: Final = 3
"""So many ports that always failed, beside others that never did, show a rule about ports."""


def nat_pool(evidence: Evidence, generator: Generator) -> Finding | Against | None:
    """The router has no port left to translate to: SYNs vanish on it."""
    refused = moved(evidence, Side.ROUTER, *REFUSED_BY_NAT)
    seen = counters(evidence, Side.ROUTER, *REFUSED_BY_NAT)
    size = nat_ports(evidence)
    tracked = evidence.peak(Metric.COUNTER, host=Side.ROUTER, key="conntrack.entries")
    explained = failed_as(evidence, F.CONTROL_CONNECT_TIMEOUT, F.DATA_CONNECT_TIMEOUT)
    if seen and not refused:
        entries = "" if tracked is None else f"; at most {tracked:,} connections were tracked"
        return Against((f"router {said(seen)}{entries}",))
    if not explained.any():
        return None
    first_ns = int(evidence.failures.data["t_ns"][explained][0])
    if not refused:
        blind = _blind_timeouts(evidence, first_ns)
        if blind is None:
            return None
        explained, sign = blind
    count = int(np.count_nonzero(explained))
    signs = [Sign("signature", f"{count_of(count, 'connect')} got no answer (SYNs vanished)")]
    if refused:
        there = f", with {size:,} ports to translate to" if size is not None else ""
        full = "" if tracked is None else f"; up to {tracked:,} connections were tracked{there}"
        signs.append(Sign("witness", f"the router could not translate: {said(refused)}{full}"))
        quiet = of_server(evidence, "TcpExt.ListenOverflows")
        if quiet:
            signs.append(Sign("records", f"the SYNs never came to the server: {quiet}"))
    else:
        signs.append(sign)
    return Finding(
        signs=tuple(signs),
        sentence=f"The router's address translation had no port left {seconds(first_ns)} into the run or before"
        f"{f' ({size:,} there are for each destination)' if size is not None else ''}: {count:,} connects vanished on "
        "it; more ports or addresses to translate to would lift it.",
        explained=explained,
        fixes=remedies(evidence, Cause.NAT_POOL, Side.ROUTER),
        would_settle=()
        if refused
        else ("conntrack -S (insert_failed, drop) or the gateway's own count of port allocation errors",),
    )


def _blind_timeouts(evidence: Evidence, first_ns: int) -> tuple[Mask, Sign] | None:
    """Suspect a gateway that nobody looked into: connects time out one by one while others get through."""
    if evidence.sees_server:
        return None
    explained = failed_as(evidence, F.CONTROL_CONNECT_TIMEOUT)
    after = greeted_after(evidence, first_ns)
    if not explained.any() or not after or in_bursts(evidence, evidence.failures.data[explained]):
        return None
    text = f"{count_of(after, 'session')} were greeted after the first of them, and no burst was on"
    return explained, Sign("signature", text)


def firewall_no_helper(evidence: Evidence, generator: Generator) -> Finding | Against | None:
    """Control works, data connections do not get through: a filter that knows nothing of FTP's second connection."""
    rows = evidence.transfers
    made = int(np.count_nonzero(rows["data_connected_ns"] != ABSENT))
    explained = failed_as(evidence, *UNREACHED) & (evidence.failures.data["phase"] == Phase.DATA_CONNECT)
    if not explained.any():
        return Against((f"all {count_of(made, 'data connection')} got through",)) if made else None
    declared = evidence.declared_range
    port = evidence.failures.data["remote_port"]
    if declared is not None:
        explained = explained & ((port == 0) | ((port >= declared[0]) & (port <= declared[1])))
    if not explained.any():
        return None
    lost = evidence.failures.data[explained]
    blocked = {int(number) for number in np.unique(lost["remote_port"])} - {0}
    open_rows = rows[(rows["data_connected_ns"] != ABSENT) & (rows["passive_port"] != 0)]
    opened = {int(number) for number in np.unique(open_rows["passive_port"])}
    apart = len(blocked) >= SEPARATE_PORTS and not blocked & opened
    if made and not apart:
        if blocked and not blocked & opened:
            return None  # too few ports to tell a rule about them from chance
        same = int(np.count_nonzero(np.isin(open_rows["passive_port"], list(blocked))))
        there = f", {same:,} of them to ports that others failed on" if same else ""
        return Against((f"{count_of(made, 'data connection')} got through{there}",))
    kinds = ", ".join(
        f"{int(np.count_nonzero(lost['class'] == failure)):,} x {failure.word}"
        for failure in UNREACHED
        if np.any(lost["class"] == failure)
    )
    signs = [
        Sign("signature", f"{kinds}: {'not one data connection got through' if not made else 'always the same ports'}"),
        Sign("records", f"control did: {count_of(_logins(evidence), 'session')} logged in"),
    ]
    arrived = counters(evidence, Side.SERVER, "Tcp.PassiveOpens").get("Tcp.PassiveOpens")
    controls = int(np.count_nonzero(evidence.started["connected_ns"] != ABSENT))
    apart_hosts = evidence.plan.scenario.lab is not None and evidence.plan.scenario.lab.topology != "loopback"
    if apart_hosts and arrived is not None and not made and arrived <= controls:
        text = f"the server's kernel accepted {arrived:,} connections, no more than the {controls:,} of control"
        signs.append(Sign("witness", f"{text}: no data connection came to it"))
    tls = evidence.plan.scenario.target.tls.mode != "none"
    server = evidence.plan.scenario.target.server
    tls = tls or (server is not None and server.tls != "none")
    blind = "; over TLS no firewall can follow FTP, so admit the passive range" if tls else ""
    first_ns = int(lost["t_ns"][0])
    return Finding(
        signs=tuple(signs),
        sentence=f"Data connections do not get through the firewall, the first failed {seconds(first_ns)} into the "
        f"run; one that follows FTP, or that admits the passive range, would lift it{blind}.",
        explained=explained,
        fixes=remedies(evidence, Cause.FIREWALL_NO_HELPER, None),
        would_settle=()
        if signs[-1].kind == "witness"
        else ("a packet capture on the server: SYNs to its passive ports that never arrive were stopped on the way",),
    )


def _logins(evidence: Evidence) -> int:
    return int(np.count_nonzero(evidence.started["login_ns"] != ABSENT))


def per_address_limit(evidence: Evidence, generator: Generator) -> Finding | Against | None:
    """So many connections for one address, or so many new ones a second, and no more."""
    told = _told(evidence)
    refused = failed_as(evidence, F.CONTROL_CONNECT_REFUSED)
    if refused.any():
        rows = evidence.failures.data[refused]
        burst = in_bursts(evidence, rows) and not runs_linux(evidence)
        if burst or not greeted_after(evidence, int(rows["t_ns"][0])):
            refused = refused & False
        elif not _admitted_meanwhile(evidence, refused):
            if not told.any():
                text = "no session was greeted that started between the first and the last refused connect"
                return Against((text if len(rows) > 1 else "one refused connect alone shows no limit",))
            refused = refused & False
    explained = told | refused
    if not explained.any():
        busy = evidence.count(F.BUSY_AT_GREETING, F.BUSY_AT_LOGIN)
        return Against(("no refusal spoke of the client's address",)) if busy else None
    rows = evidence.failures.data[explained]
    first_ns = int(rows["t_ns"][0])
    reply = evidence.quoted_reply(F.BUSY_AT_GREETING, F.BUSY_AT_LOGIN) if told.any() else "connect was refused"
    signs = [Sign("signature", f"{count_of(len(rows), 'session')} were refused: {reply}")]
    steady = _open_by_source(evidence, explained)
    if steady is not None:
        signs.append(Sign("records", steady))
    if told.any():
        signs.append(Sign("records", "the reply speaks of this client's address, not of all users"))
    elif runs_linux(evidence):
        full = moved(evidence, Side.SERVER, *OVERFLOWS)
        if not full:
            text = "a Linux server that listens refuses nobody: something before it did"
            quiet = of_server(evidence, "TcpExt.ListenOverflows")
            signs.append(Sign("records", f"{text}{f' ({quiet})' if quiet else ''}"))
    return Finding(
        signs=tuple(signs),
        sentence=f"A limit for each client address was reached {seconds(first_ns)} into the run"
        f"{f' ({steady})' if steady is not None else ''}; a higher one, or more source addresses, would lift it.",
        explained=explained,
        fixes=remedies(evidence, Cause.PER_ADDRESS_LIMIT, None),
        would_settle=("the rules of server and firewall for one address (nft list ruleset; max_per_ip and its kin)",),
    )


def _admitted_meanwhile(evidence: Evidence, refused: Mask) -> bool:
    """Tell whether others were let in while connects were refused, as a limit does and a server that restarts does not.

    A crowd that comes once may be let in first and refused from then on: then the number of those inside shows it.
    """
    begun = evidence.failures.data["start_ns"][refused]
    between = greeted_between(evidence, int(begun.min()), int(begun.max()))
    return bool(between) or _open_by_source(evidence, refused) is not None


def _told(evidence: Evidence) -> Mask:
    """Return which refusals name the client's address."""
    texts = np.array([any(words in text.lower() for words in ONE_ADDRESS) for text in evidence.failures.texts], bool)
    busy = failed_as(evidence, F.BUSY_AT_GREETING, F.BUSY_AT_LOGIN)
    named: Mask = texts[evidence.failures.data["text"]]
    return busy & named


def _open_by_source(evidence: Evidence, explained: Mask) -> str | None:
    """Say how many connections each address had open when it was refused, where that may be the limit."""
    inside = let_in(evidence, explained)
    rows = evidence.failures.data[explained]
    at_refusal, at_entry = [], []
    sources = np.unique(rows["source"])
    for source in sources:
        own = inside[inside["source"] == source]
        open_then = aggregate.in_flight(own["connected_ns"], own["end_ns"])
        at_refusal.append(aggregate.at(open_then, rows["t_ns"][rows["source"] == source]))
        at_entry.append(aggregate.at(open_then, own["connected_ns"] - 1))
    limit = capped_at(np.concatenate(at_refusal), np.concatenate(at_entry))
    if limit is None:
        return None
    whose = "of the address" if len(sources) == 1 else f"of each of the {len(sources)} addresses"
    return f"each time about {limit} connections {whose} were open"
