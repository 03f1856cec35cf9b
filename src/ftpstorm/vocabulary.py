"""The words that all other modules share: failure classes, phases, operations, causes, metric names.

Every word that reaches a file, a threshold or a user's script is spelled here and nowhere else. The small integers
behind the enumerations that records store are part of the file format: append, never renumber.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Final, Self


class Word(IntEnum):
    """An enumeration stored as one byte in a spool and shown as its hyphenated `word` everywhere else."""

    @property
    def word(self) -> str:
        """The public spelling, such as ``passive-exhausted``."""
        return self.name.lower().replace("_", "-")

    @classmethod
    def from_word(cls, word: str) -> Self:
        """Return the member spelled `word`. Raises KeyError for any other text."""
        return cls[word.upper().replace("-", "_")]

    @classmethod
    def words(cls) -> tuple[str, ...]:
        """All public spellings, in order of their numbers."""
        return tuple(member.word for member in cls)


class FailureClass(Word):
    """Why a step or a session failed, from phase, FTP code and errno. NONE means that it succeeded."""

    NONE = 0
    CONTROL_CONNECT_REFUSED = 1
    CONTROL_CONNECT_TIMEOUT = 2
    CONTROL_CONNECT_RESET = 3
    GREETING_SILENT = 4
    GREETING_EOF = 5
    GREETING_RESET = 6
    BUSY_AT_GREETING = 7
    BUSY_AT_LOGIN = 8
    AUTH_FAILED = 9
    PASSIVE_EXHAUSTED = 10
    PASSIVE_OUT_OF_RANGE = 11
    DATA_CONNECT_REFUSED = 12
    DATA_CONNECT_TIMEOUT = 13
    DATA_CONNECT_RESET = 14
    DATA_NOT_ESTABLISHED = 15
    DATA_TLS = 16
    TLS_FAILED = 17
    TRANSFER_ABORTED = 18
    TRANSFER_STALLED = 19
    TRANSFER_SHORT = 20
    FINAL_REPLY_TIMEOUT = 21
    REPLY_TIMEOUT = 22
    CONTROL_LOST = 23
    FILE_ERROR = 24
    UNSUPPORTED = 25
    PROTOCOL_ERROR = 26
    UNREACHABLE = 27
    LOCAL_PORTS_EXHAUSTED = 28
    LOCAL_FILES_EXHAUSTED = 29
    LOCAL_BUFFERS_EXHAUSTED = 30
    TRANSFER_CORRUPT = 31
    """All bytes came, and they are not the file's: only where the scenario has them verified."""


FAILURE_CLASSES: Final = tuple(member for member in FailureClass if member)
"""Every class that is a failure."""

GENERATOR_CLASSES: Final = frozenset(
    {FailureClass.LOCAL_PORTS_EXHAUSTED, FailureClass.LOCAL_FILES_EXHAUSTED, FailureClass.LOCAL_BUFFERS_EXHAUSTED}
)
"""Failures of the load generator's own host. Unless the scenario expects them they make a run invalid."""


class Phase(Word):
    """Where in a session something happened. The first ten are also latency phases, beside `session`."""

    NONE = 0
    CONTROL_CONNECT = 1
    TLS = 2
    GREETING = 3
    LOGIN = 4
    PASSIVE = 5
    DATA_CONNECT = 6
    FIRST_BYTE = 7
    TRANSFER = 8
    FINAL_REPLY = 9
    COMMAND = 10
    """A command without data connection: CWD, NOOP, SIZE, QUIT ..."""


LATENCY_PHASES: Final = (
    "control_connect",
    "tls",
    "greeting",
    "login",
    "passive",
    "data_connect",
    "first_byte",
    "transfer",
    "final_reply",
    "session",
)
"""Keys of summary.json's `latency_ms`, in the order in which a session passes them."""


