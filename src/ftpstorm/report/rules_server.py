"""Rules for causes that lie in the server's accepting, admitting and serving."""

from __future__ import annotations

from typing import Final

import numpy as np

from ftpstorm.records import aggregate
from ftpstorm.records.reader import Readings
from ftpstorm.records.schema import ABSENT
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.finding import Against, Finding, Sign
from ftpstorm.report.summary import Fix, Generator
from ftpstorm.report.wording import count_of, seconds
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import FailureClass as F


def server_connection_cap(evidence: Evidence, generator: Generator) -> Finding | Against | None:
    """Sessions turned away at the door: the server admits only so many."""
    busy = evidence.count(F.BUSY_AT_GREETING, F.BUSY_AT_LOGIN)
    emulator = evidence.process("emulator")
    refused = int(((emulator.counts or {}) if emulator is not None else {}).get("refused_connections") or 0)
    silent = evidence.count(F.GREETING_EOF, F.GREETING_RESET, F.CONTROL_CONNECT_RESET) if refused else 0
    if not busy and not silent:
        return None
    classes = [F.BUSY_AT_GREETING, F.BUSY_AT_LOGIN]
    if silent:
        classes += [F.GREETING_EOF, F.GREETING_RESET, F.CONTROL_CONNECT_RESET]
    rows = evidence.failures.of(*classes)
    first_ns = int(rows["t_ns"][0])
    reply = evidence.quoted_reply(*classes)
    signs = [
        Sign(
            "signature", f"{count_of(len(rows), 'session')} were turned away at the door{f': {reply}' if reply else ''}"
        )
    ]
    open_at = aggregate.at(_greeted(evidence), rows["t_ns"])
    low, high = (float(value) for value in np.percentile(open_at, (10, 90)))
    cap = round(float(np.median(open_at)))
    steady = high > 0 and high - low <= max(2.0, 0.1 * high)
    if steady:
        signs.append(Sign("records", f"each time about {cap} sessions were open"))
    if refused:
        signs.append(Sign("witness", f"the server counted {count_of(refused, 'refused connection')}"))
    how_many = f" at about {cap} sessions at one time" if steady else ""
    return Finding(
        signs=tuple(signs),
        explains=len(rows),
        first_ns=first_ns,
        sentence=f"The server's cap on connections was reached {seconds(first_ns)} into the run{how_many}; "
        "a higher cap, or clients that hold their sessions for less time, would lift it.",
        fixes=(
            Fix(
                host="server",
                command="ftpstorm run ... --set target.emulator.max_connections.count=N"
                if evidence.emulator is not None
                else "vsftpd max_clients, max_per_ip; ProFTPD MaxClients, MaxInstances; Pure-FTPd -c, -C; "
                "IIS maxConnections",
                takes_effect="next run" if evidence.emulator is not None else "after a restart of the FTP server",
                risk="each session costs the server memory and, on many servers, a process",
            ),
        ),
    )


def _greeted(evidence: Evidence) -> Readings:
    """Sessions that the server had greeted and not yet let go, over time."""
    rows = evidence.started[evidence.started["greeting_ns"] != ABSENT]
    return aggregate.in_flight(rows["greeting_ns"], rows["end_ns"])


def login_refused(evidence: Evidence, generator: Generator) -> Finding | Against | None:
    """The server answers, and refuses the account."""
    failed = evidence.count(F.AUTH_FAILED)
    if not failed:
        return None
    first_ns = evidence.first_ns(F.AUTH_FAILED)
    reply = evidence.quoted_reply(F.AUTH_FAILED)
    signs = [Sign("signature", f"{count_of(failed, 'login')} were refused: {reply or 'no text'}")]
    logged_in = int(np.count_nonzero(evidence.started["login_ns"] != ABSENT))
    signs.append(
        Sign("records", "not one session could log in")
        if not logged_in
        else Sign("signature", f"{count_of(logged_in, 'other session')} could log in")
    )
    user = evidence.plan.scenario.target.user
    return Finding(
        signs=tuple(signs),
        explains=failed,
        first_ns=first_ns,
        sentence=f"The server refuses the login of user '{user}' from {seconds(first_ns or 0)} on ({reply}); "
        + ("the right user and password" if not logged_in else "an account without that restriction")
        + " would lift it.",
        fixes=(
            Fix(
                host="client",
                command="target.user and target.password_env or target.password_file in the scenario",
                takes_effect="next run",
                risk="none",
            ),
        ),
    )


_NO_ANSWER: Final = (F.CONTROL_CONNECT_REFUSED, F.CONTROL_CONNECT_TIMEOUT, F.UNREACHABLE, F.CONTROL_CONNECT_RESET)
_DEATH: Final = (F.CONTROL_LOST, F.TRANSFER_ABORTED, F.DATA_CONNECT_REFUSED, F.DATA_CONNECT_RESET, F.GREETING_EOF,
                 F.GREETING_RESET)  # fmt: skip


