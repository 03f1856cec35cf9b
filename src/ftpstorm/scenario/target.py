"""The server under test: the embedded emulator with its faults, or a host."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from ftpstorm.scenario.behind import Backend, Leak
from ftpstorm.scenario.types import NOT_BOOL, DurationNs, Frozen, Port, PositiveCount, PositiveRate


class Hold(Frozen):
    """How long a passive port of the emulator stays taken after its data connection ended."""

    for_: DurationNs = Field(default="0s", alias="for")  # type: ignore[assignment]
    """Hold-down of a port; 0s frees it at once."""
    after: Literal["any-close", "server-close", "none"] = "any-close"
    """`server-close`: only when the server closed first, as TIME_WAIT works (RETR, LIST); `any-close`: STOR too."""


class ConnectionCap(Frozen):
    """What the emulator does with a control connection beyond its maximum."""

    count: PositiveCount
    """Control connections open at one time."""
    answer: Literal["421", "eof", "reset"] = "421"
    """`421` greets with that code and closes; `eof` closes without a word; `reset` sends RST."""
    text: str = "Too many connections"


class Emulator(Frozen):
    """The embedded FTP server and its faults."""

    address: Literal["127.0.0.1", "::1"] = "127.0.0.1"
    """Where it listens: over `::1` everything goes over IPv6, and PASV is refused."""
    passive_ports: PositiveCount | Annotated[str, Field(pattern=r"^\d+-\d+$")] = 1000
    """Size of the passive pool, or the ports themselves as `10000-10019`."""
    hold: Hold = Hold()
    reply: str = "425 Try later, data connection in use."
    """Whole reply line when no passive port is free: a code from 400 to 599, a space, the text."""
    session_hold: DurationNs = "0s"  # type: ignore[assignment]  # validated from text
    """For so long after a session's data connection ended it counts as still in use: the session's next transfer
    command is refused with `reply`. Other sessions, and the pool, know nothing of it."""
    max_connections: ConnectionCap | None = None
    backlog: Annotated[int, Field(ge=0, le=65_535), NOT_BOOL] = 4096
    """listen(2) backlog of the control port; the kernel holds one more and clamps to somaxconn."""
    accept_rate: PositiveRate | None = None
    """Accept at most so many control connections a second; null for no limit."""
    delay: DurationNs = "0s"  # type: ignore[assignment]
    """The greeting and the answer to each command come so much later, as from a server far off."""
    backend: Backend | None = None
    """A back end that is asked before each transfer; null: there is none."""
    leak: Leak | None = None
    """Data connections that are never closed; `close-wait` alone leaks all that the client closed first."""

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


IMPLICIT_PORT: Final = 990
"""ftps (IANA): the port where TLS begins before the greeting."""


class Tls(Frozen):
    """FTP over TLS (RFC 4217), and what of the server's certificate is checked."""

    mode: Literal["none", "explicit", "implicit"] = "none"
    """`explicit`: AUTH TLS after the greeting; `implicit`: TLS right after connect, port 990 unless `port` is given."""
    verify: bool = True
    """Check the server's certificate and its name, on control and data connections; false accepts any."""
    ca_file: str | None = None
    """PEM file of the authorities to trust, as seen from where ftpstorm starts; null: those of this system."""
    server_name: str | None = None
    """Name to ask for and to look for in the certificate; null: `host`."""
    session_reuse: bool = True
    """Resume the control connection's TLS session on data connections. Servers may refuse those that do not: that
    fails as `data-tls`."""
    prot: Literal["P", "C"] = "P"
    """PROT level: `P` protects data connections too, `C` leaves them in plain text."""
    min_version: Literal["1.2", "1.3"] | None = None
    """Lowest TLS version to agree on; null: what the TLS library allows."""
    max_version: Literal["1.2", "1.3"] | None = None
    """Highest TLS version to agree on; null: what the TLS library allows."""

    @model_validator(mode="after")
    def _versions_in_order(self) -> Tls:
        if self.min_version == "1.3" and self.max_version == "1.2":
            raise ValueError("`min_version` is above `max_version`")
        return self


SERVER_PASSIVE_FIRST: Final = 10_000
"""First port of a real server's passive range where the scenario gives a count only."""

ServerName = Literal["vsftpd", "proftpd", "pure-ftpd", "inetutils-ftpd", "pyftpdlib", "aioftp"]


_LACKING: Final[dict[str, dict[str, str]]] = {
    "vsftpd": {
        "max_instances": "is proftpd's; vsftpd has `max_clients`",
        "backlog": "is fixed at 32 in vsftpd; `somaxconn` in `lab.sysctls.server` can only lower it",
    },
    "proftpd": {},
    "pure-ftpd": {
        "max_instances": "is proftpd's; pure-ftpd has `max_clients`",
        "backlog": "is what pure-ftpd works out from `max_clients` and its passive range; `somaxconn` in "
        "`lab.sysctls.server` can only lower it",
    },
    "inetutils-ftpd": {
        "passive_ports": "is no setting of inetutils-ftpd: its passive ports are the kernel's ephemeral ones; give "
        "`ip_local_port_range` in `lab.sysctls.server`",
        "max_clients": "is no setting of inetutils-ftpd: it has no maximum",
        "max_instances": "is proftpd's; inetutils-ftpd has no maximum",
        "backlog": "is fixed at 32 in inetutils-ftpd; `somaxconn` in `lab.sysctls.server` can only lower it",
        "tls": "is not spoken by inetutils-ftpd",
    },
    "pyftpdlib": {"max_instances": "is proftpd's; pyftpdlib has `max_clients`"},
    "aioftp": {
        "max_instances": "is proftpd's; aioftp has `max_clients`",
        "tls": "explicit is not spoken by aioftp's server",
    },
}
"""What a server has no setting for, and what there is instead."""


