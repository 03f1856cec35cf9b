"""The scenarios that come with ftpstorm: where they are, what their headers say, and how a name finds one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import ftpstorm
from ftpstorm.errors import UsageError
from ftpstorm.scenario.wording import closest

HEADER_LABELS: Final = ("What it shows", "Expect", "How long", "Privileges")
"""What the comment at the head of each gallery file says, in this order."""

_SUFFIXES: Final = (".yaml", ".yml")
_LABELLED: Final = re.compile(r"#\s?(?P<label>[A-Z][A-Za-z/]*(?: [A-Za-z/]+)*)(?:\s{2,}|:\s+)(?P<text>\S.*)")
_CONTINUED: Final = re.compile(r"#(?:\s{2,}(?P<text>\S.*))?")


@dataclass(frozen=True, slots=True)
class GalleryEntry:
    """One scenario of the gallery, as its file describes itself; "" for what the file does not say."""

    name: str
    description: str
    file: Path
    shows: str
    expect: str
    how_long: str
    privileges: str
    imitates: str
    """The incident that it stands for."""
    cannot_show: str
    needs: str
    """Server and network in words, such as ``vsftpd in a lab (pair)``."""
    variants: tuple[str, ...]
    offers: tuple[str, ...]
    """What else it is made for: ``sweep``, ``search``."""
    header: tuple[tuple[str, str], ...]
    """All labelled parts of the header, in order, such as ``("Before/after", "ftpstorm run ...")``."""


def gallery_folder() -> Path:
    """Return the folder of the gallery: package data, or the checkout's ``scenarios/`` in an editable install.

    Raises UsageError where neither is there.
    """
    package = Path(ftpstorm.__file__).resolve().parent
    checkout = package.parents[1]
    if (package / "gallery").is_dir():
        return package / "gallery"
    if (checkout / "pyproject.toml").is_file() and (checkout / "scenarios").is_dir():
        return checkout / "scenarios"
    raise UsageError("this installation of ftpstorm has no gallery; give the path of a scenario file")


def list_gallery(folder: Path | None = None) -> list[GalleryEntry]:
    """Return every scenario of the gallery (or of another folder), by name."""
    return [read_entry(file) for file in _files(folder or gallery_folder())]


def find_scenario(text: str, folder: Path | None = None) -> Path:
    """Return the file that `text` means: an existing file, else the one gallery name that it is a part of.

    An exact name wins over longer ones that contain it. Raises UsageError that lists the names when several match or
    none does.
    """
    if not text.strip():
        raise UsageError("give the path of a scenario file, or a part of a gallery name")
    as_file = Path(text)
    if as_file.is_file():
        return as_file
    if as_file.is_dir():
        raise UsageError(f"{text} is a folder; give a scenario file")
    if as_file.suffix in _SUFFIXES or "/" in text:
        raise UsageError(f"no file {text}{_suggest(text, folder)}")
    files = {file.stem: file for file in _files(folder or gallery_folder())}
    if text in files:
        return files[text]
    matches = [name for name in files if text.lower() in name.lower()]
    if len(matches) == 1:
        return files[matches[0]]
    if matches:
        raise UsageError(f"{text!r} is a part of several scenario names: {', '.join(matches)}; give more of it")
    match = closest(text, files)
    meant = f"did you mean {match!r}? " if match else ""
    raise UsageError(f"no file and no scenario of the gallery is named {text!r}; {meant}gallery: {', '.join(files)}")


def source_of(text: str) -> str:
    """Return what names the scenario that `text` means when it is asked for again: a path as it was given, the whole
    name of a scenario of the gallery. Raises UsageError."""
    file = find_scenario(text)
    return text if Path(text) == file else file.stem


def read_entry(file: Path) -> GalleryEntry:
    """Read what a scenario file says of itself, from its header comment and its `name` and `description` lines."""
    text = file.read_text(encoding="utf-8")
    header = parse_header(text)
    said = {label.lower(): words for label, words in header}
    shows, expect, how_long, privileges = (said.get(label.lower(), "") for label in HEADER_LABELS)
    from ftpstorm.scenario.document import read_document

    document, _ = read_document(text, {})
    value = document.value if isinstance(document.value, dict) else {}
    variants = value.get("variants")
    return GalleryEntry(
        name=file.stem,
        description=_words(value.get("description")),
        imitates=_words(value.get("imitates")),
        cannot_show=_words(value.get("cannot_show")),
        needs=_needs(value),
        variants=tuple(map(str, variants)) if isinstance(variants, dict) else (),
        offers=tuple(part for part in ("sweep", "search") if isinstance(value.get(part), dict)),
        file=file,
        shows=shows,
        expect=expect,
        how_long=how_long,
        privileges=privileges,
        header=header,
    )


def parse_header(text: str) -> tuple[tuple[str, str], ...]:
    """Return the labelled parts of the comment that opens a scenario file; indented lines continue a part.

    ``# How long        20 s`` is the part ``("How long", "20 s")``: label and text stand two or more spaces apart.
    """
    parts: list[tuple[str, str]] = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        labelled = _LABELLED.fullmatch(line.rstrip())
        continued = _CONTINUED.fullmatch(line.rstrip())
        if labelled is not None:
            parts.append((labelled["label"], " ".join(labelled["text"].split())))
        elif continued is not None and continued["text"] and parts:
            label, words = parts[-1]
            parts[-1] = (label, f"{words} {' '.join(continued['text'].split())}")
    return tuple(parts)


def _files(folder: Path) -> list[Path]:
    return sorted((file for file in folder.iterdir() if file.suffix in _SUFFIXES), key=lambda file: file.stem)


def _suggest(text: str, folder: Path | None) -> str:
    try:
        names = [file.stem for file in _files(folder or gallery_folder())]
    except UsageError:
        return ""
    match = closest(Path(text).stem, names)
    if match:
        return f"; the gallery has {match!r}: give that name without a path"
    return "; `ftpstorm init` writes a scenario to start from, `ftpstorm scenarios` lists what there is"


def _words(value: Any) -> str:
    """Return a text of the file on one line, "" for none."""
    return "" if value is None else " ".join(str(value).split())


def _needs(value: Mapping[str, Any]) -> str:
    """Return what a scenario runs against and in which network, as far as its file says it."""
    target, lab = value.get("target"), value.get("lab")
    known = target if isinstance(target, dict) else {}
    server = known.get("server")
    if server is not None:
        name = server.get("name", "a command of its own") if isinstance(server, dict) else server
        told = str(name)
    else:
        told = "the emulator" if "emulator" in known else "a server of yours" if "host" in known else ""
    if isinstance(lab, dict):
        told = f"{told} in a lab ({lab.get('topology', 'pair')})".strip()
    return told
