"""Which pages are made, or filled in, and from what. Pages written by hand keep all that stands outside their blocks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pages.causes import causes_page
from pages.errors import errors_page
from pages.keys import keys_page
from pages.options import COMMANDS, fill_options

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"

WHOLE: Final = {
    "reference/scenario.md": keys_page,
    "reference/causes.md": causes_page,
    "errors.md": errors_page,
}
"""Pages that are made as a whole, below docs/."""


def make(docs: Path = DOCS) -> Iterator[tuple[Path, str]]:
    """Yield each page's path and the text that it should have. Raises FileNotFoundError for a command without a page."""
    for name, page in WHOLE.items():
        yield docs / name, page()
    for command in COMMANDS:
        path = docs / "guide" / f"{command}.md"
        yield path, fill_options(path.read_text(encoding="utf-8"))
