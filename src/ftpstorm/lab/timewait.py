"""End TIME_WAIT early: find the sockets whose TIME_WAIT has run long enough and destroy them (sock_diag(7)).

Linux keeps TIME_WAIT for 60 s and has no setting for it (TCP_TIMEWAIT_LEN, include/net/tcp.h); Windows has
TcpTimedWaitDelay. SOCK_DESTROY ends a single socket, so a host whose TIME_WAITs are swept often enough behaves as one
with a shorter TIME_WAIT. The process that does so during a run is `ftpstorm.lab.reaper`.

How old a TIME_WAIT is follows from its timer, which inet_diag reports: 60 s less what is left of it. A socket is
destroyed by its cookie, so that a new connection on the same 4-tuple is never hit in its place.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

from ftpstorm.clock import monotonic_ns
from ftpstorm.errors import EnvironmentUnavailableError
from ftpstorm.sampler.sockdiag import (
    BUFFER_BYTES,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    SOCK_DIAG_BY_FAMILY,
    build_request,
    open_socket,
)
from ftpstorm.units import NS_PER_MS
from ftpstorm.vocabulary import TcpState

SOCK_DESTROY: Final = 21
NLM_F_ACK: Final = 0x4
KERNEL_TIME_WAIT_MS: Final = 60_000
"""TCP_TIMEWAIT_LEN in ms."""
BATCH: Final = 128
"""Sockets destroyed with one send(2): their refusals, each as long as its request, fit the receive buffer."""
PROBE_WITHIN_S: Final = 5.0

_GONE: Final = frozenset({errno.ENOENT, errno.ESTALE})
"""Answers for a socket that is not there any more, or whose 4-tuple is another connection's by now."""

_HEADER: Final = struct.Struct("=IHHII")
_REQUEST: Final = struct.Struct("=BBBBI")
_TIME_WAIT_STATES: Final = 1 << TcpState.TIME_WAIT
_FAMILIES: Final = (int(socket.AF_INET), int(socket.AF_INET6))
# Header and inet_diag_msg (include/uapi/linux/inet_diag.h): family, state, timer, inet_diag_sockid of 48 bytes (its
# cookie at the end), idiag_expires in ms
_MESSAGE: Final = struct.Struct("=16xBBBx48sI")
_ERRNO: Final = struct.Struct("=i")


class Waiting(NamedTuple):
    """One socket in TIME_WAIT. `identity` is its struct inet_diag_sockid, cookie included; `left_ms` is its timer."""

    family: int
    identity: bytes
    left_ms: int


@dataclass(frozen=True, slots=True)
class Sweep:
    """What one pass over a host did."""

    seen: int
    """Sockets in TIME_WAIT that are known."""
    destroyed: int
    latest_ns: int
    """How long past its time the most belated of the destroyed was."""


def parse_waiting(buffer: bytes | bytearray | memoryview, sequence: int) -> tuple[list[Waiting], bool]:
    """Return the TIME_WAIT sockets of one chunk of a dump, and whether the dump ends with it.

    Raises OSError with the kernel's errno where it refused, ValueError for bytes that are no netlink messages.
    """
    found: list[Waiting] = []
    offset, size = 0, len(buffer)
    while offset < size:
        if size - offset < _HEADER.size:
            raise ValueError(f"torn netlink header: {size - offset} bytes")
        length, kind, _, number, _ = _HEADER.unpack_from(buffer, offset)
        if length < _HEADER.size or offset + length > size:
            raise ValueError(f"netlink message of {length} bytes in the {size - offset} that are left")
        if number == sequence:
            if kind == SOCK_DIAG_BY_FAMILY and length >= _MESSAGE.size:
                family, state, _, identity, left_ms = _MESSAGE.unpack_from(buffer, offset)
                if state == TcpState.TIME_WAIT:
                    found.append(Waiting(family, identity, left_ms))
            elif kind == NLMSG_DONE:
                return found, True
            elif kind == NLMSG_ERROR:
                code = _ERRNO.unpack_from(buffer, offset + _HEADER.size)[0]
                raise OSError(-code, f"the kernel refused a sock_diag dump: {os.strerror(-code)}")
        offset += (length + 3) & ~3
    return found, False


def build_destroy(sockets: Sequence[Waiting], sequence: int) -> bytes:
    """Return SOCK_DESTROY requests, one for each socket, numbered from `sequence`; the last asks for an answer."""
    parts = []
    for place, waiting in enumerate(sockets):
        body = _REQUEST.pack(waiting.family, socket.IPPROTO_TCP, 0, 0, _TIME_WAIT_STATES) + waiting.identity
        flags = NLM_F_REQUEST | (NLM_F_ACK if place == len(sockets) - 1 else 0)
        parts.append(_HEADER.pack(_HEADER.size + len(body), SOCK_DESTROY, flags, sequence + place, 0) + body)
    return b"".join(parts)