class Operation(Word):
    """What one operation record is about: one executed step of a flow, or one retry of it."""

    NONE = 0
    LOGIN = 1
    RETR = 2
    STOR = 3
    LIST = 4
    NLST = 5
    MLSD = 6
    PASV_ONLY = 7
    NOOP = 8
    CWD = 9
    QUIT = 10
    ABORT = 11
    THINK = 12
    APPE = 13
    SIZE = 14
    MKD = 15
    DELE = 16
    HOLD = 17
    """Stay logged in and do nothing: what the executor `hold` adds to a flow."""
    TYPE = 18


TRANSFERS: Final = frozenset(
    {Operation.RETR, Operation.STOR, Operation.APPE, Operation.LIST, Operation.NLST, Operation.MLSD}
)
"""Operations that open a data connection and move bytes: what every `transfers` figure counts."""


class Outcome(Word):
    """How a planned session ended."""

    NONE = 0
    SUCCEEDED = 1
    """Every step succeeded."""
    FAILED = 2
    INTERRUPTED = 3
    """The run was stopped, or its grace was over, while the session was under way."""
    DROPPED = 4
    """It was due, but no session slot was free: never started."""


class DataMode(Word):
    """How the data connection was asked for."""

    NONE = 0
    PASV = 1
    EPSV = 2
    PORT = 3
    EPRT = 4


class Cause(StrEnum):
    """What ran out. One vocabulary for `expect.cause`, `limits[].name` and `diagnosis.cause`."""

    NONE = "none"
    CLIENT_EPHEMERAL_PORTS = "client-ephemeral-ports"
    CLIENT_BIND_HABIT = "client-bind-habit"
    CLIENT_FILES = "client-files"
    SERVER_PASSIVE_POOL = "server-passive-pool"
    SERVER_PASSIVE_POOL_ESCAPED = "server-passive-pool-escaped"
    DATA_CONNECTION_IN_USE = "data-connection-in-use"
    SERVER_CONNECTION_CAP = "server-connection-cap"
    PER_ADDRESS_LIMIT = "per-address-limit"
    BACKLOG_GHOST = "backlog-ghost"
    BACKLOG_SYN_REFUSED = "backlog-syn-refused"
    RESET_AFTER_ACCEPT = "reset-after-accept"
    SLOW_ACCEPT = "slow-accept"
    NAT_POOL = "nat-pool"
    FIREWALL_NO_HELPER = "firewall-no-helper"
    ACTIVE_PORT_REUSED = "active-port-reused"
    CLOSE_WAIT_LEAK = "close-wait-leak"
    SERVER_EPHEMERAL_PORTS = "server-ephemeral-ports"
    LOGIN_REFUSED = "login-refused"
    SERVER_DOWN = "server-down"
    TRANSFER_STALL = "transfer-stall"
    GENERATOR = "generator"
    UNKNOWN = "unknown"


class Status(StrEnum):
    """How a run ended."""

    COMPLETED = "completed"
    INTERRUPTED = "interrupted"
    STOPPED_EARLY = "stopped-early"
    CUT_SHORT = "cut-short"
    SIMULATED = "simulated"


class Verdict(StrEnum):
    """What the report says of a run."""

    PASS = "pass"  # noqa: S105 - a verdict, no password
    FAIL = "fail"
    INVALID = "invalid"


class PoolState(Word):
    """State of one port of the emulator's passive pool, as it publishes it (an imitation, not kernel state)."""

    FREE = 0
    LISTENING = 1
    IN_USE = 2
    HELD = 3


class TcpState(Word):
    """Kernel TCP states, numbered as in include/net/tcp_states.h. BOUND is what our sampler cannot see: unused."""

    ESTABLISHED = 1
    SYN_SENT = 2
    SYN_RECV = 3
    FIN_WAIT1 = 4
    FIN_WAIT2 = 5
    TIME_WAIT = 6
    CLOSE = 7
    CLOSE_WAIT = 8
    LAST_ACK = 9
    LISTEN = 10
    CLOSING = 11
    NEW_SYN_RECV = 12


