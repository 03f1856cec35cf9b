"""Checks of a download's bytes, chunk by chunk."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.emulator.files import content_blocks
from ftpstorm.engine.data import CHUNK_BYTES
from ftpstorm.engine.verification import LINE, PATTERN, DigestCheck, PatternCheck, check_of


@given(
    size=st.integers(0, 5_000),
    offset=st.integers(0, 200),
    cuts=st.lists(st.integers(1, 700), max_size=20),
    flip=st.integers(0, 5_000) | st.none(),
)
def test_the_pattern_is_the_emulators_from_any_offset_however_it_is_cut(
    size: int, offset: int, cuts: list[int], flip: int | None
) -> None:
    payload = bytearray(b"".join(content_blocks(offset + size, offset)))
    changed = flip is not None and flip < len(payload)
    if changed and flip is not None:
        payload[flip] ^= 1
    check = PatternCheck(offset)
    at = 0
    for cut in (*cuts, len(payload)):
        check.feed(memoryview(payload)[at : at + cut])
        at += cut
    assert check.holds is not changed


def test_a_whole_chunk_from_the_end_of_a_line_lies_in_the_pattern() -> None:
    assert len(PATTERN) >= CHUNK_BYTES + len(LINE)


def test_a_digest_takes_all_chunks() -> None:
    check = DigestCheck(hashlib.sha256(b"abcdef").hexdigest())
    check.feed(memoryview(b"abc"))
    assert not check.holds
    check.feed(memoryview(b"def"))
    assert check.holds


def test_only_what_looks_at_bytes_costs_a_check() -> None:
    assert check_of(None, 0) is None
    assert check_of("size", 0) is None