class Reaper:
    """The TIME_WAITs of one network namespace, ended after `time_wait_ns`. One sweep at a time."""

    def __init__(self, time_wait_ns: int, opener: Callable[[], socket.socket] = open_socket) -> None:
        """`time_wait_ns` is from 0 to 60 s; `opener` makes a sock_diag socket in the namespace. Raises OSError."""
        self._limit_ms = KERNEL_TIME_WAIT_MS - time_wait_ns // NS_PER_MS
        self._sock = opener()
        self._buffer = bytearray(BUFFER_BYTES)
        self._sequence = 0
        self._known: deque[tuple[int, Waiting]] = deque()
        """Sockets that are not old enough yet: when each will be, the next one first."""

    def sweep(self) -> Sweep:
        """Dump, and destroy each socket that has been in TIME_WAIT long enough.

        The others are kept in mind for `end_due`. Raises OSError where the kernel refuses.
        """
        waiting = self.dump()
        dumped_ns = monotonic_ns()  # not before: a socket must never end early
        due = [each for each in waiting if each.left_ms <= self._limit_ms]
        young = sorted((each for each in waiting if each.left_ms > self._limit_ms), key=lambda each: each.left_ms)
        self._known = deque((dumped_ns + (each.left_ms - self._limit_ms) * NS_PER_MS, each) for each in young)
        latest_ns = max((self._limit_ms - each.left_ms for each in due), default=0) * NS_PER_MS
        return Sweep(len(waiting), self._destroy_all(due), latest_ns)

    @property
    def next_due_ns(self) -> int | None:
        """When the oldest of those that the last dump left will have been in TIME_WAIT long enough; None for none."""
        return self._known[0][0] if self._known else None

    def end_due(self) -> Sweep:
        """Destroy those of the last dump that are old enough by now: no dump, so it costs what it destroys.

        A dump walks the kernel's whole table, however few sockets it finds, and takes milliseconds. Raises OSError
        where the kernel refuses.
        """
        now_ns = monotonic_ns()
        seen, latest_ns = len(self._known), 0
        due = []
        while self._known and self._known[0][0] <= now_ns:
            due_ns, waiting = self._known.popleft()
            latest_ns = max(latest_ns, now_ns - due_ns)
            due.append(waiting)
        return Sweep(seen, self._destroy_all(due), latest_ns)

    def _destroy_all(self, due: Sequence[Waiting]) -> int:
        return sum(self._destroy(due[first : first + BATCH]) for first in range(0, len(due), BATCH))

    def dump(self) -> list[Waiting]:
        """Return all sockets in TIME_WAIT, IPv4 and IPv6."""
        found: list[Waiting] = []
        for family in _FAMILIES:
            self._sequence += 1
            self._sock.send(build_request(family, _TIME_WAIT_STATES, self._sequence))
            finished = False
            while not finished:
                with memoryview(self._buffer) as view:
                    rows, finished = parse_waiting(view[: self._sock.recv_into(self._buffer)], self._sequence)
                found += rows
        return found

    def _destroy(self, batch: Sequence[Waiting]) -> int:
        """Destroy `batch`; return how many of them were still there. Raises OSError for any other refusal."""
        first = self._sequence + 1
        self._sequence += len(batch)
        self._sock.send(build_destroy(batch, first))
        missing = 0
        while True:
            size = self._sock.recv_into(self._buffer)
            offset = 0
            while offset + _HEADER.size + _ERRNO.size <= size:
                length, kind, _, number, _ = _HEADER.unpack_from(self._buffer, offset)
                if kind == NLMSG_ERROR and first <= number <= self._sequence:
                    code = _ERRNO.unpack_from(self._buffer, offset + _HEADER.size)[0]
                    if -code in _GONE:  # ended by itself, or by a new SYN, since the dump
                        missing += 1
                    elif code:
                        raise OSError(-code, f"the kernel refused SOCK_DESTROY: {os.strerror(-code)}")
                    if number == self._sequence:
                        return len(batch) - missing
                offset += max((length + 3) & ~3, _HEADER.size)

    def close(self) -> None:
        """Close the netlink socket; closing twice is allowed."""
        self._sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def require_support() -> None:
    """Make a TIME_WAIT on `lo` of the calling thread's namespace and destroy it.

    Raises EnvironmentUnavailableError where that does not work: SOCK_DESTROY needs CONFIG_INET_DIAG_DESTROY, and
    CAP_NET_ADMIN over the namespace.
    """
    try:
        with Reaper(0) as reaper:
            port = _make_time_wait()
            mine = struct.pack(">H", port)
            deadline = time.monotonic() + PROBE_WITHIN_S
            while not (found := [each for each in reaper.dump() if each.identity[:2] == mine]):
                if time.monotonic() > deadline:
                    raise EnvironmentUnavailableError("lab.time_wait: a closed connection left no TIME_WAIT to end")
                time.sleep(0.001)  # the last ACK is under way in the kernel
            reaper._destroy(found)
            if any(each.identity[:2] == mine for each in reaper.dump()):
                raise EnvironmentUnavailableError("lab.time_wait: the kernel keeps TIME_WAITs that are destroyed")
    except OSError as error:
        raise EnvironmentUnavailableError(f"lab.time_wait: {_refused(error)}") from None


def _refused(error: OSError) -> str:
    """Say what the kernel refused, and what to do: it may not know the request, or not allow it to this process."""
    if error.errno in (errno.EPERM, errno.EACCES):
        return (
            f"this process may not end TIME_WAIT sockets ({error}): it takes CAP_NET_ADMIN over the network namespace, "
            "which every process of a lab has unless a container's security profile takes it away; leave `time_wait` "
            "out, or allow it"
        )
    return (
        f"this kernel does not end TIME_WAIT sockets ({error}); it needs CONFIG_INET_DIAG_DESTROY: leave `time_wait` "
        "out, or use another kernel"
    )


def probe() -> str | None:
    """Return why `lab.time_wait` cannot work in the calling thread's network namespace, None where it can."""
    try:
        require_support()
    except EnvironmentUnavailableError as error:
        return str(error)
    return None


def _make_time_wait() -> int:
    """Leave one connection on 127.0.0.1 in TIME_WAIT, closed by the client first; return its local port."""
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as stack:
        client = stack.enter_context(socket.create_connection(listener.getsockname(), PROBE_WITHIN_S))
        server = stack.enter_context(listener.accept()[0])
        server.settimeout(PROBE_WITHIN_S)
        port: int = client.getsockname()[1]
        client.close()
        server.recv(1)
        return port