class Side(StrEnum):
    """Which end of the path a socket or a limit belongs to."""

    CLIENT = "client"
    SERVER = "server"
    ROUTER = "router"


class Metric(StrEnum):
    """Names of sample series. `key` tells instances of one metric apart (a state, a port, a counter, a process)."""

    TCP_STATE = "tcp.state"
    """Sockets in a state, from an inet_diag dump; host = the side that owns the local port, key = state word."""
    SOCKSTAT = "tcp.sockstat"
    """/proc/net/sockstat TCP line; key = inuse, inuse6, orphan, tw (with orphaned FIN_WAIT_2), alloc, mem (pages)."""
    COUNTER = "tcp.counter"
    """Counter of /proc/net/netstat or snmp; key such as TcpExt.ListenOverflows or Tcp.ActiveOpens; value since boot."""
    EPHEMERAL_PORTS = "ports.ephemeral"
    """Distinct local ports of the ephemeral range in use towards one destination; key = address:port or * for all."""
    PASSIVE_PORTS = "ports.passive"
    """Sockets on one local passive port; key = port/state word. A port that went quiet gets one 0."""
    LISTEN_QUEUE = "tcp.listen_queue"
    """Accept queue length of a listener; key = port; its limit is series tcp.listen_backlog."""
    LISTEN_BACKLOG = "tcp.listen_backlog"
    POOL = "pool.count"
    """Emulator: ports of its passive pool by state; key = PoolState word."""
    POOL_PORT = "pool.port"
    """Emulator: state of one port after it changed; key = port, value = PoolState number."""
    ACCEPT_QUEUE = "emulator.accept_queue"
    """Emulator: connections that the kernel holds for it and it has not accepted; key = "control"."""
    SERVER_SESSIONS = "emulator.sessions"
    """Emulator: logged or unlogged control connections open now."""
    PROCESS_CPU = "process.cpu_s"
    """CPU seconds since process start, user + system; key = role, such as worker-0 or emulator."""
    PROCESS_RSS = "process.rss_bytes"
    PROCESS_FILES = "process.files"
    """Open file descriptors."""
    SAMPLER_COST = "sampler.cost_s"
    """CPU seconds that one sampling pass took; key = tick or dump."""
    SAMPLER_LATE = "sampler.late_s"
    """How late a pass began."""
    HOST_STEAL = "host.steal_s"
    """CPU seconds stolen from this virtual machine since boot."""
    HOST_BUSY = "host.busy_s"
    """CPU seconds that all cores worked since boot."""


COUNTERS: Final = (
    "Tcp.ActiveOpens",
    "Tcp.PassiveOpens",
    "Tcp.AttemptFails",
    "Tcp.EstabResets",
    "Tcp.CurrEstab",
    "Tcp.RetransSegs",
    "Tcp.InErrs",
    "Tcp.OutRsts",
    "TcpExt.SyncookiesSent",
    "TcpExt.SyncookiesRecv",
    "TcpExt.SyncookiesFailed",
    "TcpExt.EmbryonicRsts",
    "TcpExt.TW",
    "TcpExt.TWRecycled",
    "TcpExt.TWKilled",
    "TcpExt.PAWSActive",
    "TcpExt.PAWSEstab",
    "TcpExt.PAWSTimewait",
    "TcpExt.ListenOverflows",
    "TcpExt.ListenDrops",
    "TcpExt.TCPTimeWaitOverflow",
    "TcpExt.TCPReqQFullDoCookies",
    "TcpExt.TCPReqQFullDrop",
    "TcpExt.TCPAbortOnData",
    "TcpExt.TCPAbortOnClose",
    "TcpExt.TCPAbortOnTimeout",
    "TcpExt.TCPAbortOnMemory",
    "TcpExt.TCPTimeouts",
    "TcpExt.TCPSynRetrans",
)
"""Kernel counters that the sampler follows, as file group and name. One that this kernel lacks is absent, never 0."""
