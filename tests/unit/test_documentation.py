"""README and docs: links lead somewhere, commands are the program's own, and the scenarios shown can be run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import pytest
from typer.main import get_command

from ftpstorm.cli.entry import new_app
from ftpstorm.scenario.loader import load_text

ROOT: Final = Path(__file__).resolve().parents[2]
PAGES: Final = tuple(
    path.relative_to(ROOT).as_posix()
    for path in (*sorted(ROOT.glob("*.md")), ROOT / "results" / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
)
FENCED: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK: Final = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
APP: Final[Any] = get_command(new_app())


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def places(path: Path) -> set[str]:
    """The fragments of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading.strip().lower())) for heading in headings}


def dead_links(path: Path) -> Iterator[str]:
    for link in LINK.findall(FENCED.sub("", path.read_text(encoding="utf-8"))):
        if "://" in link:
            continue
        file, _, place = link.partition("#")
        target = (path.parent / unquote(file)).resolve() if file else path
        if not target.exists() or (place and place not in places(target)):
            yield link


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings_that_are_there(page: str) -> None:
    assert list(dead_links(ROOT / page)) == []


@pytest.mark.parametrize("link", ["gone.md", "there.md#gone", "#gone", "pic.png"])
def test_a_dead_link_is_found(link: str, tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# A heading: of `code`\n")
    page = tmp_path / "page.md"
    page.write_text(f"# Top\n[a](there.md) [b](there.md#a-heading-of-code) [c](#top) ![d]({link})\n")
    assert list(dead_links(page)) == [link]


def commands(page: str) -> Iterator[list[str]]:
    """Each ftpstorm command line in a page's blocks of shell."""
    for language, block in FENCED.findall(text_of(page)):
        if language not in ("sh", "console", "bash"):
            continue
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words and words[0] == "ftpstorm":
                yield words[1:]


def unknown_word(words: list[str]) -> str | None:
    """The first word of a command line that the program does not know. After `--` or a pipe comes another program."""
    command = APP.commands.get(words[0])
    rest = words[1:]
    if words[0].startswith("-"):
        command, rest = APP, words
    elif command is not None and hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        command, rest = command.commands.get(rest[0]), rest[1:]
    if command is None:
        return " ".join(words[:2])
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    known |= {"--help", "-h"}
    for word in rest:
        if word in ("--", "|", ">", ">>", "&&", ";"):
            return None
        if word.startswith("-") and word.partition("=")[0] not in known:
            return word
    return None


@pytest.mark.parametrize("page", [page for page in PAGES if any(commands(page))])
def test_commands_in_a_page_are_the_programs_own(page: str) -> None:
    wrong = {" ".join(words): unknown_word(words) for words in commands(page)}
    assert {line: word for line, word in wrong.items() if word is not None} == {}


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("run x --fast", "--fast"),
        ("fly", "fly"),
        ("run x --set a=b", None),
        ("lab run -- ss -tan", None),
        ("lab fly", "lab fly"),
        ("scenarios --json | jq -r .", None),
    ],
)
def test_an_unknown_command_or_option_is_found(line: str, word: str | None) -> None:
    assert unknown_word(line.split()) == word


SCENARIOS: Final = [
    pytest.param(page, block, id=f"{page}-{number}")
    for page in PAGES
    for number, (language, block) in enumerate(FENCED.findall(text_of(page)))
    if language == "yaml" and block.startswith("version:")
]


@pytest.mark.parametrize(("page", "block"), SCENARIOS)
def test_scenarios_in_a_page_are_valid(page: str, block: str) -> None:
    assert load_text(block, page).scenario.name


def site(folder: Path, body: str) -> subprocess.CompletedProcess[str]:
    folder.mkdir()
    (folder / "index.html").write_text(f"<html><body><h1 id='top'>x</h1>{body}</body></html>")
    (folder / "style.css").touch()
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "check-site"), str(folder)], capture_output=True, text=True, timeout=60
    )


def test_a_site_whose_links_are_whole_passes(tmp_path: Path) -> None:
    body = (
        "<a href='#top'>a</a><a href='index.html#top'>b</a><a href='https://example.org/'>c</a><link href='style.css'>"
    )
    done = site(tmp_path / "site", body)
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("<a href='gone.html'>a</a>", "gone.html leads nowhere"),
        ("<a href='#gone'>a</a>", "#gone: no such place"),
        ("<img src='gone.png'>", "gone.png leads nowhere"),
        ("<script src='https://example.org/x.js'></script>", "loads https://example.org/x.js"),
        ("<link rel='stylesheet' href='//fonts.example.org/x.css'>", "loads //fonts.example.org/x.css"),
    ],
)
def test_a_site_with_a_dead_link_or_a_foreign_part_does_not_pass(body: str, told: str, tmp_path: Path) -> None:
    done = site(tmp_path / "site", body)
    assert done.returncode == 1
    assert told in done.stdout
