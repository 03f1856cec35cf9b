"""docs/reference/causes.md: what can run out, how to tell, and what lifts it in the words of each platform."""

from __future__ import annotations

from typing import Final

from ftpstorm.limits.fixes import FIXES
from ftpstorm.limits.platform import RUNS_ON
from ftpstorm.limits.tables import markdown
from ftpstorm.vocabulary import Cause
from pages.failures import MEANINGS

_HEAD: Final = """\
# Causes

The words of `expect.cause`, of `limits[].name` and of `diagnosis.cause` in summary.json. Each with what it means, the
[failure classes](../errors.md#the-classes) that point to it, and what lifts it. The last column says what a fix risks.
Where a platform has no row, those of the system below it hold: {lineage}.

A report names the binding cause first. It is never `certain` with the client's view alone: run
`ftpstorm sample` on the server's host.
"""

_SAID: Final = {
    Cause.NONE: "Nothing ran out.",
    Cause.CLIENT_EPHEMERAL_PORTS: "The client has no local port left towards this destination: its ephemeral range "
    "is in use or in "
    "TIME_WAIT. P ports and a TIME_WAIT of T seconds carry P / T connections a second where the client closes first.",
    Cause.SERVER_EPHEMERAL_PORTS: "The server's host has no local port left for connections that it opens itself, to "
    "a back end for "
    "instance. Clients' connections to its fixed ports never need one.",
    Cause.CLIENT_BIND_HABIT: "The client binds a port before it connects, so that every port counts once for all "
    "destinations instead of "
    "once for each.",
    Cause.CLIENT_FILES: "The client process may not open more files.",
    Cause.SERVER_PASSIVE_POOL: "The server has no passive port left. N ports carry N / C transfers a second where "
    "each is held for the C "
    "seconds of a transfer, and N / (T + C) where its TIME_WAIT keeps it.",
    Cause.SERVER_PASSIVE_POOL_ESCAPED: "The server's passive range is used up and it takes ports outside of it, "
    "where a firewall does not "
    "expect them.",
    Cause.DATA_CONNECTION_IN_USE: "The server holds a session's own data connection for still open: one session with "
    "many transfers fails, "
    "many sessions with the same total do not.",
    Cause.SERVER_CONNECTION_CAP: "The server admits no more sessions.",
    Cause.PER_ADDRESS_LIMIT: "The server or a firewall admits no more connections from this one address.",
    Cause.BACKLOG_GHOST: "The server accepts too slowly, its queue is full, and SYN cookies let clients believe that "
    "they are connected.",
    Cause.BACKLOG_SYN_REFUSED: "The queue is full and the SYN itself is refused (Windows) or dropped (Linux without "
    "SYN cookies).",
    Cause.RESET_AFTER_ACCEPT: "Connections are established and reset before the greeting.",
    Cause.SLOW_ACCEPT: "The server greets all, late: it accepts more slowly than clients arrive.",
    Cause.NAT_POOL: "The router between has no port, or no entry, left to translate to.",
    Cause.FIREWALL_NO_HELPER: "The firewall admits the control connection and not the data connections, since it "
    "does not follow FTP, or "
    "cannot because of TLS.",
    Cause.ACTIVE_PORT_REUSED: "Active mode: the pair of ports that the server would connect is still in TIME_WAIT.",
    Cause.CLOSE_WAIT_LEAK: "The server forgets to close sockets that its clients have closed: CLOSE_WAIT grows and "
    "does not end by itself.",
    Cause.LOGIN_REFUSED: "The server refuses the account.",
    Cause.SERVER_DOWN: "Nothing answers, or it stopped answering.",
    Cause.TRANSFER_STALL: "Transfers begin and do not go on.",
    Cause.GENERATOR: "The load generator itself was the bottleneck: the run says nothing about the server.",
    Cause.UNKNOWN: "Failures that no rule explains; the report says what would settle it.",
}


def causes_page() -> str:
    """Return docs/reference/causes.md. Raises KeyError for a cause that is not described."""
    lineage = ", ".join(f"{above.value} on {below.value}" for above, below in RUNS_ON.items())
    parts = [_HEAD.format(lineage=lineage)]
    for cause in Cause:
        parts.append(f"## {cause.value}\n\n{_SAID[cause]}\n")
        classes = [failure.word for failure, meaning in MEANINGS.items() if cause in meaning.suspects]
        if classes:
            parts.append("Shows as: " + ", ".join(f"[{word}](../errors.md#{word})" for word in classes) + ".\n")
        rows = [
            (
                platform.value,
                fix.host,
                f"`{fix.command}`" if "`" not in fix.command else fix.command,
                fix.takes_effect,
                fix.risk,
            )
            for platform, fixes in FIXES[cause].items()
            for fix in fixes
        ]
        if rows:
            cells = ([cell.replace("|", r"\|") for cell in row] for row in rows)
            parts.append(markdown(("platform", "host", "what lifts it", "takes effect", "risk"), cells))
    return "\n".join(parts)
