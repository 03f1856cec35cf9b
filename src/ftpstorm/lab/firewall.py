"""The router's rules: NAT and filter as one nftables ruleset, a pure function of the scenario's `lab` section.

Loading it and routing are left to `ftpstorm.lab.topology`, conntrack's settings to `ftpstorm.lab.sysctls`.
"""

from __future__ import annotations

from typing import Final

from ftpstorm.lab.addresses import clients_network, server_network
from ftpstorm.scenario.lab import Firewall, Lab, Nat, whole_rate
from ftpstorm.units import Rate

REFUSE: Final = {
    "drop": "counter drop",
    "reject": "meta l4proto tcp counter reject with tcp reset",
    "admin-prohibited": "counter reject with icmpx type admin-prohibited",
}
"""What becomes of a packet that is not allowed, by `lab.firewall.refuse`."""
RATE_BURST: Final = 5
"""New connections that pass at once before `rate_limit` holds them: nftables' own default."""


def ruleset(lab: Lab, control_port: int) -> str:
    """Return the router's rules in nft(8)'s language, "" where it only routes.

    The filter lets through what belongs to a known connection or was announced by one (established, related), and new
    connections from clients to the allowed ports of the server. All else is refused, in both directions.
    """
    chains = []
    if lab.nat is not None:
        chains.append(_nat(lab, lab.nat))
    if lab.firewall is not None:
        chains.append(_filter(lab, lab.firewall, control_port))
    return f"table inet lab {{\n{''.join(chains)}}}\n" if chains else ""


def _nat(lab: Lab, nat: Nat) -> str:
    ports = f" to :{nat.ports}" if nat.ports is not None else ""
    return (
        "chain translate { type nat hook postrouting priority srcnat;\n"
        f"ip saddr {clients_network(lab)} ip daddr {server_network(lab)} meta l4proto tcp masquerade{ports}\n}}\n"
    )


def _filter(lab: Lab, firewall: Firewall, control_port: int) -> str:
    family, kind = ("ip6", "ipv6_addr") if lab.ipv6 else ("ip", "ipv4_addr")
    refuse = REFUSE[firewall.refuse]
    new = f"{family} saddr {clients_network(lab)} {family} daddr {server_network(lab)}"
    text = ""
    if firewall.helper:
        text += (
            'ct helper ftp-control { type "ftp" protocol tcp; }\n'
            "chain read-control { type filter hook prerouting priority filter;\n"
            f'{family} daddr {server_network(lab)} tcp dport {control_port} ct helper set "ftp-control"\n}}\n'
        )
    if firewall.connection_limit is not None:
        text += f"set control-connections {{ type {kind}; size 65535; flags dynamic; }}\n"
    text += "chain filter-forward { type filter hook forward priority filter; policy drop;\n"
    text += "ct state established,related counter accept\n"
    if firewall.connection_limit is not None:
        text += (
            f"{new} tcp dport {control_port} ct state new add @control-connections "
            f"{{ {family} saddr ct count over {firewall.connection_limit} }} counter reject with tcp reset\n"
        )
    if firewall.rate_limit is not None:
        text += f"ct state new limit rate over {_rate(firewall.rate_limit)} burst {RATE_BURST} packets {refuse}\n"
    ports = ", ".join(dict.fromkeys((str(control_port), *firewall.allow)))
    text += f"{new} tcp dport {{ {ports} }} ct state new counter accept\n"
    return text + f"{refuse}\n}}\n"


def _rate(rate: Rate) -> str:
    """Return a rate as nftables takes it: a whole number for a unit of time."""
    number, unit = whole_rate(rate)
    return f"{number}/{unit}"
