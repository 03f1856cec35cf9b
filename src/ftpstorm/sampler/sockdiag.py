"""Dump a namespace's TCP sockets over netlink (sock_diag(7), include/uapi/linux/inet_diag.h) with nothing but struct.

This is the cheapest way to see each socket: a dump of 28,000 costs some 20 ms where parsing /proc/net/tcp costs 55 and
psutil 240. What the rows mean is counted in `ftpstorm.sampler.census`. A netlink socket keeps reading the namespace in
which it was made, whatever its thread does afterwards.

Requests are built by `build_request` and answers walked by `parse_chunk`, apart from the socket, so that another
sock_diag message (SOCK_DESTROY) needs no more than its own type and flags.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from types import TracebackType
from typing import Final, Self

from ftpstorm.sampler.census import Row
from ftpstorm.vocabulary import TcpState

NETLINK_SOCK_DIAG: Final = 4
SOCK_DIAG_BY_FAMILY: Final = 20
NLM_F_REQUEST: Final = 0x1
NLM_F_MULTI: Final = 0x2
NLM_F_DUMP_INTR: Final = 0x10
NLM_F_DUMP: Final = 0x300
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
INET_DIAG_REQ_BYTECODE: Final = 1
INET_DIAG_BC_JMP: Final = 1
INET_DIAG_BC_S_GE: Final = 2
INET_DIAG_BC_S_LE: Final = 3
INET_DIAG_BC_D_GE: Final = 4
INET_DIAG_BC_D_LE: Final = 5

ALL_STATES: Final = sum(1 << state for state in TcpState)
"""State mask of a whole dump. Sockets that are bound and no more (TCP_BOUND_INACTIVE) have no TcpState and stay out."""
LISTENING: Final = 1 << TcpState.LISTEN

BUFFER_BYTES: Final = 65_536
"""Twice the most that the kernel puts into one dump message (32 KiB, net/netlink/af_netlink.c)."""
ANSWER_TIMEOUT_S: Final = 5
"""A dump is answered inside recv(2) itself; silence this long means that it broke off."""

_HEADER: Final = struct.Struct("=IHHII")  # nlmsg_len, nlmsg_type, nlmsg_flags, nlmsg_seq, nlmsg_pid
_REQUEST: Final = struct.Struct("=BBBBI48s")  # inet_diag_req_v2: family, protocol, ext, pad, states, inet_diag_sockid
_OP: Final = struct.Struct("=BBH")  # inet_diag_bc_op: code, yes, no
_ERRNO: Final = struct.Struct("=i")
_ROW_BYTES: Final = 88  # nlmsghdr and struct inet_diag_msg; attributes follow
# Ports are big-endian on the wire; everything else a row takes is single bytes or raw
_ROW_FORMAT: Final = ">16xBB2xHH16x16s16x8s8x"
_ROW: Final = struct.Struct(_ROW_FORMAT)
_RUNS: Final[dict[int, struct.Struct]] = {}


def build_request(family: int, states: int, sequence: int, port_filter: bytes = b"") -> bytes:
    """Return a dump request for TCP sockets of `family` in any state of the mask `states` (bit n = TcpState n).

    `port_filter` is bytecode from `build_port_filter`; empty admits every socket.
    """
    attribute = struct.pack("=HH", 4 + len(port_filter), INET_DIAG_REQ_BYTECODE) + port_filter if port_filter else b""
    body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, states, bytes(48)) + attribute
    head = _HEADER.pack(_HEADER.size + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, sequence, 0)
    return head + body


def build_port_filter(ports: Iterable[int]) -> bytes:
    """Return inet_diag bytecode that admits a socket whose local or remote port is one of `ports` (0..65535).

    Consecutive ports become one range. Raises ValueError for no port at all, or when the ports lie so scattered that
    the bytecode would not fit its 16-bit jumps (about 1,600 ranges).
    """
    ordered = sorted(set(ports))
    if not ordered or ordered[0] < 0 or ordered[-1] > 65_535:
        raise ValueError("a port filter needs ports between 0 and 65535")
    ranges: list[tuple[int, int]] = []
    for port in ordered:
        if ranges and ranges[-1][1] == port - 1:
            ranges[-1] = (ranges[-1][0], port)
        else:
            ranges.append((port, port))
    tests = [(INET_DIAG_BC_S_GE, INET_DIAG_BC_S_LE, *each) for each in ranges]
    tests += [(INET_DIAG_BC_D_GE, INET_DIAG_BC_D_LE, *each) for each in ranges]
    # Each test is two comparisons of 8 bytes and, but for the last, a jump over what is left. The kernel admits a
    # socket when the walk ends exactly at the end, and refuses it when a jump leads 4 bytes beyond (inet_diag_bc_run).
    total = 20 * len(tests) - 4
    if total + 4 > 65_535:
        raise ValueError(f"{len(ranges)} separate port ranges are too many for one filter")
    code = bytearray()
    for number, (at_least, at_most, first, last) in enumerate(tests):
        is_last = number == len(tests) - 1
        code += _OP.pack(at_least, 8, 20) + _OP.pack(0, 0, first)
        code += _OP.pack(at_most, 8, 12) + _OP.pack(0, 0, last)
        if not is_last:
            code += _OP.pack(INET_DIAG_BC_JMP, 4, total - len(code))
    return bytes(code)


def parse_chunk(buffer: bytearray, size: int, sequence: int) -> tuple[Iterable[Row], bool, bool]:
    """Return the rows in the first `size` bytes of `buffer`, whether the dump is done, and whether it was disturbed.

    Rows may point into `buffer`: use them up before it is filled again. Messages of another `sequence` are passed over.
    Raises OSError with the kernel's errno for NLMSG_ERROR, and ValueError for bytes that are no netlink messages.
    """
    run = _uniform_run(buffer, size, sequence)
    if run is not None:
        return run, False, False
    rows: list[Row] = []
    disturbed = False
    offset = 0
    while offset < size:
        if size - offset < _HEADER.size:
            raise ValueError(f"torn netlink header: {size - offset} bytes")
        length, kind, flags, number, _ = _HEADER.unpack_from(buffer, offset)
        if length < _HEADER.size or offset + length > size:
            raise ValueError(f"netlink message of {length} bytes in the {size - offset} that are left")
        if number == sequence:
            disturbed |= bool(flags & NLM_F_DUMP_INTR)
            if kind == SOCK_DIAG_BY_FAMILY:
                if length < _ROW_BYTES:
                    raise ValueError(f"inet_diag message of {length} bytes, less than {_ROW_BYTES}")
                rows.append(_ROW.unpack_from(buffer, offset))
            elif kind in (NLMSG_DONE, NLMSG_ERROR):
                _raise_refusal(buffer, offset, length, kind)
                return rows, True, disturbed
        offset += (length + 3) & ~3
    return rows, False, disturbed


def _uniform_run(buffer: bytearray, size: int, sequence: int) -> Iterator[Row] | None:
    """Return an iterator over messages that are all rows of one length, as a full TIME_WAIT table mostly is.

    None where they are not. The check is sound: message k starts where it is assumed to start if all before it have
    the assumed length, and every length is looked at.
    """
    if size < _ROW_BYTES:
        return None
    length = _HEADER.unpack_from(buffer)[0]
    if length < _ROW_BYTES or length % 4 or size % length:
        return None
    number = size // length
    with memoryview(buffer) as whole, whole.cast("I") as words, whole.cast("H") as halves:
        if words[: size // 4 : length // 4].tolist().count(length) != number:
            return None
        if words[2 : size // 4 : length // 4].tolist().count(sequence) != number:
            return None
        if halves[2 : size // 2 : length // 2].tolist().count(SOCK_DIAG_BY_FAMILY) != number:
            return None
        if halves[3 : size // 2 : length // 2].tolist().count(NLM_F_MULTI) != number:
            return None
    run = _RUNS.get(length)
    if run is None:
        run = _RUNS[length] = struct.Struct(f"{_ROW_FORMAT}{length - _ROW_BYTES}x")
    return run.iter_unpack(memoryview(buffer)[:size])


def _raise_refusal(buffer: bytearray, offset: int, length: int, kind: int) -> None:
    code = _ERRNO.unpack_from(buffer, offset + _HEADER.size)[0] if length >= _HEADER.size + 4 else 0
    if code < 0:
        raise OSError(-code, f"the kernel refused a sock_diag dump: {os.strerror(-code)}")
    if kind == NLMSG_ERROR:
        raise OSError(errno.EPROTO, "the kernel answered a sock_diag dump with an acknowledgement")


def open_socket() -> socket.socket:
    """Open a sock_diag netlink socket in the calling thread's network namespace. Raises OSError where there is none."""
    family = getattr(socket, "AF_NETLINK", None)
    if family is None:
        raise OSError(errno.EAFNOSUPPORT, "this system has no netlink sockets")
    sock = socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG)
    try:
        sock.bind((0, 0))
        # A timeout of the kernel's, not of Python's: that one would poll before each of a hundred reads
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", ANSWER_TIMEOUT_S, 0))
    except OSError:
        sock.close()
        raise
    return sock


