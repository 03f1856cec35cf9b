"""The server under test: the embedded emulator with its faults, or a host."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from ftpstorm.scenario.types import NOT_BOOL, Documented, DurationNs, Port, PositiveCount, PositiveRate


class Hold(Documented):
    """How long a passive port of the emulator stays taken after its data connection ended."""

    for_: DurationNs = Field(default="0s", alias="for")  # type: ignore[assignment]
    """Hold-down of a port; 0s frees it at once."""
    after: Literal["any-close", "server-close", "none"] = "any-close"
    """`server-close`: only when the server closed first, as TIME_WAIT works (RETR, LIST); `any-close`: STOR too."""


class ConnectionCap(Documented):
    """What the emulator does with a control connection beyond its maximum."""

    count: PositiveCount
    """Control connections open at one time."""
    answer: Literal["421", "eof", "reset"] = "421"
    """`421` greets with that code and closes; `eof` closes without a word; `reset` sends RST."""
    text: str = "Too many connections"


class Emulator(Documented):
    """The embedded FTP server and its faults."""

    passive_ports: PositiveCount | Annotated[str, Field(pattern=r"^\d+-\d+$")] = 1000
    """Size of the passive pool, or the ports themselves as `10000-10019`."""
    hold: Hold = Hold()
    reply: str = "425 Try later, data connection in use."
    """Whole reply line when no passive port is free: a code from 400 to 599, a space, the text."""
    max_connections: ConnectionCap | None = None
    backlog: Annotated[int, Field(ge=0, le=65_535), NOT_BOOL] = 4096
    """listen(2) backlog of the control port; the kernel holds one more and clamps to somaxconn."""
    accept_rate: PositiveRate | None = None
    """Accept at most so many control connections a second; null for no limit."""

    @field_validator("reply")
    @classmethod
    def _reply_has_code(cls, value: str) -> str:
        code, space, text = value.partition(" ")
        if not (code.isdigit() and len(code) == 3 and 400 <= int(code) <= 599 and space and text) or "\n" in value:
            raise ValueError("must be one reply line: a code from 400 to 599, a space and a text")
        return value

    @field_validator("passive_ports")
    @classmethod
    def _range_in_order(cls, value: int | str) -> int | str:
        if isinstance(value, int):
            if value > 20_000:
                raise ValueError("at most 20000 ports")
            return value
        first, last = (int(part) for part in value.split("-"))
        if not 1024 <= first <= last <= 65_535:
            raise ValueError("must be first-last with 1024 <= first <= last <= 65535")
        return value

    @property
    def passive_count(self) -> int:
        """Ports in the passive pool."""
        if isinstance(self.passive_ports, int):
            return self.passive_ports
        first, last = (int(part) for part in self.passive_ports.split("-"))
        return last - first + 1


class Target(Documented):
    """The server under test: the embedded emulator, or a host."""

    emulator: Emulator | None = None
    host: str | None = None
    """Name or address. Anything but loopback needs --allow-target and a `guard`."""
    port: Port = 21
    user: str = "anonymous"
    password_env: str | None = None
    """Environment variable that holds the password."""
    password_file: str | None = None
    """File whose first line is the password."""
    passive_ports: Annotated[str, Field(pattern=r"^\d+-\d+$")] | None = None
    """The server's declared passive range, such as `10000-10019`, where you know it: ports outside it are reported."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Target:
        if (self.emulator is None) == (self.host is None):
            raise ValueError("give exactly one of `emulator` and `host`")
        if self.password_env and self.password_file:
            raise ValueError("give at most one of `password_env` and `password_file`")
        return self