def server_down(evidence: Evidence, generator: Generator) -> Finding | Against | None:
    """No connection is answered, and none was after it."""
    classes = list(_NO_ANSWER)
    greeted = evidence.started["greeting_ns"]
    greeted = greeted[greeted != ABSENT]
    if not len(greeted) and not _overflows(evidence):
        classes.append(F.GREETING_SILENT)
    rows = evidence.failures.of(*classes)
    if not len(rows):
        return None
    first_ns = int(rows["t_ns"][0])
    begun_ns = int(rows["start_ns"].min())
    after = int(np.count_nonzero(greeted > first_ns))
    if after:
        return Against((f"{count_of(after, 'session')} were greeted after the first connection got no answer",))
    cut = evidence.failures.of(*_DEATH)
    cut = cut[cut["t_ns"] >= begun_ns - 5 * NS_PER_S]
    kinds = ", ".join(f"{evidence.count(failure):,} x {failure.word}" for failure in classes if evidence.count(failure))
    signs = [Sign("signature", kinds), Sign("records", f"no session was greeted after {seconds(first_ns)}")]
    process = evidence.process("emulator")
    if process is not None and (process.error or process.exit_code not in (None, 0)):
        signs.append(Sign("witness", f"the emulator ended: {process.error or f'exit code {process.exit_code}'}"))
    if not len(greeted):
        what = "No server answered: not one session was greeted"
    else:
        what = f"The server stopped answering {seconds(min(first_ns, begun_ns))} into the run"
    return Finding(
        signs=tuple(signs),
        explains=len(rows) + len(cut),
        first_ns=first_ns,
        sentence=f"{what} ({kinds}); start the server, or correct `target`, to lift it.",
        fixes=(
            Fix(
                host="server",
                command="check that the FTP server runs and listens there, and that no firewall stands between",
                takes_effect="at once",
                risk="none",
            ),
        ),
        would_settle=("whether the server's process lived, from its own log",),
    )


_OVERFLOWS: Final = (
    "TcpExt.ListenOverflows",
    "TcpExt.ListenDrops",
    "TcpExt.TCPReqQFullDoCookies",
    "TcpExt.SyncookiesSent",
)


def _overflows(evidence: Evidence) -> dict[str, int]:
    """Counters of a full accept queue that moved on the server's kernel; empty where that kernel was not sampled."""
    if not evidence.sees_server:
        return {}
    return {name: int(evidence.counters[name]) for name in _OVERFLOWS if evidence.counters.get(name, 0) > 0}


def backlog_ghost(evidence: Evidence, generator: Generator) -> Finding | Against | None:
    """Connected for the client, unknown to the server: its accept queue overflowed."""
    silent = evidence.count(F.GREETING_SILENT)
    moved = _overflows(evidence)
    if not silent:
        return None if moved or not evidence.sees_server else Against(("the accept queue never overflowed",))
    if not moved and (evidence.sees_server or not len(evidence.success_ns)):
        return Against(("no counter of a full accept queue moved",))
    first_ns = evidence.first_ns(F.GREETING_SILENT)
    signs = [Sign("signature", f"{count_of(silent, 'session')} were connected and never greeted")]
    if moved:
        counters = ", ".join(f"{name.removeprefix('TcpExt.')} +{count:,}" for name, count in moved.items())
        signs.append(Sign("witness", f"the server's kernel counted a full accept queue: {counters}"))
    backlog = f" of {evidence.emulator.backlog}" if evidence.emulator is not None else ""
    return Finding(
        signs=tuple(signs),
        explains=silent,
        first_ns=evidence.first_ns(F.GREETING_SILENT),
        sentence=f"The server's listen backlog{backlog} overflowed {seconds(first_ns or 0)} into the run: {silent:,} "
        "clients are connected to nobody; a longer backlog, or a server that accepts faster, would lift it.",
        fixes=(
            Fix(
                host="server",
                command="a longer listen(2) backlog in the server, and sysctl -w net.core.somaxconn=4096",
                takes_effect="after a restart of the FTP server",
                risk="none worth naming: a waiting connection costs the kernel a few hundred bytes",
            ),
        ),
        would_settle=() if moved else ("TcpExt.ListenOverflows and SyncookiesSent on the server's host",),
    )


def transfer_stall(evidence: Evidence, generator: Generator) -> Finding | Against | None:
    """The data connection stands, and nothing moves on it."""
    stalled, unconfirmed = evidence.count(F.TRANSFER_STALLED), evidence.count(F.FINAL_REPLY_TIMEOUT)
    if not stalled + unconfirmed:
        return None
    first_ns = evidence.first_ns(F.TRANSFER_STALLED, F.FINAL_REPLY_TIMEOUT)
    rows = evidence.transfers[np.isin(evidence.transfers["class"], (F.TRANSFER_STALLED, F.FINAL_REPLY_TIMEOUT))]
    signs = [Sign("signature", f"{stalled:,} transfers fell silent, {unconfirmed:,} were not confirmed in time")]
    if len(rows) and (rows["data_connected_ns"] != ABSENT).all():
        signs.append(Sign("records", "each had its data connection: the silence came after the handshake"))
    patience = evidence.plan.scenario.client.timeouts.data
    return Finding(
        signs=tuple(signs),
        explains=stalled + unconfirmed,
        first_ns=first_ns,
        sentence=f"{count_of(stalled + unconfirmed, 'transfer')} stalled, the first given up {seconds(first_ns or 0)} "
        f"into the run after {seconds(patience)} of silence; what holds the server up (disk, CPU, a firewall that "
        "drops idle connections) must be found there.",
        would_settle=("the server's CPU and disk during the run", "a packet capture of one stalled data connection"),
    )
