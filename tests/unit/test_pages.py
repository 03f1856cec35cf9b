"""The pages under docs/ that are made from the code say what the code says, and leave nothing out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from ftpstorm.limits.servers import SERVERS
from ftpstorm.scenario.jsonschema import scenario_json_schema
from ftpstorm.vocabulary import FAILURE_CLASSES, Cause
from pages.build import ROOT, fill_navigation, make
from pages.causes import causes_page
from pages.errors import errors_page
from pages.keys import keys_page
from pages.options import COMMANDS, fill_options

MADE: Final = {path.relative_to(ROOT).as_posix(): text for path, text in make()}


@pytest.mark.parametrize("name", MADE)
def test_a_page_is_as_the_code_has_it(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == MADE[name], (
        f"{name} differs from the code; if the code is right: scripts/reference"
    )


@pytest.mark.parametrize("name", MADE)
def test_no_template_is_left_on_a_page(name: str) -> None:
    prose = re.sub(r"```.*?```", "", MADE[name], flags=re.DOTALL)
    called = re.findall(r"\{[^{}\s]*[(\[][^{}]*\}|\{[a-z_]+(?:\.[a-z_]+)+\}", re.sub(r"`[^`\n]*`", "", prose))
    assert called == [], "an f-string without its f?"


def test_every_failure_class_and_every_reply_of_a_known_server_can_be_looked_up() -> None:
    page = errors_page()
    assert [each.word for each in FAILURE_CLASSES if f"\n### {each.word}\n" not in page] == []
    replies = [answer for server in SERVERS.values() for answer in (server.full, server.cap) if answer is not None]
    assert [reply.text for reply in replies if f"`{reply.code} {reply.text}`" not in page] == []


def test_every_cause_has_a_section() -> None:
    page = causes_page()
    assert [cause.value for cause in Cause if f"\n## {cause.value}\n" not in page] == []


def test_every_key_of_the_schema_stands_on_the_page() -> None:
    page, missing = keys_page(), []
    for name, definition in scenario_json_schema()["$defs"].items():
        for part in (definition, *definition.get("anyOf", ())):
            missing += [f"{name}.{key}" for key in part.get("properties", {}) if f"`{key}`" not in page]
    assert missing == []


def test_every_section_of_the_keys_is_there_once() -> None:
    headings = [line for line in keys_page().splitlines() if line.startswith("## ")]
    assert len(headings) == len(set(headings))


def test_a_page_of_a_command_keeps_what_was_written_by_hand() -> None:
    page = "before\n<!-- options:init -->\nold\n<!-- end -->\nbetween\n<!-- examples:init -->\n<!-- end -->\nafter\n"
    filled = fill_options(page)
    assert filled.startswith("before\n")
    assert filled.endswith("<!-- end -->\nafter\n")
    assert "\nbetween\n" in filled
    assert "old" not in filled
    assert "| `--in` `DIR` | Where to write NAME.yaml. | `.` |" in filled


def test_a_page_of_a_command_without_a_block_is_an_error() -> None:
    with pytest.raises(ValueError, match="options"):
        fill_options("<!-- examples:init -->\n<!-- end -->\n")


def test_every_command_has_a_page_in_the_sites_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [command for command in COMMANDS if f"{command}: docs/guide/{command}.md\n" not in navigation] == []


def test_every_page_is_in_the_sites_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").rglob("*.md"))]
    assert [page for page in pages if f"{page}\n" not in navigation] == []


def test_a_folders_pages_are_listed_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "docs" / "stories"
    folder.mkdir(parents=True)
    for name in ("2-b.md", "1-a.md", "picture.png"):
        (folder / name).touch()
    text = "nav:\n  - S:\n      # pages of docs/stories\n      - old.md\n      # end\n  - x.md\n"
    assert fill_navigation(text, tmp_path) == (
        "nav:\n  - S:\n      # pages of docs/stories\n      - docs/stories/1-a.md\n      - docs/stories/2-b.md\n"
        "      # end\n  - x.md\n"
    )
