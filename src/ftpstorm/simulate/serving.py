"""How the plan's server behaves: how it finds a passive port, what it says when there is none, whom it turns away.

The emulator does what its section of the scenario says; of the servers that a lab can start, the habits are known; a
server somewhere else, or a command of one's own, is not known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from ftpstorm.limits.servers import Answer, ServerHabits, habits_of
from ftpstorm.plan.plan import Plan
from ftpstorm.scenario.target import Emulator, Server
from ftpstorm.simulate.kernels import Kernels
from ftpstorm.vocabulary import FailureClass, Phase

FIRST_EMULATOR_PORT: Final = 10_000
"""Where the emulator's pool begins when only its size is given."""

ECONNRESET: Final = 104

Failure = tuple[FailureClass, Phase, int, int, int, int]
"""Class, phase, control_survived, FTP code, errno, text id: a failure as the records hold it."""

Choice = Literal["oldest", "random", "tries", "kernel", "session"]
"""`oldest`: the port that has been free longest; `random`: any free one; `tries`: random ports, a few times; `kernel`:
bind() to port 0; `session`: the lowest free one, kept by its control connection."""

WIDE: Final = range(1024, 65_536)
"""Where a server draws ports itself that was given no range (vsftpd)."""
OWN_USERS: Final = {"pure-ftpd": 50, "pyftpdlib": 512}
"""Sessions that a server takes at one time where the scenario does not say (pure-ftpd -c, pyftpdlib max_cons)."""

_EXHAUSTED_CODES: Final = frozenset({400, 421, 425})
_FILE_CODES: Final = frozenset({450, 452, 532, 550, 551, 552, 553})
_UNSUPPORTED_CODES: Final = frozenset({500, 501, 502, 504, 522})

POOL_TEXT: Final = 1
CAP_TEXT: Final = 2


def refusal_class(reply: str) -> FailureClass:
    """Return the failure class of a refusal of PASV or EPSV, given the whole reply line."""
    code = int(reply[:3])
    if code in _EXHAUSTED_CODES or (code == 500 and "OOPS" in reply):
        return FailureClass.PASSIVE_EXHAUSTED
    if code in _FILE_CODES:
        return FailureClass.FILE_ERROR
    if code in _UNSUPPORTED_CODES:
        return FailureClass.UNSUPPORTED
    return FailureClass.AUTH_FAILED if code == 530 else FailureClass.PROTOCOL_ERROR


@dataclass(frozen=True, slots=True)
class Cap:
    """So many sessions at one time, and how one more is told."""

    count: int
    failure: Failure
    text: str = ""
    reset: bool = False
    """It is turned away with RST, which leaves no TIME_WAIT."""


@dataclass(frozen=True, slots=True)
class Serving:
    """One server's habits."""

    name: str
    ports: range | None
    """Ports that it opens for data connections; None where nobody knows."""
    choice: Choice = "oldest"
    tries: int = 0
    """Of `tries`: ports that it draws before it gives up."""
    held: bool = False
    """A port whose data connection the server closed first cannot be bound again while that is in TIME_WAIT."""
    refusal: Failure | None = None
    """What a client meets when none is free; None: the server opens one outside its range instead."""
    reply: str = ""
    """That refusal's reply line."""
    greeting_cap: Cap | None = None
    login_cap: Cap | None = None
    backlog: int | None = None
    """What it gives listen(2); None where nobody knows."""
    accept_interval_ns: int | None = None
    """It accepts a connection only so often; None: as fast as it can, which nobody knows beforehand."""

    @property
    def known(self) -> bool:
        """Whether its passive ports and their reuse are known."""
        return self.ports is not None

    @property
    def escapes(self) -> bool:
        """Whether it opens ports outside its range when that is used up."""
        return self.known and self.refusal is None

    @property
    def texts(self) -> dict[int, str]:
        """Its reply texts by id."""
        cap = self.login_cap or self.greeting_cap
        said = {CAP_TEXT: cap.text} if cap is not None and cap.failure[5] else {}
        return ({POOL_TEXT: self.reply} if self.reply else {}) | said


