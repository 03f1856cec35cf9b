"""docs/records.md is what the schema says, not what somebody remembered of it."""

from pathlib import Path

from ftpstorm.records.describe import describe
from ftpstorm.records.schema import OPERATIONS, SESSIONS


def test_the_page_in_docs_is_current() -> None:
    page = Path(__file__).parents[3] / "docs" / "records.md"
    assert page.read_text(encoding="utf-8") == describe(), "python -m ftpstorm.records.describe > docs/records.md"


def test_every_column_has_its_line() -> None:
    text = describe()
    for table in (SESSIONS, OPERATIONS):
        for column in table.columns:
            assert f"| `{column.name}` |" in text
