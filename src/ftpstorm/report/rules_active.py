"""Rules for active mode: the client's ports come round too soon, or the server cannot open the connection at all."""

from __future__ import annotations

import numpy as np

from ftpstorm.records.schema import ABSENT
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.finding import Against, Finding, Sign
from ftpstorm.report.remedies import remedies
from ftpstorm.report.rules_outbound import server_ephemeral_ports
from ftpstorm.report.summary import Generator
from ftpstorm.report.testimony import active_transfers, failed_as, failures_of, not_listening
from ftpstorm.report.wording import count_of, seconds
from ftpstorm.vocabulary import Cause, Metric, Side
from ftpstorm.vocabulary import FailureClass as F


def active_port_reused(evidence: Evidence, generator: Generator) -> Finding | Against | None:
    """Active mode came round to ports that are still taken: at the client, or in TIME_WAIT at the server."""
    span = evidence.plan.scenario.client.active_ports
    rows = active_transfers(evidence)
    listening = not_listening(evidence)
    if not len(rows) and not listening.any():
        return None
    if span is None:
        return Against(("the kernel chose the client's ports of active mode, each free",))
    first, _, last = span.partition("-")
    size = int(last) - int(first) + 1
    refused = failed_as(evidence, F.DATA_NOT_ESTABLISHED) & failures_of(evidence, active_transfers(evidence))
    explained = listening | refused
    if not explained.any():
        return Against((f"none of {count_of(len(rows), 'transfer')} in active mode was refused",))
    first_ns = int(evidence.failures.data["t_ns"][explained][0])
    begun = np.sort(np.concatenate((rows["start_ns"], evidence.failures.data["start_ns"][listening])))
    before = int(np.searchsorted(begun, int(evidence.failures.data["start_ns"][explained].min())))
    if before < size and not listening.any():
        return Against((f"the first refusal came after {before:,} transfers, before the {size:,} ports came round",))
    held = int(np.count_nonzero(listening))
    reply = evidence.quoted_reply(F.DATA_NOT_ESTABLISHED)
    kinds = [f"{held:,} x the client could not listen on its next port"] if held else []
    kinds += [f"{int(np.count_nonzero(refused)):,} x the server could not connect: {reply}"] if refused.any() else []
    signs = [
        Sign("signature", "; ".join(kinds)),
        Sign(
            "records", f"the first of them came after {before:,} transfers, when the {size:,} ports {span} came round"
        ),
    ]
    waiting = evidence.peak(Metric.TCP_STATE, host=Side.SERVER, key="time-wait") if evidence.sees_server else None
    at_client = evidence.peak(Metric.TCP_STATE, host=Side.CLIENT, key="time-wait")
    if refused.any() and waiting and waiting >= size:
        signs.append(Sign("records", f"the server's kernel held {waiting:,} connections in TIME_WAIT"))
    if held and at_client and at_client >= 0.9 * size:
        signs.append(Sign("witness", f"the client's kernel held {at_client:,} connections in TIME_WAIT"))
    return Finding(
        signs=tuple(signs),
        sentence=f"The client's {size:,} ports for active mode came round {seconds(first_ns)} into the run while "
        "earlier connections on them were not over; more of them, or passive mode, would lift it.",
        explained=explained,
        fixes=remedies(evidence, Cause.ACTIVE_PORT_REUSED, None),
        would_settle=() if signs[-1].kind == "witness" else ("TIME_WAIT on the server's port 20 (`ftpstorm sample`)",),
    )


def data_connection_in_use(evidence: Evidence, generator: Generator) -> Finding | Against | None:
    """The server took the command and could not open the data connection, on ports that nobody used before."""
    active = active_transfers(evidence)
    mode, rows = ("active", active) if len(active) else ("passive", evidence.transfers)
    asked = int(np.count_nonzero(rows["passive_ns"] != ABSENT))
    made = int(np.count_nonzero(rows["data_connected_ns"] != ABSENT))
    explained = failed_as(evidence, F.DATA_NOT_ESTABLISHED) & failures_of(evidence, active)
    if any(isinstance(rule(evidence, generator), Finding) for rule in (active_port_reused, server_ephemeral_ports)):
        return None
    passive = failed_as(evidence, F.DATA_NOT_ESTABLISHED) & ~explained
    reply = evidence.quoted_reply(F.DATA_NOT_ESTABLISHED)
    if "in use" in reply.lower():
        explained = explained | passive
    if not explained.any():
        if not made or passive.any():
            return None
        if made == asked:
            return Against((f"all {count_of(made, 'data connection')} in {mode} mode were opened",))
        return Against(("no transfer command was answered that its data connection could not be opened",))
    failed = int(np.count_nonzero(explained))
    first_ns = int(evidence.failures.data["t_ns"][explained][0])
    signs = [Sign("signature", f"{count_of(failed, 'transfer command')} were answered {reply or 'with 425'}")]
    if made:
        signs.append(Sign("records", f"it could open {count_of(made, 'other data connection')}"))
    waiting = evidence.peak(Metric.TCP_STATE, host=Side.SERVER, key="time-wait") if evidence.sees_server else None
    if waiting:
        signs.append(Sign("records", f"the server's kernel held {waiting:,} connections in TIME_WAIT meanwhile"))
    if mode == "active":
        sentence = (
            f"The server could not open its data connection from {seconds(first_ns)} on: its own port for that "
            "was still in use; passive mode, or a server that binds port 20 with SO_REUSEADDR, would lift it."
        )
        settling = "sockets on the server's port 20, TIME_WAIT included (`ftpstorm sample` there)"
    else:
        sentence = (
            f"The server took data connections for still in use from {seconds(first_ns)} on, though it had given out "
            "passive ports for new ones; more time between the transfers of one session, or more sessions with fewer "
            "transfers each, would lift it."
        )
        settling = "the sockets of one session's data connections on the server (`ftpstorm sample` there)"
    return Finding(
        signs=tuple(signs),
        sentence=sentence,
        explained=explained,
        fixes=remedies(evidence, Cause.DATA_CONNECTION_IN_USE, None),
        would_settle=(settling,),
    )
