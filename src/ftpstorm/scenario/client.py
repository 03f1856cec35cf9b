"""How the load generator connects, and how long it waits."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from ftpstorm.scenario.types import Documented, DurationNs


class Timeouts(Documented):
    """Deadline of each phase."""

    connect: DurationNs = "5s"  # type: ignore[assignment]  # validated from text
    greeting: DurationNs = "5s"  # type: ignore[assignment]
    reply: DurationNs = "10s"  # type: ignore[assignment]
    data: DurationNs = "10s"  # type: ignore[assignment]
    """Longest silence on a data connection, and longest wait for the final reply after it."""


class Client(Documented):
    """How the load generator connects."""

    driver: Literal["storm"] = "storm"
    mode: Literal["epsv", "pasv", "auto"] = "auto"
    """How data connections are asked for; `auto` tries EPSV and falls back to PASV after 500, 502 or 522."""
    bind: Literal["kernel", "no-port", "port"] = "kernel"
    """`kernel`: the kernel draws the port at connect (4-tuple space); `no-port`: source address fixed, port drawn at
    connect; `port`: bind first (port space)."""
    source_addresses: tuple[str, ...] = ()
    """Local addresses, spread evenly over sessions; control and data of a session share one."""
    pasv_address: Literal["control-peer", "reply", "refuse"] = "control-peer"
    """When a PASV reply names another host: connect to the control peer, to that host, or fail with protocol-error."""
    timeouts: Timeouts = Timeouts()

    @model_validator(mode="after")
    def _bind_needs_address(self) -> Client:
        if self.bind != "kernel" and not self.source_addresses:
            raise ValueError(f"`bind: {self.bind}` needs `source_addresses`")
        return self
