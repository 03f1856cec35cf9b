"""A network namespace that is read: its counter files, its sockets, and what of them this system cannot give.

A source belongs to the namespace of the thread that opened it, for good. Opening one in a thread that has entered
another namespace is all it takes to watch that one from here.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from ftpstorm.sampler import portable
from ftpstorm.sampler.census import Census, CensusTaker, Listener
from ftpstorm.sampler.hostfacts import read_port_range
from ftpstorm.sampler.procnet import NetFiles
from ftpstorm.sampler.sockdiag import LISTENING, SockDiag, open_socket
from ftpstorm.vocabulary import Side

if TYPE_CHECKING:
    from ftpstorm.sampler.conntrack import ConntrackFiles

DUMP_ATTEMPTS: Final = 2
"""A dump that was disturbed, or lost messages, is taken again so often; the last one counts as it is."""


class Source:
    """One open namespace. `host` names it in series of what both sides share, such as counters."""

    def __init__(
        self,
        host: str,
        side: Side | None = None,
        *,
        opener: Callable[[], socket.socket] = open_socket,
        fall_back: bool = True,
    ) -> None:
        """Open in the calling thread's namespace.

        `side` is the one side that lives there, None for both. `opener` makes a netlink socket in that namespace, also
        later from another thread. `fall_back` allows psutil where there is no netlink: it sees this process's own
        namespace only. A router has no sockets that matter, but connection tracking. Never raises for what the system
        lacks: see `missing`.
        """
        self.host = host
        self.side = side
        self.missing: dict[str, str] = {}
        """What cannot be read here, and why."""
        self.port_range = read_port_range()
        """The namespace's ephemeral range when it was opened, or None."""
        self._files = NetFiles()
        for name in ("snmp", "netstat", "sockstat"):
            if name not in self._files.names:
                self.missing[name] = f"this system has no /proc/net/{name}"
        self._conntrack: ConntrackFiles | None = None
        if side is Side.ROUTER:
            from ftpstorm.sampler.conntrack import ConntrackFiles

            self._conntrack = ConntrackFiles()
        self._fall_back = fall_back and side is not Side.ROUTER
        self._diag: SockDiag | None = None
        if side is not Side.ROUTER:
            try:
                self._diag = SockDiag(opener)
            except OSError as error:
                self.missing["sock_diag"] = str(error)

    @property
    def has_sockets(self) -> bool:
        """Whether a census can be tried at all."""
        return self._diag is not None or self._fall_back

    @property
    def has_queues(self) -> bool:
        """Whether listeners' queue lengths can be read."""
        return self._diag is not None

    def read_counters(self) -> dict[str, int]:
        """Return the kernel counters of `vocabulary.COUNTERS` that are there, and a router's ``conntrack.*``."""
        counters = self._files.read_counters()
        return counters if self._conntrack is None else counters | self._conntrack.read()

    def read_sockstat(self) -> dict[str, int]:
        """Return the TCP line of sockstat."""
        return self._files.read_sockstat()

    def read_listeners(self, taker: CensusTaker) -> dict[int, Listener]:
        """Return the accept queues of the server's control ports, {} when unknown.

        Costs some 20 us, whatever else is open: the kernel keeps its listeners apart.
        """
        return taker.count_queues(self._diag.rows(LISTENING)) if self._diag is not None else {}

    def take_census(self, taker: CensusTaker) -> Census:
        """Count every socket now. Raises OSError where the system refuses, also at the last attempt."""
        if self._diag is None:
            return taker.count(portable.read_rows())
        for attempt in range(1, DUMP_ATTEMPTS + 1):
            try:
                census = taker.count(self._diag.rows())
            except OSError as error:
                lost = isinstance(error, TimeoutError) or error.errno in (errno.ENOBUFS, errno.EBUSY, errno.EINTR)
                if not lost or attempt == DUMP_ATTEMPTS:
                    raise
                continue
            if not self._diag.disturbed:
                break
        return census

    def close(self) -> None:
        """Close files and socket; closing twice is allowed."""
        self._files.close()
        if self._conntrack is not None:
            self._conntrack.close()
        if self._diag is not None:
            self._diag.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