def serving_of(plan: Plan, kernels: Kernels) -> Serving:
    """Return the habits of the plan's server."""
    target = plan.scenario.target
    if target.emulator is not None:
        return _emulator(target.emulator)
    if target.server is not None:
        return _server(target.server, kernels)
    return Serving(name="server", ports=None)


def pool_ports(emulator: Emulator) -> range:
    """Return the ports of the emulator's passive pool, as far as the scenario tells them."""
    if isinstance(emulator.passive_ports, int):
        return range(FIRST_EMULATOR_PORT, FIRST_EMULATOR_PORT + emulator.passive_ports)
    first, last = emulator.passive_ports.split("-")
    return range(int(first), int(last) + 1)


def _emulator(emulator: Emulator) -> Serving:
    cap = None
    if emulator.max_connections is not None:
        most = emulator.max_connections
        answers: dict[str, Failure] = {
            "421": (FailureClass.BUSY_AT_GREETING, Phase.GREETING, 0, 421, 0, CAP_TEXT),
            "eof": (FailureClass.GREETING_EOF, Phase.GREETING, 0, 0, 0, 0),
            "reset": (FailureClass.GREETING_RESET, Phase.GREETING, 0, 0, ECONNRESET, 0),
        }
        cap = Cap(most.count, answers[most.answer], f"421 {most.text}", reset=most.answer == "reset")
    return Serving(
        name="the emulator",
        ports=pool_ports(emulator),
        refusal=(refusal_class(emulator.reply), Phase.PASSIVE, 1, int(emulator.reply[:3]), 0, POOL_TEXT),
        reply=emulator.reply,
        greeting_cap=cap,
        backlog=emulator.backlog,
        accept_interval_ns=None if emulator.accept_rate is None else emulator.accept_rate.instant_ns(1),
    )


def _server(server: Server, kernels: Kernels) -> Serving:
    if server.name is None:
        return Serving(name="the command", ports=None, backlog=server.backlog)
    habits = habits_of(server.name)
    kernel = kernels.server
    given = server.passive_range if habits.choice is not habits.choice.KERNEL else None
    if given is not None:
        ports, choice = range(given[0], given[1] + 1), _choice(habits)
    elif habits.tries is not None:
        ports, choice = WIDE, _choice(habits)
    else:  # bind() to port 0: the kernel finds a port, whoever asks, and none in TIME_WAIT
        ports, choice = range(kernel.first, kernel.last + 1 - kernel.reserved), "kernel"
    refusal: Failure | None = None
    if habits.full is not None:
        full = habits.full
        refusal = (full.failure, Phase.PASSIVE, int(full.control_survives), full.code or 0, 0, POOL_TEXT)
    users = habits.users_max(
        server.max_clients or OWN_USERS.get(habits.name), len(ports) if given is not None else None
    )
    greeting, login = _caps(habits, users, server.max_instances)
    return Serving(
        name=habits.name,
        ports=ports,
        choice=choice,
        tries=habits.tries or 0,
        held=choice == "kernel" or not habits.reuseaddr,
        refusal=refusal,
        reply="" if habits.full is None else _line(habits.full),
        greeting_cap=greeting,
        login_cap=login,
        backlog=habits.listen_backlog(None, users) if server.backlog is None else server.backlog,
    )


def _choice(habits: ServerHabits) -> Choice:
    if habits.per_session:
        return "session"
    return "tries" if habits.tries is not None else "random"


def _line(answer: Answer) -> str:
    return f"{answer.code} {answer.text}" if answer.code is not None else ""


def _caps(habits: ServerHabits, users: int | None, instances: int | None) -> tuple[Cap | None, Cap | None]:
    """Return the cap that shows at the greeting and the one that shows at the login."""
    greeting = login = None
    if instances is not None and habits.instances is not None:
        greeting = Cap(instances, (habits.instances.failure, Phase.GREETING, 0, habits.instances.code or 0, 0, 0))
    if users is not None and habits.cap is not None:
        answer = habits.cap
        at_login = answer.failure is FailureClass.BUSY_AT_LOGIN
        phase = Phase.LOGIN if at_login else Phase.GREETING
        cap = Cap(users, (answer.failure, phase, 0, answer.code or 0, 0, CAP_TEXT), _line(answer))
        greeting, login = (greeting, cap) if at_login else (cap, None)
    return greeting, login
