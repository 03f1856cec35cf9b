"""The page about limits shows what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftpstorm.limits.tables import TABLES, fill

PAGE = Path(__file__).resolve().parents[3] / "docs" / "theory" / "limits.md"


def test_the_pages_tables_are_the_codes() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert fill(page) == page, (
        "docs/theory/limits.md differs from the code; if the code is right: scripts/theory-tables"
    )


def test_the_page_has_every_table() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert all(f"<!-- table:{name} -->" in page for name in TABLES)


def test_a_block_without_an_end_is_an_error() -> None:
    with pytest.raises(ValueError, match="profiles"):
        fill("<!-- table:profiles -->\n| x |\n")


def test_what_stands_around_a_table_stays() -> None:
    filled = fill("before\n<!-- table:closing -->\nold\n<!-- end -->\nafter\n")
    assert filled.startswith("before\n")
    assert filled.endswith("<!-- end -->\nafter\n")
    assert "old" not in filled
    assert "| RETR | server |" in filled
