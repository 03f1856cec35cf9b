"""Rules for what runs out on the client: its ports, by connect or by bind, and its open files."""

from __future__ import annotations

from typing import Final

import numpy as np

from ftpstorm.report.evidence import Evidence
from ftpstorm.report.finding import Against, Finding, Mask, Sign
from ftpstorm.report.remedies import remedies
from ftpstorm.report.summary import Generator
from ftpstorm.report.testimony import failed_as, not_listening
from ftpstorm.report.wording import count_of, seconds
from ftpstorm.vocabulary import Cause, Metric, Side
from ftpstorm.vocabulary import FailureClass as F

FULL_SHARE: Final = 0.98
"""A range with so many of its ports taken is full: some are reserved, or others' own."""
SPARE: Final = 2
"""In a small range so many may be missing: those whose connection the other side closed."""
EADDRINUSE: Final = 98
WSAEADDRINUSE: Final = 10048


def _exhausted(evidence: Evidence, *, by_bind: bool) -> Mask:
    number = evidence.failures.data["errno"]
    bound = (number == EADDRINUSE) | (number == WSAEADDRINUSE)
    mine = failed_as(evidence, F.LOCAL_PORTS_EXHAUSTED) & ~not_listening(evidence)
    # a load that binds first has its port before connect is asked: what that says of 4-tuples is beside the point
    habit = evidence.plan.scenario.client.bind == "port" and bool(np.any(mine & bound))
    found: Mask = mine if habit else mine & bound
    return found if by_bind else mine & ~found


def client_ephemeral_ports(evidence: Evidence, generator: Generator) -> Finding | Against | None:
    """No local port left for connect: the load generator's own 4-tuples."""
    explained = _exhausted(evidence, by_bind=False)
    failed = int(np.count_nonzero(explained))
    peak, budget = evidence.client_ports
    if not failed:
        if peak is None or budget is None or evidence.count(F.LOCAL_PORTS_EXHAUSTED):
            return None
        return Against((f"at most {peak:,} of {budget:,} ephemeral ports of the client were in use",))
    first_ns = int(evidence.failures.data["t_ns"][explained][0])
    signs = [
        Sign("signature", f"connect failed {count_of(failed, 'time')}: no local port was left for that destination"),
        *_occupied(evidence),
    ]
    return Finding(
        signs=tuple(signs),
        sentence=f"The load generator's own ephemeral ports ran out {seconds(first_ns)} into the run"
        f"{f' ({budget:,} there are)' if budget is not None else ''}; "
        "more source addresses or a wider net.ipv4.ip_local_port_range would lift it.",
        explained=explained,
        fixes=remedies(evidence, Cause.CLIENT_EPHEMERAL_PORTS, Side.CLIENT),
        would_settle=() if signs[-1].kind == "witness" else ("sockets by local port on the client (sampling)",),
    )


def client_bind_habit(evidence: Evidence, generator: Generator) -> Finding | Against | None:
    """No port left for bind: drawn before connect, each is gone for all destinations."""
    explained = _exhausted(evidence, by_bind=True)
    failed = int(np.count_nonzero(explained))
    if not failed:
        if evidence.plan.scenario.client.bind == "port" and len(evidence.started):
            return Against(("bind found a free port each time",))
        if evidence.plan.scenario.client.driver == "storm" and len(evidence.started):
            return Against(("connect draws the local port here: nothing binds one first",))
        return None
    first_ns = int(evidence.failures.data["t_ns"][explained][0])
    budget = evidence.client_ports[1]
    signs = [
        Sign("signature", f"bind failed {count_of(failed, 'time')}: no port was free, whatever the destination"),
        *_occupied(evidence),
    ]
    targets = {int(row) for row in np.unique(evidence.passive_transfers["passive_port"])}
    if len(targets) > 1:
        signs.append(Sign("records", f"connect alone could have used each port towards {len(targets):,} passive ports"))
    return Finding(
        signs=tuple(signs),
        sentence=f"The load generator binds its port before it connects, and none was free {seconds(first_ns)} into "
        f"the run{f' ({budget:,} there are, for all destinations together)' if budget is not None else ''}; "
        "letting connect draw the port (`client.bind: no-port`) would lift it.",
        explained=explained,
        fixes=remedies(evidence, Cause.CLIENT_BIND_HABIT, Side.CLIENT),
        would_settle=() if any(sign.kind == "witness" for sign in signs) else ("sockets by local port on the client",),
    )


def _occupied(evidence: Evidence) -> list[Sign]:
    peak, budget = evidence.client_ports
    signs = []
    waiting = evidence.peak(Metric.TCP_STATE, host=Side.CLIENT, key="time-wait")
    if waiting and budget is not None and waiting >= 0.5 * budget:
        signs.append(Sign("records", f"{waiting:,} of the client's sockets were in TIME_WAIT"))
    if peak is not None and budget is not None and peak >= min(FULL_SHARE * budget, budget - SPARE):
        signs.append(Sign("witness", f"{peak:,} of the {budget:,} ephemeral ports were in use at one time"))
    return signs


def client_files(evidence: Evidence, generator: Generator) -> Finding | Against | None:
    """No file descriptor left: the load generator's own."""
    failed = evidence.count(F.LOCAL_FILES_EXHAUSTED)
    limit = evidence.plan.host.nofile_soft
    if not failed:
        found = evidence.run.samples.select(Metric.PROCESS_FILES)
        most = max((int(part.value.max()) for key, part in found.items() if key.key.startswith("worker")), default=None)
        if most is None or limit is None:
            return None
        return Against((f"a worker had at most {most:,} files open, of {limit:,}",))
    first_ns = evidence.first_ns(F.LOCAL_FILES_EXHAUSTED) or 0
    return Finding(
        signs=(Sign("witness", f"the kernel refused {count_of(failed, 'socket')}: too many open files"),),
        sentence=f"The load generator ran out of file descriptors {seconds(first_ns)} into the run"
        f"{f' (limit {limit:,})' if limit is not None else ''}; `ulimit -n` or more workers would lift it.",
        explained=failed_as(evidence, F.LOCAL_FILES_EXHAUSTED),
        fixes=remedies(evidence, Cause.CLIENT_FILES, Side.CLIENT),
    )
