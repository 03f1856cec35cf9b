"""Rules for the server itself: whom it admits, whether it lives, what it forgets to close, where transfers stall."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from ftpstorm.limits.servers import SERVERS
from ftpstorm.records import aggregate
from ftpstorm.records.reader import Readings
from ftpstorm.records.schema import ABSENT
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.finding import Against, Finding, Mask, Sign
from ftpstorm.report.remedies import remedies
from ftpstorm.report.rules_path import ONE_ADDRESS
from ftpstorm.report.summary import Generator
from ftpstorm.report.testimony import (
    OVERFLOWS,
    capped_at,
    failed_as,
    greeted_after,
    greeted_between,
    let_in,
    listener_stood,
    moved,
)
from ftpstorm.report.wording import count_of, seconds
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import Cause, Metric, Phase, Side
from ftpstorm.vocabulary import FailureClass as F


def server_connection_cap(evidence: Evidence, generator: Generator) -> Finding | Against | None:
    """Sessions turned away at the door: the server admits only so many."""
    emulator = evidence.process("emulator")
    refused = int(((emulator.counts or {}) if emulator is not None else {}).get("refused_connections") or 0)
    explained = failed_as(evidence, F.BUSY_AT_GREETING, F.BUSY_AT_LOGIN)
    own = [any(words in text.lower() for words in ONE_ADDRESS) for text in evidence.failures.texts]
    explained = explained & ~np.array(own, bool)[evidence.failures.data["text"]]
    ends = failed_as(evidence, F.GREETING_EOF)
    if refused:
        ends = failed_as(evidence, F.GREETING_EOF, F.GREETING_RESET, F.CONTROL_CONNECT_RESET)
    elif ends.any() and not greeted_after(evidence, int(evidence.failures.data["t_ns"][ends][0])):
        ends = ends & False
    explained = explained | ends
    if not explained.any():
        return Against(("no session was turned away at the door",)) if len(evidence.started) else None
    rows = evidence.failures.data[explained]
    first_ns = int(rows["t_ns"][0])
    reply = evidence.quoted_reply(F.BUSY_AT_GREETING, F.BUSY_AT_LOGIN)
    silent = int(np.count_nonzero(ends))
    how = reply if silent < len(rows) else "the connection was closed without a word"
    signs = [
        Sign("signature", f"{count_of(len(rows), 'session')} were turned away at the door{f': {how}' if how else ''}")
    ]
    inside = let_in(evidence, explained)
    open_then = aggregate.in_flight(inside["greeting_ns"], inside["end_ns"])
    cap = capped_at(aggregate.at(open_then, rows["t_ns"]), aggregate.at(open_then, inside["greeting_ns"] - 1))
    if cap is not None:
        signs.append(Sign("records", f"each time about {cap} sessions were open"))
    server = evidence.plan.scenario.target.server
    habits = None if server is None or server.name is None else SERVERS[server.name]
    if habits is not None and habits.cap is not None and habits.cap.text in reply:
        signs.append(Sign("records", f"it is what {habits.name} says at its maximum of users"))
    if refused:
        signs.append(Sign("witness", f"the server counted {count_of(refused, 'refused connection')}"))
    how_many = f" at about {cap} sessions at one time" if cap is not None else ""
    return Finding(
        signs=tuple(signs),
        sentence=f"The server's cap on connections was reached {seconds(first_ns)} into the run{how_many}; "
        "a higher cap, or clients that hold their sessions for less time, would lift it.",
        explained=explained,
        fixes=remedies(evidence, Cause.SERVER_CONNECTION_CAP),
        would_settle=() if refused else ("the server's maximum of users or processes, and its log for that time",),
    )


def login_refused(evidence: Evidence, generator: Generator) -> Finding | Against | None:
    """The server answers, and refuses the account, or wants one first."""
    explained = failed_as(evidence, F.AUTH_FAILED) & ~evidence.consequences
    logged_in = int(np.count_nonzero(evidence.started["login_ns"] != ABSENT))
    if not explained.any():
        return Against((f"all {count_of(logged_in, 'login')} were accepted",)) if logged_in else None
    at_login = explained & (evidence.failures.data["phase"] == Phase.LOGIN)
    meant = at_login if at_login.any() else explained
    first_ns = int(evidence.failures.data["t_ns"][meant][0])
    reply = evidence.quoted_reply(of=meant) or "no text"
    if at_login.any():
        told = f"{count_of(_sessions_of(evidence, at_login), 'session')} were refused the login: {reply}"
    else:
        told = f"{count_of(int(np.count_nonzero(explained)), 'request')} were refused for want of a login: {reply}"
    signs = [Sign("signature", told)]
    signs.append(
        Sign("records", "not one session could log in")
        if not logged_in
        else Sign("signature", f"{count_of(logged_in, 'other session')} could log in")
    )
    followed = np.isin(_session_keys(evidence), _session_keys(evidence)[at_login]) & evidence.consequences
    if followed.any():
        count, said = int(np.count_nonzero(followed)), evidence.quoted_reply(of=followed)
        also = f", most of them with {said}" if said else ""
        signs.append(Sign("signature", f"{count_of(count, 'failure')} followed in their later steps{also}"))
    user = evidence.plan.scenario.target.user
    return Finding(
        signs=tuple(signs),
        sentence=f"The server refuses the login of user '{user}' from {seconds(first_ns)} on ({reply}); "
        + ("the right user and password" if not logged_in else "an account without that restriction")
        + " would lift it.",
        explained=explained,
        fixes=remedies(evidence, Cause.LOGIN_REFUSED, None),
        would_settle=("the server's log for these logins",),
    )


def _session_keys(evidence: Evidence) -> npt.NDArray[np.int64]:
    rows = evidence.failures.data
    keys: npt.NDArray[np.int64] = rows["load"].astype(np.int64) << 32 | rows["session"]
    return keys


def _sessions_of(evidence: Evidence, failures: Mask) -> int:
    """Return of how many sessions these failures are."""
    return len(np.unique(_session_keys(evidence)[failures]))


_NO_ANSWER: Final = (F.CONTROL_CONNECT_REFUSED, F.CONTROL_CONNECT_TIMEOUT, F.UNREACHABLE, F.CONTROL_CONNECT_RESET)
_TURNED_AWAY: Final = (F.BUSY_AT_GREETING, F.BUSY_AT_LOGIN, F.GREETING_SILENT, F.GREETING_EOF, F.GREETING_RESET)
_DEATH: Final = (F.CONTROL_LOST, F.TRANSFER_ABORTED, F.DATA_CONNECT_REFUSED, F.DATA_CONNECT_RESET, F.GREETING_EOF,
                 F.GREETING_RESET)  # fmt: skip


def server_down(evidence: Evidence, generator: Generator) -> Finding | Against | None:
    """No connection is answered, and none was after it."""
    classes = list(_NO_ANSWER)
    stamps = evidence.started["greeting_ns"]
    any_greeted = bool(np.any(stamps != ABSENT))
    if not any_greeted and not moved(evidence, Side.SERVER, *OVERFLOWS):
        classes.append(F.GREETING_SILENT)
    unanswered = failed_as(evidence, *classes)
    if not unanswered.any():
        last = stamps[stamps != ABSENT]
        return Against((f"sessions were greeted until {seconds(int(last.max()))}",)) if len(last) else None
    data = evidence.failures.data
    after = greeted_after(evidence, int(data["t_ns"][unanswered][0]))
    if after:
        return Against((f"{count_of(after, 'session')} were greeted after the first connection got no answer",))
    final = unanswered
    if any_greeted:  # what began before a session that was greeted is not of the silence at the end
        final = unanswered & (data["start_ns"] >= evidence.started["start_ns"][stamps != ABSENT].max())
    if 2 * np.count_nonzero(final) <= np.count_nonzero(unanswered):
        since = greeted_between(evidence, int(data["start_ns"][unanswered].min()), evidence.end_ns)
        text = "were greeted that started after the first connect without an answer"
        return Against((f"{count_of(since, 'session')} {text}",))
    rows = data[final]
    first_ns, begun_ns = int(rows["t_ns"][0]), int(rows["start_ns"].min())
    if listener_stood(evidence) and F.GREETING_SILENT not in classes:
        return Against(("the server's port was listening to the end",))
    explained = final | (failed_as(evidence, *_DEATH) & (data["t_ns"] >= begun_ns - 5 * NS_PER_S))
    counts = {failure: int(np.count_nonzero(rows["class"] == failure)) for failure in classes}
    kinds = ", ".join(f"{count:,} x {failure.word}" for failure, count in counts.items() if count)
    signs = [Sign("signature", kinds), Sign("records", f"no session was greeted after {seconds(first_ns)}")]
    process = evidence.process("emulator")
    if process is not None and (process.error or process.exit_code not in (None, 0)):
        signs.append(Sign("witness", f"the emulator ended: {process.error or f'exit code {process.exit_code}'}"))
    elif evidence.plan.scenario.lab is not None and listener_stood(evidence) is False:
        signs.append(Sign("witness", "nothing listened on the server's port at the end"))
    if not any_greeted:
        what = "No server answered: not one session was greeted"
    else:
        what = f"The server stopped answering {seconds(min(first_ns, begun_ns))} into the run"
    return Finding(
        signs=tuple(signs),
        sentence=f"{what} ({kinds}); start the server, or correct `target`, to lift it.",
        explained=explained,
        fixes=remedies(evidence, Cause.SERVER_DOWN),
        would_settle=()
        if signs[-1].kind == "witness"
        else ("whether the server's process lived and listened (its own log; ss -ltn there)",),
    )


LEAKED: Final = 5
"""Sockets in CLOSE_WAIT when the load is over: fewer are sessions that just end."""
KEPT_SHARE: Final = 0.8
"""So much of the peak must be left at the end: CLOSE_WAIT that passes is no leak."""


def close_wait_leak(evidence: Evidence, generator: Generator) -> Finding | Against | None:
    """The server does not close what its clients have closed, and what it may have open runs out."""
    found = evidence.run.samples.select(Metric.TCP_STATE, host=Side.SERVER, key="close-wait")
    readings = next((part for part in found.values() if len(part)), None)
    if readings is None or not evidence.sees_server:
        return None
    queues = evidence.run.samples.select(Metric.LISTEN_QUEUE, host=Side.SERVER)
    unaccepted = sum(int(part.value[-1]) for part in queues.values() if len(part))  # the program never saw these
    most, left = int(readings.value.max()), int(readings.value[-1]) - unaccepted
    if most < LEAKED or left < KEPT_SHARE * most:
        return Against((f"at most {most:,} sockets were in CLOSE_WAIT on the server, and {left:,} at the end",))
    classes = [*_NO_ANSWER, *_TURNED_AWAY]
    size = evidence.pool_size
    keeps_ports = size is not None and left >= KEPT_SHARE * size
    if keeps_ports:
        classes.append(F.PASSIVE_EXHAUSTED)
    explained = failed_as(evidence, *classes) & (evidence.failures.data["start_ns"] >= _leaking_from(readings))
    count = int(np.count_nonzero(explained))
    if not count and len(evidence.failures):
        return None  # a server that hangs leaves CLOSE_WAIT too
    signs = [
        Sign("signature", f"{count_of(count, 'request' if keeps_ports else 'session')} found no place at the server"),
        Sign("witness", f"the server's kernel held {left:,} sockets in CLOSE_WAIT at the end of {most:,} at most: "
             "their clients had closed, the server's program had not"),
    ]  # fmt: skip
    return Finding(
        signs=tuple(signs),
        sentence=f"The server leaks sockets: {left:,} connections that their clients closed are still open there "
        "(CLOSE_WAIT), and nothing but its own close ends them; a mended server program, or a restart, would lift it.",
        explained=explained,
        fixes=remedies(evidence, Cause.CLOSE_WAIT_LEAK),
    )


CLOSE_AFTER_NS: Final = 2 * NS_PER_S
"""A client gives the server a second to close first; only then does CLOSE_WAIT show what was open all along."""


def _leaking_from(readings: Readings) -> int:
    """Return from when on what is in CLOSE_WAIT later may have been in the way."""
    index = int(np.flatnonzero(readings.value >= 1)[0])
    return int(readings.t_ns[max(index - 1, 0)]) - CLOSE_AFTER_NS


def transfer_stall(evidence: Evidence, generator: Generator) -> Finding | Against | None:
    """The data connection stands, and nothing moves on it."""
    stalled, unconfirmed = evidence.count(F.TRANSFER_STALLED), evidence.count(F.FINAL_REPLY_TIMEOUT)
    if not stalled + unconfirmed:
        moved_all = len(evidence.success_ns)
        return Against((f"no transfer fell silent; {moved_all:,} succeeded",)) if len(evidence.transfers) else None
    classes = (F.TRANSFER_STALLED, F.FINAL_REPLY_TIMEOUT)
    first_ns = evidence.first_ns(*classes) or 0
    rows = evidence.transfers[np.isin(evidence.transfers["class"], classes)]
    signs = [Sign("signature", f"{stalled:,} transfers fell silent, {unconfirmed:,} were not confirmed in time")]
    if len(rows) and (rows["data_connected_ns"] != ABSENT).all():
        signs.append(Sign("records", "each had its data connection: the silence came after the handshake"))
    patience = evidence.plan.scenario.client.timeouts.data
    return Finding(
        signs=tuple(signs),
        sentence=f"{count_of(stalled + unconfirmed, 'transfer')} stalled, the first given up {seconds(first_ns)} "
        f"into the run after {seconds(patience)} of silence; what holds the server up (disk, CPU, a firewall that "
        "drops idle connections) must be found there.",
        explained=failed_as(evidence, *classes),
        fixes=remedies(evidence, Cause.TRANSFER_STALL, None),
        would_settle=("the server's CPU and disk during the run", "a packet capture of one stalled data connection"),
    )
