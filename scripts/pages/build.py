"""Which pages are made, or filled in, and from what. Pages written by hand keep what stands outside their blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pages.causes import causes_page
from pages.errors import errors_page
from pages.keys import keys_page
from pages.options import COMMANDS, fill_options

ROOT: Final = Path(__file__).resolve().parents[2]

WHOLE: Final = {
    "docs/reference/scenario.md": keys_page,
    "docs/reference/causes.md": causes_page,
    "docs/errors.md": errors_page,
}
"""Pages that are made as a whole."""

_LISTED: Final = re.compile(r"( *)# pages of (\S+)\n.*?( *)# end\n", re.DOTALL)


def make(root: Path = ROOT) -> Iterator[tuple[Path, str]]:
    """Yield each page's path and the text it should have. Raises FileNotFoundError for a command without a page."""
    for name, page in WHOLE.items():
        yield root / name, page()
    for command in COMMANDS:
        path = root / "docs" / "guide" / f"{command}.md"
        yield path, fill_options(path.read_text(encoding="utf-8"))
    site = root / "mkdocs.yml"
    yield site, fill_navigation(site.read_text(encoding="utf-8"), root)


def fill_navigation(text: str, root: Path) -> str:
    """Return mkdocs.yml with the pages of a folder listed between `# pages of FOLDER` and `# end`, by their names."""

    def listed(found: re.Match[str]) -> str:
        indent, folder = found[1], found[2]
        pages = sorted((root / folder).glob("*.md"))
        lines = [f"{indent}- {path.relative_to(root).as_posix()}\n" for path in pages]
        return f"{indent}# pages of {folder}\n{''.join(lines)}{found[3]}# end\n"

    return _LISTED.sub(listed, text)