class Server(Frozen):
    """A real FTP server that the run starts in its lab, and ends with it.

    It is taken from this system, or from where `scripts/fetch-servers` put it. Its anonymous user finds the scenario's
    `files` and may upload into the folder `upload` and into those of the `files`; all but vsftpd take uploads into
    their root too.
    """

    name: ServerName | None = None
    command: tuple[str, ...] = ()
    """A server of your own instead, run in the foreground: `{address}`, `{port}`, `{root}` (folder with the files),
    `{folder}` (empty, for its own), `{passive_first}` and `{passive_last}` are filled in."""
    port: Port = 21
    passive_ports: PositiveCount | Annotated[str, Field(pattern=r"^\d+-\d+$")] | None = None
    """Size of the passive range, or the range itself as `10000-10019`; null: the server's own habit."""
    max_clients: PositiveCount | None = None
    """Sessions at one time, by the server's own setting for that. pyftpdlib counts its listening socket and data
    connections too."""
    max_instances: PositiveCount | None = None
    """proftpd: processes at one time (MaxInstances)."""
    backlog: Annotated[int, Field(ge=1, le=65_535), NOT_BOOL] | None = None
    """listen(2) backlog where the server lets it be set; somaxconn (`lab.sysctls.server`) bounds every server's."""
    tls: Literal["none", "explicit"] = "none"
    """`explicit`: AUTH TLS, with a certificate made for the run; vsftpd and proftpd refuse data connections that do not
    resume control's TLS session."""
    settings: dict[str, str] = {}
    """Further settings of the server's own configuration, by its names."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Server:
        if (self.name is None) == (not self.command):
            raise ValueError("give exactly one of `name` and `command`")
        return self

    @field_validator("passive_ports")
    @classmethod
    def _ports_exist(cls, value: int | str | None) -> int | str | None:
        if isinstance(value, int) and SERVER_PASSIVE_FIRST + value - 1 > 65_535:
            raise ValueError(f"at most {65_536 - SERVER_PASSIVE_FIRST} ports: a count begins at {SERVER_PASSIVE_FIRST}")
        if isinstance(value, str):
            first, last = (int(part) for part in value.split("-"))
            if not 1024 <= first <= last <= 65_535:
                raise ValueError("must be first-last with 1024 <= first <= last <= 65535")
        return value

    @model_validator(mode="after")
    def _server_has_it(self) -> Server:
        for setting in ("passive_ports", "max_clients", "max_instances", "backlog", "tls"):
            if getattr(self, setting) in (None, "none"):
                continue
            if self.name is None and setting != "passive_ports":
                raise ValueError(
                    f"`{setting}` is for servers by `name`; with `command` it is the command's own business"
                )
            if self.name is not None and setting in _LACKING[self.name]:
                raise ValueError(f"`{setting}` {_LACKING[self.name][setting]}")
        if self.command:
            if self.settings:
                raise ValueError("`settings` are for servers by `name`; write them into `command`")
            asked = any("{passive_" in word for word in self.command)
            if asked and self.passive_ports is None:
                raise ValueError("`command` asks for the passive range; give `passive_ports`")
        for key, value in self.settings.items():
            if not key or any(char in "\r\n\0" for char in key + value):
                raise ValueError("each of `settings` must be one line")
        return self

    @property
    def passive_range(self) -> tuple[int, int] | None:
        """First and last passive port, None where the server chooses by its habit. A count begins at 10000."""
        if self.passive_ports is None:
            return None
        if isinstance(self.passive_ports, int):
            return SERVER_PASSIVE_FIRST, SERVER_PASSIVE_FIRST + self.passive_ports - 1
        first, last = self.passive_ports.split("-")
        return int(first), int(last)


class Target(Frozen):
    """The server under test: the embedded emulator, a real server in the lab, or a host."""

    emulator: Emulator | None = None
    server: Server | None = None
    host: str | None = None
    """Name or address. Anything but loopback needs --allow-target and a `guard`."""
    port: Port = 21
    """990 where `tls.mode` is `implicit`."""
    user: str = "anonymous"
    password_env: str | None = None
    """Environment variable that holds the password."""
    password_file: str | None = None
    """File whose first line is the password."""
    passive_ports: Annotated[str, Field(pattern=r"^\d+-\d+$")] | None = None
    """The server's declared passive range, such as `10000-10019`, where you know it: ports outside it are reported."""
    tls: Tls = Tls()

    @model_validator(mode="before")
    @classmethod
    def _port_of_implicit_tls(cls, value: Any) -> Any:
        if isinstance(value, dict) and "port" not in value:
            tls = value.get("tls")
            mode = tls.get("mode") if isinstance(tls, dict) else getattr(tls, "mode", None)
            if mode == "implicit":
                return {**value, "port": IMPLICIT_PORT}
        return value

    @model_validator(mode="after")
    def _exactly_one(self) -> Target:
        if sum(given is not None for given in (self.emulator, self.server, self.host)) != 1:
            raise ValueError("give exactly one of `emulator`, `server` and `host`")
        if self.emulator is not None and self.tls.mode != "none":
            raise ValueError("the emulator speaks no TLS; give a `host` that does")
        if self.password_env and self.password_file:
            raise ValueError("give at most one of `password_env` and `password_file`")
        return self
