"""Settings on top of a file: `--set a.b=c` and a variant's `set:`, applied to the document before it is validated.

A dotted key walks mappings and lists (`flows.download.steps.1.retr.file`), through shorthands too: `retr: small.bin`
becomes `retr: {file: small.bin}` when a setting reaches inside. Whether the result makes sense is validation's part.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ftpstorm.errors import Problem
from ftpstorm.scenario.document import Document, KeyPath, Place, is_secret, read_document, render_path
from ftpstorm.scenario.flow import Shorthand, Step
from ftpstorm.scenario.schema import Scenario
from ftpstorm.scenario.shapes import MISSING, as_model, child, discriminator, list_item, mapping_value, model_at
from ftpstorm.scenario.wording import did_you_mean


@dataclass(frozen=True, slots=True)
class Override:
    """One `--set` of the command line, read but not applied."""

    text: str
    """As the user wrote it, a password masked."""
    keys: tuple[str, ...]
    value: Document


class AssignmentError(Exception):
    """A dotted key that leads nowhere."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        self.message = message
        self.hint = hint
        super().__init__(message)


def split_keys(dotted: str) -> tuple[str, ...]:
    """Split ``a.b."c.d"`` into its keys; a part in single or double quotes keeps its dots.

    Raises ValueError for an empty key or an open quote.
    """
    parts: list[str] = [""]
    quote = ""
    for letter in dotted:
        if quote:
            if letter == quote:
                quote = ""
            else:
                parts[-1] += letter
        elif letter in "\"'":
            quote = letter
        elif letter == ".":
            parts.append("")
        else:
            parts[-1] += letter
    if quote:
        raise ValueError(f"no closing {quote}")
    if not all(parts):
        raise ValueError("an empty key")
    return tuple(parts)


def parse_override(text: str, environment: Mapping[str, str]) -> tuple[Override | None, list[Problem]]:
    """Read one ``a.b=c``, its value as YAML. Returns None and the problems where it cannot be read."""
    dotted, equals, value_text = _split_assignment(text)
    try:
        keys = split_keys(dotted)
    except ValueError as error:
        hint = "write a dotted key and a value, such as load.steady.rate=5/s"
        return None, [Problem(str(error), hint=hint, origin=f"--set {text if equals else dotted}")]
    shown = f"--set {dotted}=***" if is_secret(keys) else f"--set {text}"
    if not equals:
        return None, [Problem("has no value", hint=f"write {dotted}=VALUE", origin=shown)]
    document, problems = read_document(value_text if value_text.strip() else "null", environment)
    here = render_path(keys)
    place = Place(origin=shown)
    if problems:
        return None, [replace(problem, path=here, line=0, column=0, origin=shown) for problem in problems]
    document.keys = dict.fromkeys(document.keys, place)
    document.values = dict.fromkeys(document.values, place)
    return Override(shown, keys, document), []


def _split_assignment(text: str) -> tuple[str, str, str]:
    quote = ""
    for index, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter == "=":
            return text[:index].strip(), "=", text[index + 1 :]
    return text.strip(), "", ""


def assign(target: Document, keys: Sequence[str], source: Document, source_path: KeyPath = ()) -> KeyPath:
    """Put what stands at `source_path` of `source` under the dotted `keys` of `target`; its places come along.

    Returns the path that was set. Raises AssignmentError when the keys lead through something that has none.
    """
    path: KeyPath = ()
    annotation: Any = Scenario
    origin = source.keys.get(source_path) or source.values.get(source_path, Place())
    rest = tuple(keys)
    if target.value is None:
        target.value = {}
    while True:
        value = target.look(path, MISSING)
        value = _opened(target, path, value, annotation, rest[0], origin)
        key, taken = _next_key(path, value, annotation, rest)
        rest = rest[taken:]
        annotation = child(annotation, value, key)
        if annotation is MISSING:
            annotation = Any
        path = (*path, key)
        if not rest:
            _graft(target, path, source, source_path, origin)
            return path


def _opened(target: Document, path: KeyPath, value: Any, annotation: Any, key: str, origin: Place) -> Any:
    """Return the container at `path`, made from a shorthand or from nothing where the schema has one there."""
    if isinstance(value, dict | list):
        return value
    model = as_model(annotation) or model_at(annotation, {})
    opened: dict[str, Any] = {}
    moved: str | None = None
    if model is Step and isinstance(value, str):
        opened = {value: {}}
        target.keys[(*path, value)] = target.values[(*path, value)] = target.place(path)
    elif model is not None and issubclass(model, Shorthand) and value not in (None, MISSING):
        moved = model.scalar_field()
        if moved is None:
            raise AssignmentError(f"`{render_path(path)}` has no key {key!r}", "it has no options")
        opened = {moved: value}
    elif list_item(annotation) is not MISSING and key.isdigit() and value not in (None, MISSING):
        _replace_value(target, path, [value])
        return target.look(path)
    elif model is None and mapping_value(annotation) is MISSING and value not in (None, MISSING):
        raise AssignmentError(f"`{render_path(path)}` is a single value, it has no key {key!r}")
    if moved is not None:
        inner = (*path, moved)
        target.keys[inner] = target.values[inner] = target.values[path]
        target.sources[inner] = target.sources[path]
    target.sources.pop(path, None)
    if value is MISSING:
        target.keys[path] = target.values[path] = origin
    _replace_value(target, path, opened)
    return target.look(path)


def _next_key(path: KeyPath, value: Any, annotation: Any, rest: tuple[str, ...]) -> tuple[str | int, int]:
    """Return the next key of the walk, and how many of `rest` it takes: keys of free mappings may hold dots."""
    if isinstance(value, list):
        if not rest[0].isdigit() or int(rest[0]) >= len(value):
            hint = f"items: 0 to {len(value) - 1}" if value else "the list is empty"
            raise AssignmentError(f"`{render_path(path)}` is a list and has no item {rest[0]!r}", hint)
        return int(rest[0]), 1
    if model_at(annotation, value) is not None or as_model(annotation) is not None:
        return rest[0], 1
    for taken in range(len(rest), 0, -1):
        if ".".join(rest[:taken]) in value:
            return ".".join(rest[:taken]), taken
    inner = mapping_value(annotation)
    if (
        inner is not MISSING
        and as_model(inner) is None
        and model_at(inner, {}) is None
        and discriminator(inner) is None
    ):
        return ".".join(rest), len(rest)
    if len(rest) > 1 and path and inner is not MISSING:
        raise AssignmentError(
            f"`{render_path(path)}` has no {rest[0]!r}", did_you_mean(rest[0], [str(key) for key in value], "names")
        )
    return rest[0], 1


def _replace_value(document: Document, path: KeyPath, value: Any) -> None:
    if not path:
        document.value = value
        return
    parent = document.look(path[:-1])
    parent[path[-1]] = value


def _graft(target: Document, path: KeyPath, source: Document, source_path: KeyPath, origin: Place) -> None:
    depth = len(path)
    for table in (target.keys, target.values, target.sources):
        for known in [key for key in table if key[:depth] == path]:
            del table[known]
    _replace_value(target, path, copy.deepcopy(source.look(source_path)))
    cut = len(source_path)
    for mine, theirs in ((target.keys, source.keys), (target.values, source.values)):
        mine.update({(*path, *key[cut:]): place for key, place in theirs.items() if key[:cut] == source_path})
    target.sources.update(
        {(*path, *key[cut:]): text for key, text in source.sources.items() if key[:cut] == source_path}
    )
    target.keys[path] = origin
