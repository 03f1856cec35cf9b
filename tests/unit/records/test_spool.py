"""Spools keep whole records, whatever the disk says, and never a record without the text that it names."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from ftpstorm.engine.journal import Journal
from ftpstorm.records import spool
from ftpstorm.records.schema import ABSENT, HEADER_BYTES, OPERATIONS, SAMPLES, TEXTS
from ftpstorm.records.spool import SpoolWriter, spool_path
from support.engine_run import read_spool

HEADER = {"writer": "w", "origin_ns": 0, "pid": 1}
write = os.write


def sample(number: int) -> tuple[Any, ...]:
    return (number, 1, float(number))


def test_a_disk_that_is_full_in_the_middle_of_a_record_and_has_room_later_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = spool_path(tmp_path, "w", SAMPLES)
    writer = SpoolWriter(path, SAMPLES, HEADER)
    room = 2 * writer.width + 5  # two records and a part of the third

    def full(fd: int, data: memoryview) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = write(fd, data[:room])
        room -= taken
        return taken

    for number in range(4):
        writer.append(*sample(number))
    monkeypatch.setattr(spool.os, "write", full)
    with pytest.raises(OSError, match="No space"):
        writer.flush()
    assert path.stat().st_size == HEADER_BYTES + 2 * writer.width, "whole records up to the fault"
    room = 1 << 20
    writer.append(*sample(4))
    assert writer.count == 5
    writer.close()
    assert [row["t_ns"] for row in read_spool(tmp_path, SAMPLES, "w")] == [0, 1, 2, 3, 4]


def test_texts_are_on_disk_before_the_records_that_fill_their_buffer_go(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "w", 0, {"pid": 1}, None)
    stamps = (0, ABSENT, ABSENT, ABSENT, ABSENT, 0)
    count = 0
    while not read_spool(tmp_path, OPERATIONS, "w"):
        number = journal.intern(f"550 file {count}: not found")
        journal.append_operation(0, count, 0, 0, 1, 2, 3, 4, 0, 1, 550, 0, number, 0, 0, 0, *stamps)
        count += 1
    named = {row["text"] for row in read_spool(tmp_path, OPERATIONS, "w")}
    known = {row["id"] for row in read_spool(tmp_path, TEXTS, "w")} | {0}
    assert named <= known
    journal.close()
