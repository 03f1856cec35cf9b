"""Facts of a host, from a procfs of our own and from this machine's."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.sampler.hostfacts import CpuFile, CpuTimes, parse_cpu_times, read_host_facts

STAT = b"cpu  100 20 30 5000 40 5 6 70 8 0\ncpu0 1 2 3 4 5 6 7 8 9 0\nintr 1\n"


def procfs(root: Path, **sysctls: str) -> Path:
    for name, text in {"net/ipv4/ip_local_port_range": "32768\t60999\n", **sysctls}.items():
        path = root / "sys" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_busy_is_all_work_and_steal_stands_apart() -> None:
    assert parse_cpu_times(STAT, 100) == CpuTimes(busy_s=1.61, steal_s=0.70)


def test_a_kernel_that_does_not_count_steal_gives_none_not_zero() -> None:
    assert parse_cpu_times(b"cpu 100 0 0 0\n", 100) == CpuTimes(1.0, None)


@pytest.mark.parametrize("text", [b"", b"cpu", b"cpu 1 2 3 4", b"cpu0 1 2 3 4 5\n", b"cpu 1 2 x 4\n", b"intr 1\n"])
def test_anything_else_is_none(text: bytes) -> None:
    assert parse_cpu_times(text, 100) is None


@given(st.binary(max_size=100))
def test_no_bytes_make_it_raise(text: bytes) -> None:
    parse_cpu_times(text, 100)


def test_a_stat_file_that_is_not_there_reads_none(tmp_path: Path) -> None:
    file = CpuFile(tmp_path / "stat")
    assert file.read() is None
    file.close()


def test_facts_come_from_the_sysctls(tmp_path: Path) -> None:
    facts = read_host_facts(
        procfs(
            tmp_path,
            **{
                "net/ipv4/ip_local_reserved_ports": "21,40000-40009\n",
                "net/ipv4/tcp_tw_reuse": "2\n",
                "net/ipv4/tcp_timestamps": "1\n",
                "net/core/somaxconn": "4096\n",
            },
        )
    )
    assert facts.port_range == (32768, 60999)
    assert facts.reserved_ports == 10
    assert (facts.tcp_tw_reuse, facts.tcp_timestamps, facts.somaxconn) == (2, 1, 4096)


def test_what_a_host_does_not_say_is_none(tmp_path: Path) -> None:
    facts = read_host_facts(tmp_path)
    assert facts.port_range is None
    assert facts.reserved_ports is None
    assert facts.tcp_tw_reuse is None
    assert read_host_facts(procfs(tmp_path)).reserved_ports is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_this_host_says_all_but_its_name() -> None:
    facts = read_host_facts()
    assert facts.port_range is not None
    assert facts.reserved_ports is not None
    assert facts.somaxconn is not None
    assert facts.cpu_count is not None
    assert 1 <= facts.cpu_count <= (os.cpu_count() or 1)
    assert facts.kernel == os.uname().release
    assert facts.hostname_hash is not None
    assert os.uname().nodename != facts.hostname_hash
    assert len(facts.hostname_hash) == 16
    assert facts == read_host_facts()
