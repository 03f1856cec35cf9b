"""What goes wrong inside the emulator, behind its ports: a back end that it asks, sockets that it forgets to close."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from ftpstorm.scenario.types import NOT_BOOL, DurationNs, Frozen, PositiveCount


def _address(value: str) -> str:
    ipaddress.ip_address(value)
    return value


class Backend(Frozen):
    """A back end that the emulator asks before each transfer, over TCP and from its own host, as a front end asks a
    database or a file store. The front end closes first, so each connection leaves a TIME_WAIT on one of its host's
    ephemeral ports. On 127.0.0.1 the kernel's tcp_tw_reuse hides that; a lab, or `address`, shows it."""

    per: Literal["request", "pool"] = "request"
    """`request`: a new connection for each transfer; `pool`: connections that are kept and shared."""
    size: Annotated[int, Field(ge=1, le=1000), NOT_BOOL] = 8
    """Connections of the pool; a request that finds none idle waits for one."""
    address: Annotated[str, AfterValidator(_address)] | None = None
    """Address of this host that the back end listens on; null: where the emulator listens."""
    no_port: Literal["refuse", "wait"] = "refuse"
    """When the kernel has no local port for a new connection: `refuse` answers 451 at once; `wait` tries again until it
    has one, so that clients see a server that hangs."""
    takes: DurationNs = "0s"  # type: ignore[assignment]  # validated from text
    """How long the back end takes to answer."""


class Leak(Frozen):
    """An application that forgets to close: the client has closed its data connection, the server's socket stays in
    CLOSE_WAIT, and its passive port stays taken. No kernel setting ends that state."""

    what: Literal["close-wait"] = "close-wait"
    every: PositiveCount = 1
    """Each so-manieth transfer that the client closed first (uploads) is leaked."""

    @model_validator(mode="before")
    @classmethod
    def _from_word(cls, value: Any) -> Any:
        return {"what": value} if isinstance(value, str) else value
