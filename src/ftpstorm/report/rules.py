"""What each cause looks like: one rule a cause, as data. A new cause is a new row of RULES.

A rule reads facts (`Evidence`) and returns signs; it never weighs itself against other rules.
"""

from __future__ import annotations

from typing import Final

from ftpstorm.report.evidence import Evidence
from ftpstorm.report.finding import Against, Finding, Rule, Sign
from ftpstorm.report.generator import RAN_OUT
from ftpstorm.report.remedies import remedies
from ftpstorm.report.rules_active import active_port_reused, data_connection_in_use
from ftpstorm.report.rules_backlog import backlog_ghost, backlog_syn_refused, reset_after_accept, slow_accept
from ftpstorm.report.rules_outbound import server_ephemeral_ports
from ftpstorm.report.rules_path import firewall_no_helper, nat_pool, per_address_limit
from ftpstorm.report.rules_pool import server_passive_pool, server_passive_pool_escaped
from ftpstorm.report.rules_ports import client_bind_habit, client_ephemeral_ports, client_files
from ftpstorm.report.rules_server import (
    close_wait_leak,
    login_refused,
    server_connection_cap,
    server_down,
    transfer_stall,
)
from ftpstorm.report.summary import Generator
from ftpstorm.report.wording import number
from ftpstorm.vocabulary import GENERATOR_CLASSES, Cause, Side


def _generator(evidence: Evidence, generator: Generator) -> Finding | Against | None:
    late = [reason for reason in generator.invalid if not reason.endswith(RAN_OUT)]
    if not late:
        p99 = generator.lateness_ms.p99
        if p99 is None:
            return None
        return Against((f"99 % of the sessions started at most {number(p99)} ms late",))
    # connect is slow where no port is left, so a client that ran out of something is late for that reason
    ran_out = evidence.count(*GENERATOR_CLASSES) >= max(1, len(evidence.failures) / 2)
    return Finding(
        signs=tuple(Sign("witness", reason) for reason in late),
        sentence=f"The load generator could not keep its schedule: {late[0]}; nothing can be said of the server. "
        "Fewer sessions a second, more --workers or a quieter machine would lift it.",
        fixes=remedies(evidence, Cause.GENERATOR, Side.CLIENT),
        overrides=not ran_out,
    )


RULES: Final = (
    Rule(Cause.GENERATOR, _generator),
    Rule(Cause.CLIENT_EPHEMERAL_PORTS, client_ephemeral_ports),
    Rule(Cause.CLIENT_BIND_HABIT, client_bind_habit),
    Rule(Cause.CLIENT_FILES, client_files),
    Rule(Cause.NAT_POOL, nat_pool),
    Rule(Cause.PER_ADDRESS_LIMIT, per_address_limit),
    Rule(Cause.BACKLOG_SYN_REFUSED, backlog_syn_refused),
    Rule(Cause.BACKLOG_GHOST, backlog_ghost),
    Rule(Cause.RESET_AFTER_ACCEPT, reset_after_accept),
    Rule(Cause.SLOW_ACCEPT, slow_accept),
    Rule(Cause.CLOSE_WAIT_LEAK, close_wait_leak),
    Rule(Cause.SERVER_DOWN, server_down),
    Rule(Cause.SERVER_CONNECTION_CAP, server_connection_cap),
    Rule(Cause.LOGIN_REFUSED, login_refused),
    Rule(Cause.SERVER_PASSIVE_POOL, server_passive_pool),
    Rule(Cause.SERVER_PASSIVE_POOL_ESCAPED, server_passive_pool_escaped),
    Rule(Cause.FIREWALL_NO_HELPER, firewall_no_helper),
    Rule(Cause.SERVER_EPHEMERAL_PORTS, server_ephemeral_ports),
    Rule(Cause.ACTIVE_PORT_REUSED, active_port_reused),
    Rule(Cause.DATA_CONNECTION_IN_USE, data_connection_in_use),
    Rule(Cause.TRANSFER_STALL, transfer_stall),
)
"""Every cause, in the order in which a session meets them; `none` and `unknown` are left when no rule speaks."""
