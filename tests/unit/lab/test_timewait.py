"""TIME_WAIT messages of sock_diag: what is read from a dump, and what is sent to destroy a socket."""

from __future__ import annotations

import errno
import os
import socket
import struct
import subprocess
import sys

import pytest

from ftpstorm.lab.timewait import SOCK_DESTROY, Waiting, build_destroy, parse_waiting
from ftpstorm.vocabulary import TcpState

SEQUENCE = 7
IDENTITY = struct.pack(">HH", 40_000, 21) + bytes(range(32)) + bytes(4) + b"cookie!!"


def message(state: TcpState, left_ms: int, *, sequence: int = SEQUENCE, attributes: bytes = b"") -> bytes:
    body = struct.pack("=BBBB48sI", socket.AF_INET, state, 3, 0, IDENTITY, left_ms) + bytes(16) + attributes
    return struct.pack("=IHHII", 16 + len(body), 20, 2, sequence, 0) + body


def done(sequence: int = SEQUENCE) -> bytes:
    return struct.pack("=IHHIIi", 20, 3, 2, sequence, 0, 0)


def test_time_waits_are_found_with_what_is_left_of_their_timer() -> None:
    chunk = message(TcpState.TIME_WAIT, 59_000, attributes=bytes(8)) + message(TcpState.TIME_WAIT, 12) + done()
    found, finished = parse_waiting(chunk, SEQUENCE)
    assert found == [Waiting(socket.AF_INET, IDENTITY, 59_000), Waiting(socket.AF_INET, IDENTITY, 12)]
    assert finished


def test_other_states_and_other_dumps_are_passed_over() -> None:
    chunk = message(TcpState.ESTABLISHED, 5) + message(TcpState.TIME_WAIT, 5, sequence=SEQUENCE - 1)
    assert parse_waiting(chunk, SEQUENCE) == ([], False)


def test_a_refusal_is_raised_with_the_kernels_number() -> None:
    refusal = struct.pack("=IHHIIi", 20, 2, 0, SEQUENCE, 0, -errno.EPERM)
    with pytest.raises(OSError, match="refused") as raised:
        parse_waiting(refusal, SEQUENCE)
    assert raised.value.errno == errno.EPERM


@pytest.mark.parametrize("cut", [3, 15, 60])
def test_torn_messages_are_refused(cut: int) -> None:
    with pytest.raises(ValueError, match="netlink"):
        parse_waiting(message(TcpState.TIME_WAIT, 5)[:cut], SEQUENCE)


def test_a_socket_is_destroyed_by_its_whole_identity_and_only_in_time_wait() -> None:
    sent = build_destroy([Waiting(socket.AF_INET, IDENTITY, 5), Waiting(socket.AF_INET6, IDENTITY, 5)], 10)
    assert len(sent) == 2 * 72
    for place, (family, flags) in enumerate([(socket.AF_INET, 0x1), (socket.AF_INET6, 0x5)]):
        header = struct.unpack_from("=IHHII", sent, 72 * place)
        assert header == (72, SOCK_DESTROY, flags, 10 + place, 0)  # the last one alone asks for an answer
        request = struct.unpack_from("=BBBBI48s", sent, 72 * place + 16)
        assert request == (family, socket.IPPROTO_TCP, 0, 0, 1 << TcpState.TIME_WAIT, IDENTITY)


WITHOUT_RIGHTS = """
import encodings.idna, os
from ftpstorm.lab import timewait
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
print(timewait.probe())
"""


def test_a_process_that_may_not_is_told_apart_from_a_kernel_that_cannot() -> None:
    said = subprocess.run(
        [sys.executable, "-c", WITHOUT_RIGHTS], capture_output=True, text=True, check=True, timeout=60, env=os.environ
    ).stdout
    assert "this process may not end TIME_WAIT sockets" in said
    assert "CAP_NET_ADMIN" in said
    assert "CONFIG_INET_DIAG_DESTROY" not in said
