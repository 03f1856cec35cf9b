"""sock_diag messages: what is asked, how answers are walked, and what the port filter's bytecode admits."""

from __future__ import annotations

import errno
import socket
import struct
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.sampler.census import Row
from ftpstorm.sampler.sockdiag import (
    ALL_STATES,
    LISTENING,
    NLM_F_DUMP_INTR,
    NLM_F_MULTI,
    NLMSG_DONE,
    NLMSG_ERROR,
    SOCK_DIAG_BY_FAMILY,
    SockDiag,
    build_port_filter,
    build_request,
    parse_chunk,
)

SEQUENCE = 7


def message(kind: int, payload: bytes, *, flags: int = NLM_F_MULTI, sequence: int = SEQUENCE) -> bytes:
    raw = struct.pack("=IHHII", 16 + len(payload), kind, flags, sequence, 0) + payload
    return raw + bytes(-len(raw) % 4)


def row_message(row: Row, attributes: int = 8, **fields: int) -> bytes:
    """One inet_diag answer, written field by field from include/uapi/linux/inet_diag.h."""
    family, state, sport, dport, dst, queues = row
    body = struct.pack("=BBBB", family, state, 0, 0)
    body += struct.pack(">HH", sport, dport) + bytes(16) + dst + struct.pack("=I8s", 0, b"cookie!!")
    body += struct.pack("=I", 12345) + queues + struct.pack("=II", 1000, 4711)
    assert len(body) == 72
    return message(SOCK_DIAG_BY_FAMILY, body + bytes(attributes), **fields)


DONE = message(NLMSG_DONE, struct.pack("=i", 0))
LOOPBACK = bytes([127, 0, 0, 1]) + bytes(12)

rows_of_any_kind = st.tuples(
    st.sampled_from([int(socket.AF_INET), int(socket.AF_INET6)]),
    st.integers(1, 12),
    st.integers(0, 65_535),
    st.integers(0, 65_535),
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=8, max_size=8),
)


def parse(raw: bytes, sequence: int = SEQUENCE) -> tuple[list[Row], bool, bool]:
    buffer = bytearray(65_536)
    buffer[: len(raw)] = raw
    rows, done, disturbed = parse_chunk(buffer, len(raw), sequence)
    return list(rows), done, disturbed


def test_a_request_asks_for_one_family_and_the_wanted_states() -> None:
    raw = build_request(socket.AF_INET6, LISTENING, 9)
    assert struct.unpack_from("=IHHII", raw) == (72, 20, 0x301, 9, 0)
    assert struct.unpack_from("=BBBBI", raw, 16) == (socket.AF_INET6, socket.IPPROTO_TCP, 0, 0, 1 << 10)
    assert raw[24:] == bytes(48)


def test_a_port_filter_travels_as_an_attribute() -> None:
    code = build_port_filter([21])
    raw = build_request(socket.AF_INET, ALL_STATES, 1, code)
    assert struct.unpack_from("=HH", raw, 72) == (4 + len(code), 1)
    assert raw[76:] == code
    assert struct.unpack_from("=I", raw)[0] == len(raw)


@given(st.lists(rows_of_any_kind, min_size=1, max_size=40), st.sampled_from([8, 36, 40]))
def test_messages_of_one_length_read_back_as_written(rows: list[Row], attributes: int) -> None:
    assert parse(b"".join(row_message(row, attributes) for row in rows)) == (rows, False, False)


@given(st.lists(st.tuples(rows_of_any_kind, st.sampled_from([0, 5, 8, 36, 37])), max_size=40), st.booleans())
def test_messages_of_mixed_lengths_read_back_as_written(messages: list[tuple[Row, int]], done: bool) -> None:
    raw = b"".join(row_message(row, attributes) for row, attributes in messages) + (DONE if done else b"")
    assert parse(raw) == ([row for row, _ in messages], done, False)


def test_bytes_of_an_attribute_that_look_like_a_message_are_none() -> None:
    row: Row = (2, 6, 40000, 21, LOOPBACK, bytes(8))
    looks_like_one = row_message((2, 1, 1, 1, LOOPBACK, bytes(8)))
    first = row_message(row)
    second = bytearray(row_message(row, attributes=8 + len(looks_like_one)))
    second[len(first) :] = looks_like_one
    assert len(second) == 2 * len(first)
    assert parse(first + second) == ([row, row], False, False)


def test_an_answer_to_another_request_is_passed_over() -> None:
    row: Row = (2, 6, 40000, 21, LOOPBACK, bytes(8))
    stale = row_message((2, 1, 1, 1, LOOPBACK, bytes(8)), sequence=SEQUENCE - 1)
    stale_done = message(NLMSG_DONE, bytes(4), sequence=SEQUENCE - 1)
    assert parse(stale + stale_done + row_message(row)) == ([row], False, False)
    assert parse(stale * 3) == ([], False, False)


def test_a_table_that_changed_under_the_dump_is_told() -> None:
    row: Row = (2, 6, 40000, 21, LOOPBACK, bytes(8))
    flags = NLM_F_MULTI | NLM_F_DUMP_INTR
    assert parse(row_message(row, flags=flags)) == ([row], False, True)
    assert parse(message(NLMSG_DONE, bytes(4), flags=flags)) == ([], True, True)


@pytest.mark.parametrize("kind", [NLMSG_ERROR, NLMSG_DONE])
def test_a_refusal_carries_the_kernels_errno(kind: int) -> None:
    with pytest.raises(OSError, match="refused") as caught:
        parse(message(kind, struct.pack("=i", -errno.ENOENT)))
    assert caught.value.errno == errno.ENOENT


