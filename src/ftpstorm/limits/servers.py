"""Habits of FTP servers as data: how each chooses passive ports, what it answers when they run out, how many it admits.

What these habits bound is worked out in `ftpstorm.limits.passive` and `ftpstorm.limits.backlog`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from ftpstorm.limits.passive import PassiveHabit
from ftpstorm.vocabulary import FailureClass


class Choice(StrEnum):
    """How a passive port is picked."""

    RANDOM = "random"
    LOWEST = "lowest-free"
    KERNEL = "kernel"
    """bind() to port 0: the kernel draws from the ephemeral range."""


class AtFull(StrEnum):
    """What a server does when no port of its range is free."""

    REFUSES = "refuses"
    ESCAPES = "escapes"
    """It takes a port outside its range and says nothing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server says, or does in place of saying it, and what a client makes of it."""

    code: int | None
    """Reply code; None where it closes without a word."""
    text: str
    """What the reply says after its code, without what differs from case to case."""
    failure: FailureClass
    control_survives: bool


@dataclass(frozen=True, slots=True)
class ServerHabits:
    """One server, as its release was measured or is documented."""

    name: str
    release: str
    choice: Choice
    reuseaddr: bool
    """Whether its passive listeners have SO_REUSEADDR: then a TIME_WAIT does not keep a port from the next one."""
    per_session: bool
    """One passive port for the life of a control connection, instead of one for each data connection."""
    tries: int | None
    """Ports that it tries before it gives up; None: all of them."""
    at_full: AtFull
    full: Answer | None
    """Its answer to PASV and EPSV when it gives up; None where it escapes."""
    cap: Answer | None
    """Its answer beyond its maximum of users; None where it has no such setting."""
    instances: Answer | None
    """Its answer beyond a second maximum, of processes (proftpd's MaxInstances)."""
    backlog: int
    """What it gives to listen(2), or for pure-ftpd the constant part of it (see `listen_backlog`)."""
    users_share_of_range: float | None
    """Most users as a part of the passive range, where it lowers its maximum to that."""
    source: str

    @property
    def habit(self) -> PassiveHabit:
        """The habit as the equations of `ftpstorm.limits.passive` know it."""
        if self.per_session:
            return PassiveHabit.SESSION
        if self.choice is Choice.KERNEL:
            return PassiveHabit.KERNEL
        return PassiveHabit.REUSEADDR_RANGE if self.reuseaddr else PassiveHabit.RANGE

    def users_max(self, wanted: int | None, passive_ports: int | None) -> int | None:
        """Return how many users it admits when `wanted` are set and its range has so many ports; None for no bound.

        Worked number: pure-ftpd, 50 wanted, 20 ports: 10.
        """
        if self.cap is None:
            return None
        if self.users_share_of_range is None or passive_ports is None:
            return wanted
        most = max(1, int(passive_ports * self.users_share_of_range))
        return most if wanted is None else min(wanted, most)

    def listen_backlog(self, somaxconn: int | None = None, users: int | None = None) -> int:
        """Return the backlog that holds: what the server asks for, cut to `somaxconn` (None: not known, not cut).

        `users` is its effective maximum (`users_max`; pure-ftpd's default is 50). Worked numbers: vsftpd 32; with
        somaxconn 16: 16; pure-ftpd with 10 users: 3 + 10/8 = 4.
        """
        asked = self.backlog
        if self.users_share_of_range is not None:
            asked += (50 if users is None else users) // 8
        return asked if somaxconn is None else min(asked, somaxconn)


_MEASURED: Final = "measured with passive ranges of 20 on Linux 6.18"

_ALL: Final = (
    ServerHabits(
        name="vsftpd",
        release="3.0.3",
        choice=Choice.RANDOM,
        reuseaddr=True,
        per_session=False,
        tries=9,
        at_full=AtFull.REFUSES,
        full=Answer(500, "OOPS: vsf_sysutil_bind", FailureClass.PASSIVE_EXHAUSTED, control_survives=False),
        cap=Answer(
            421,
            "There are too many connected users, please try later.",
            FailureClass.BUSY_AT_GREETING,
            control_survives=False,
        ),
        instances=None,
        backlog=32,
        users_share_of_range=None,
        source=f"vsftpd privops.c (vsf_privop_pasv_listen: ten counted down before each try); {_MEASURED}",
    ),
    ServerHabits(
        name="proftpd",
        release="1.3.8",
        choice=Choice.RANDOM,
        reuseaddr=True,
        per_session=False,
        tries=None,
        at_full=AtFull.ESCAPES,
        full=None,
        cap=Answer(
            530, "Sorry, the maximum number of allowed clients", FailureClass.BUSY_AT_LOGIN, control_survives=False
        ),
        instances=Answer(None, "", FailureClass.GREETING_EOF, control_survives=False),
        backlog=128,
        users_share_of_range=None,
        source=f"ProFTPD directives PassivePorts, MaxClients, MaxInstances, tcpBackLog; {_MEASURED}",
    ),
    ServerHabits(
        name="pure-ftpd",
        release="1.0.50",
        choice=Choice.RANDOM,
        reuseaddr=True,
        per_session=False,
        tries=None,
        at_full=AtFull.REFUSES,
        full=Answer(425, "All reserved TCP ports are busy", FailureClass.PASSIVE_EXHAUSTED, control_survives=True),
        cap=Answer(
            421,
            "users (the maximum) are already logged in, sorry",
            FailureClass.BUSY_AT_GREETING,
            control_survives=False,
        ),
        instances=None,
        backlog=3,
        users_share_of_range=0.5,
        source=f"pure-ftpd(8), options -p and -c; {_MEASURED}",
    ),
    ServerHabits(
        name="inetutils-ftpd",
        release="2.4",
        choice=Choice.KERNEL,
        reuseaddr=False,
        per_session=False,
        tries=None,
        at_full=AtFull.REFUSES,
        full=Answer(
            425,
            "Can't open passive connection: Address already in use.",
            FailureClass.PASSIVE_EXHAUSTED,
            control_survives=True,
        ),
        cap=None,
        instances=None,
        backlog=32,
        users_share_of_range=None,
        source=f"GNU Inetutils ftpd; {_MEASURED}",
    ),
    ServerHabits(
        name="pyftpdlib",
        release="2.2",
        choice=Choice.RANDOM,
        reuseaddr=True,
        per_session=False,
        tries=None,
        at_full=AtFull.ESCAPES,
        full=None,
        cap=Answer(
            421,
            "Too many connections. Service temporarily unavailable.",
            FailureClass.BUSY_AT_GREETING,
            control_survives=False,
        ),
        instances=None,
        backlog=100,
        users_share_of_range=None,
        source=f"pyftpdlib FTPHandler.passive_ports, FTPServer.max_cons; {_MEASURED}",
    ),
    ServerHabits(
        name="aioftp",
        release="0.28",
        choice=Choice.LOWEST,
        reuseaddr=True,
        per_session=True,
        tries=None,
        at_full=AtFull.REFUSES,
        full=Answer(421, "no free ports", FailureClass.PASSIVE_EXHAUSTED, control_survives=False),
        cap=Answer(421, "Too many connections", FailureClass.BUSY_AT_GREETING, control_survives=False),
        instances=None,
        backlog=100,
        users_share_of_range=None,
        source=f"aioftp Server(data_ports=, maximum_connections=); {_MEASURED}",
    ),
)

SERVERS: Final = MappingProxyType({habits.name: habits for habits in _ALL})
"""Habits by the name that `target.server.name` has."""


def habits_of(name: str) -> ServerHabits:
    """Return the habits of the server `name`. Raises ValueError that lists the known ones for any other."""
    try:
        return SERVERS[name]
    except KeyError:
        raise ValueError(f"{name!r} is no server whose habits are known: {', '.join(SERVERS)}") from None