class SockDiag:
    """One netlink socket that dumps TCP sockets of the namespace it was opened in. One dump at a time."""

    def __init__(self, opener: Callable[[], socket.socket] = open_socket) -> None:
        """Open and probe. `opener` makes a socket in the wanted namespace; it is called again after a dump broke off.

        Raises OSError where the kernel has no inet_diag for IPv4; IPv6 is left out where it has none for that.
        """
        self._opener = opener
        self._buffer = bytearray(BUFFER_BYTES)
        self._sequence = 0
        self._sock = opener()
        self.disturbed = False
        """Whether the last dump said that the table changed under it in a way that may have hidden sockets, or lost
        messages: take another where exactness matters."""
        self.families: tuple[int, ...] = ()
        """Address families that this kernel can dump."""
        try:
            for family in (socket.AF_INET, socket.AF_INET6):
                try:
                    for _ in self.rows(LISTENING, families=(family,)):
                        pass
                except OSError as refusal:
                    if family == socket.AF_INET or refusal.errno not in (errno.ENOENT, errno.EINVAL, errno.EOPNOTSUPP):
                        raise
                else:
                    self.families += (int(family),)
        except BaseException:
            self.close()
            raise

    def rows(
        self, states: int = ALL_STATES, *, port_filter: bytes = b"", families: tuple[int, ...] | None = None
    ) -> Iterator[Row]:
        """Dump and yield one row a socket, IPv4 first. Consume it wholly, and before the next call.

        Raises OSError when the kernel refuses (EINVAL for bad bytecode, EBUSY ...), TimeoutError when it breaks off.
        """
        self.disturbed = False
        chosen = self.families if families is None else families
        return chain.from_iterable(chain.from_iterable(self._dump(family, states, port_filter) for family in chosen))

    def _dump(self, family: int, states: int, port_filter: bytes) -> Iterator[Iterable[Row]]:
        self._sequence = (self._sequence + 1) & 0xFFFF_FFFF
        sequence, buffer = self._sequence, self._buffer
        finished = False
        if self._sock.fileno() < 0:  # it could not be replaced the last time
            self._sock = self._opener()
        try:
            self._sock.send(build_request(family, states, sequence, port_filter))
            while not finished:
                rows, finished, disturbed = parse_chunk(buffer, self._receive(), sequence)
                self.disturbed |= disturbed
                yield rows
        finally:
            if not finished:
                self._renew()

    def _receive(self) -> int:
        try:
            size = self._sock.recv_into(self._buffer)
        except BlockingIOError as silence:
            raise TimeoutError(f"a sock_diag dump broke off: silent for {ANSWER_TIMEOUT_S} s") from silence
        if size == 0:
            raise OSError(errno.EPIPE, "the sock_diag socket is at its end")
        return size

    def _renew(self) -> None:
        """Replace the socket: what is left of an unfinished dump would make the kernel answer EBUSY to the next."""
        if self._sock.fileno() >= 0:
            self._sock.close()
            self._sock = self._opener()

    def close(self) -> None:
        """Close the netlink socket; closing twice is allowed."""
        self._sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
