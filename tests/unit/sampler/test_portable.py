"""psutil's view: rows that a census can count, and processes that may be gone at any moment."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest

from ftpstorm.sampler.portable import ProcessReader, read_rows, row_of
from ftpstorm.vocabulary import TcpState


def entry(status: str, remote: tuple[str, int] | tuple[()] = ()) -> SimpleNamespace:
    return SimpleNamespace(family=socket.AF_INET, status=status, laddr=("127.0.0.1", 21), raddr=remote)


def test_a_connection_becomes_a_row_without_queue_lengths() -> None:
    row = row_of(entry(psutil.CONN_TIME_WAIT, ("10.0.0.2", 40_000)))
    assert row == (socket.AF_INET, TcpState.TIME_WAIT, 21, 40_000, bytes([10, 0, 0, 2]) + bytes(12), b"")


def test_a_listener_has_no_remote_end() -> None:
    assert row_of(entry(psutil.CONN_LISTEN)) == (socket.AF_INET, TcpState.LISTEN, 21, 0, bytes(16), b"")


@pytest.mark.parametrize("status", [psutil.CONN_CLOSE, psutil.CONN_NONE, "DELETE_TCB"])
def test_what_holds_no_tcp_port_is_left_out(status: str) -> None:
    assert row_of(entry(status)) is None


def test_our_own_listener_is_among_the_rows() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert [row[1] for row in read_rows() if row[2] == port] == [TcpState.LISTEN]


def test_a_living_process_is_read() -> None:
    reading = ProcessReader({"self": os.getpid()}).read()["self"]
    assert reading is not None
    assert reading.cpu_s > 0
    assert reading.rss_bytes > 1_000_000
    with socket.socket():
        more = ProcessReader({"self": os.getpid()}).read()["self"]
    assert reading.files is not None
    assert more is not None
    assert more.files == reading.files + 1


def test_a_process_that_is_gone_reads_none_and_raises_nothing() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert child.stdin is not None
    reader = ProcessReader({"child": child.pid})
    assert reader.read()["child"] is not None
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie now: it has ended and nobody has buried it
    assert reader.read() == {"child": None}
    child.wait()
    assert reader.read() == {"child": None}


def test_a_pid_that_never_was_reads_none() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert ProcessReader({"child": child.pid}).read() == {"child": None}
