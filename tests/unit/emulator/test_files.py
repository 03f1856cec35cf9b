"""Rules of the synthetic files."""

from __future__ import annotations

import tracemalloc
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.emulator.files import BLOCK_BYTES, LINE, Catalogue, content_blocks, resolve_path

ROOT = PurePosixPath("/")


@given(st.integers(0, 3 * BLOCK_BYTES + 5), st.integers(0, 3 * BLOCK_BYTES + 9))
def test_content_from_an_offset_is_the_tail_of_the_whole_content(size: int, offset: int) -> None:
    whole = (LINE * (size // len(LINE) + 1))[:size]
    blocks = list(content_blocks(size, offset))
    assert b"".join(blocks) == whole[offset:]
    assert all(0 < len(block) <= BLOCK_BYTES for block in blocks)


def test_a_file_of_any_size_costs_no_memory() -> None:
    tracemalloc.start()
    try:
        assert sum(len(block) for block in content_blocks(2**30)) == 2**30
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_text_lines_survive_type_a() -> None:
    assert LINE.endswith(b"\r\n")
    assert LINE.count(b"\n") == LINE.count(b"\r") == 1


def test_directories_follow_from_names() -> None:
    catalogue = Catalogue({"a.bin": 1, "d/e/b.bin": 2, "/d/c.bin": 3})
    assert catalogue.names(ROOT) == ("a.bin", "d")
    assert catalogue.names(ROOT / "d") == ("e", "c.bin")
    assert catalogue.is_directory(ROOT / "d/e")
    assert catalogue.size(ROOT / "d/e/b.bin") == 2
    assert catalogue.size(ROOT / "d") is None
    assert not catalogue.is_directory(ROOT / "a.bin")


@pytest.mark.parametrize("files", [{"": 1}, {"/": 1}, {"a/../b": 1}, {"a\r\nb": 1}, {"a": -1}, {"a": 1, "a/b": 1}])
def test_names_that_cannot_be_are_refused(files: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"name|size|directory"):
        Catalogue(files)


@pytest.mark.parametrize(
    ("directory", "argument", "path"),
    [
        ("/", "a", "/a"),
        ("/d", "", "/d"),
        ("/d", "a", "/d/a"),
        ("/d", "/a", "/a"),
        ("/d", "//a", "/a"),
        ("/d/e", "../a", "/d/a"),
        ("/d", "../../../a", "/a"),
        ("/", ".", "/"),
    ],
)
def test_arguments_are_resolved_against_the_directory(directory: str, argument: str, path: str) -> None:
    assert resolve_path(PurePosixPath(directory), argument) == PurePosixPath(path)