@pytest.mark.parametrize(
    "raw",
    [
        b"\x01\x02\x03",
        struct.pack("=IHHII", 8, SOCK_DIAG_BY_FAMILY, 2, SEQUENCE, 0),
        struct.pack("=IHHII", 96, SOCK_DIAG_BY_FAMILY, 2, SEQUENCE, 0),
        message(SOCK_DIAG_BY_FAMILY, bytes(40)),
        row_message((2, 6, 1, 1, LOOPBACK, bytes(8)))[:-4],
    ],
)
def test_bytes_that_are_no_answer_raise(raw: bytes) -> None:
    with pytest.raises(ValueError, match="bytes"):
        parse(raw)


def run_bytecode(code: bytes, sport: int, dport: int) -> bool:
    """Do as inet_diag_bc_run and inet_diag_bc_audit of the kernel do (net/ipv4/inet_diag.c)."""
    boundaries = [0]
    while boundaries[-1] < len(code):
        step = code[boundaries[-1] + 1]
        assert step >= 4
        assert step % 4 == 0
        boundaries.append(boundaries[-1] + step)
    offset = 0
    while offset < len(code):
        op, yes, no = struct.unpack_from("=BBH", code, offset)
        left = len(code) - offset
        assert 4 <= no <= left + 4
        assert no % 4 == 0
        if no < left:
            assert offset + no in boundaries
        if op == 1:
            offset += no
            continue
        bound = struct.unpack_from("=BBH", code, offset + 4)[2]
        holds = {2: sport >= bound, 3: sport <= bound, 4: dport >= bound, 5: dport <= bound}[op]
        offset += yes if holds else no
    return offset == len(code)


@given(st.sets(st.integers(0, 65_535), min_size=1, max_size=30), st.integers(0, 65_535), st.integers(0, 65_535))
def test_the_filter_admits_what_has_a_wanted_port_at_either_end(ports: set[int], sport: int, dport: int) -> None:
    code = build_port_filter(ports)
    assert run_bytecode(code, sport, dport) == (sport in ports or dport in ports)
    one = next(iter(ports))
    assert run_bytecode(code, one, dport)
    assert run_bytecode(code, sport, one)


def test_ports_in_a_row_cost_one_test() -> None:
    assert len(build_port_filter(range(10_000, 20_000))) == len(build_port_filter([21]))


@pytest.mark.parametrize("ports", [[], [-1], [70_000], range(1, 8_000, 2)])
def test_a_filter_that_cannot_be_is_refused(ports: list[int]) -> None:
    with pytest.raises(ValueError, match=r"port"):
        build_port_filter(ports)


class FakeKernel:
    """Hands out prepared answers; a stand-in only for faults that a real kernel cannot be asked to make."""

    def __init__(self, *answers: bytes | OSError) -> None:
        self.answers = list(answers)
        self.closed = False
        self.sequence = 0

    def send(self, request: bytes) -> int:
        self.sequence = struct.unpack_from("=I", request, 8)[0]
        return len(request)

    def recv_into(self, buffer: bytearray) -> int:
        answer = self.answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        renumbered = answer[:8] + struct.pack("=I", self.sequence) + answer[12:]
        buffer[: len(renumbered)] = renumbered
        return len(renumbered)

    def fileno(self) -> int:
        return -1 if self.closed else 99

    def close(self) -> None:
        self.closed = True


ROW: Row = (2, 6, 40000, 21, LOOPBACK, bytes(8))


def diag_with(*kernels: FakeKernel) -> SockDiag:
    waiting = list(kernels)
    kernels[0].answers[:0] = [DONE, DONE]  # the probe of both families
    return SockDiag(lambda: waiting.pop(0))  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize(
    ("fault", "raised"),
    [(OSError(errno.ENOBUFS, "lost"), OSError), (BlockingIOError(errno.EAGAIN, "silent"), TimeoutError)],
)
def test_a_dump_that_broke_off_raises_and_the_next_one_has_a_new_socket(fault: OSError, raised: type[OSError]) -> None:
    first, second = FakeKernel(row_message(ROW), fault), FakeKernel(row_message(ROW), DONE)
    diag = diag_with(first, second)
    with pytest.raises(raised):
        list(diag.rows(families=(2,)))
    assert first.closed
    assert list(diag.rows(families=(2,))) == [ROW]


def test_a_dump_that_was_not_read_to_its_end_does_not_block_the_next() -> None:
    first, second = FakeKernel(row_message(ROW), DONE), FakeKernel(row_message(ROW), DONE)
    diag = diag_with(first, second)
    assert list(islice(diag.rows(families=(2,)), 1)) == [ROW]
    assert first.closed
    assert list(diag.rows(families=(2,))) == [ROW]
    assert not second.closed


def test_a_kernel_without_ipv6_is_dumped_for_ipv4_alone() -> None:
    refusal = message(NLMSG_ERROR, struct.pack("=i", -errno.ENOENT))
    kernels = [FakeKernel(DONE, refusal), FakeKernel()]
    assert SockDiag(lambda: kernels.pop(0)).families == (socket.AF_INET,)  # type: ignore[arg-type, return-value]


def test_a_kernel_without_inet_diag_is_an_oserror() -> None:
    kernels = [FakeKernel(message(NLMSG_ERROR, struct.pack("=i", -errno.ENOENT))), FakeKernel()]
    with pytest.raises(OSError, match="refused"):
        SockDiag(lambda: kernels.pop(0))  # type: ignore[arg-type, return-value]
