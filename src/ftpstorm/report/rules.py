"""What each cause looks like: one rule a cause, as data. A new cause is a new row of RULES.

A rule reads facts (`Evidence`) and returns signs; it never weighs itself against other rules.
"""

from __future__ import annotations

from typing import Final

from ftpstorm.report.evidence import Evidence
from ftpstorm.report.finding import Against, Finding, Rule, Sign
from ftpstorm.report.rules_ports import client_ephemeral_ports, client_files, server_passive_pool
from ftpstorm.report.rules_server import (
    backlog_ghost,
    login_refused,
    server_connection_cap,
    server_down,
    transfer_stall,
)
from ftpstorm.report.summary import Fix, Generator
from ftpstorm.report.wording import number
from ftpstorm.vocabulary import Cause


def _generator(evidence: Evidence, generator: Generator) -> Finding | Against | None:
    late = [reason for reason in generator.invalid if "late" in reason]
    if not late:
        p99 = generator.lateness_ms.p99
        if p99 is None:
            return None
        return Against((f"99 % of the sessions started at most {number(p99)} ms late",))
    return Finding(
        signs=tuple(Sign("witness", reason) for reason in late),
        explains=0,
        first_ns=None,
        sentence=f"The load generator could not keep its schedule: {late[0]}; nothing can be said of the server. "
        "Fewer sessions a second, more --workers or a quieter machine would lift it.",
        fixes=(Fix(host="client", command="ftpstorm run ... --workers N", takes_effect="next run", risk="none"),),
        overrides=True,
    )


RULES: Final = (
    Rule(Cause.GENERATOR, _generator),
    Rule(Cause.SERVER_PASSIVE_POOL, server_passive_pool),
    Rule(Cause.CLIENT_EPHEMERAL_PORTS, client_ephemeral_ports),
    Rule(Cause.CLIENT_FILES, client_files),
    Rule(Cause.SERVER_CONNECTION_CAP, server_connection_cap),
    Rule(Cause.LOGIN_REFUSED, login_refused),
    Rule(Cause.SERVER_DOWN, server_down),
    Rule(Cause.BACKLOG_GHOST, backlog_ghost),
    Rule(Cause.TRANSFER_STALL, transfer_stall),
)
"""Every cause that this version can tell. `none` and `unknown` are what is left when no rule speaks."""
