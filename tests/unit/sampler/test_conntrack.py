"""/proc/net/stat/nf_conntrack: sums over processors, by column name, of what is whole."""

from __future__ import annotations

import os

import pytest

from ftpstorm.sampler.conntrack import ConntrackFiles, parse_conntrack

TEXT = b"""\
entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error
000001f4  00000000 00000a0f 00000000 00000001 00000000 00000000 00000003 00000000 00000258 00000258 00000000 00000000
000001f4  00000001 00000001 00000000 00000000 00000000 00000000 00000003 00000000 00000001 00000002 00000000 00000000
"""


def test_counters_are_hexadecimal_and_summed_over_processors() -> None:
    found = parse_conntrack(TEXT)
    assert found["conntrack.insert_failed"] == 601
    assert found["conntrack.drop"] == 602
    assert found["conntrack.found"] == 0xA10
    assert found["conntrack.clashres"] == 1


def test_entries_are_not_summed_since_every_line_repeats_the_whole() -> None:
    assert "conntrack.entries" not in parse_conntrack(TEXT)


def test_a_column_that_this_kernel_lacks_is_absent() -> None:
    assert "conntrack.search_restart" not in parse_conntrack(TEXT)


@pytest.mark.parametrize("end", range(len(TEXT)))
def test_a_text_cut_anywhere_gives_whole_lines_or_nothing(end: int) -> None:
    sums = [0, 0, 0x258, 601]
    assert parse_conntrack(TEXT[:end]).get("conntrack.insert_failed", 0) == sums[TEXT[:end].count(b"\n")]


@pytest.mark.parametrize("text", [b"", b"\n", b"entries drop\n", b"entries drop\n1 x\n", b"\xff\xfe\n\x00"])
def test_what_is_no_such_file_gives_nothing(text: bytes) -> None:
    assert parse_conntrack(text) == {}


def test_reading_twice_and_closing_twice_is_allowed() -> None:
    with ConntrackFiles() as files:
        first, second = files.read(), files.read()
        assert first.keys() == second.keys()
        assert (files.missing is None) == bool(first)
        files.close()
        assert files.read() == {}


def test_a_file_that_the_kernel_hands_out_by_the_page_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def by_the_page(descriptor: int, size: int, offset: int = 0) -> bytes:
        return TEXT[offset : offset + 130]  # a line, and a part of the next

    files = ConntrackFiles()
    files.close()
    files._counters = os.open(os.devnull, os.O_RDONLY)
    with files, monkeypatch.context() as patched:
        patched.setattr(os, "pread", by_the_page)
        assert files.read()["conntrack.insert_failed"] == 601
