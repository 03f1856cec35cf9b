"""YAML 1.2 text as plain values, with the place of every key and value.

Owns syntax: duplicate keys, tags, anchors, `${NAME}` from the environment, the scalar types of the core schema (so `on`
is text and `97/s` needs no quotes). What the keys mean belongs to `ftpstorm.scenario.schema`.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from ftpstorm.errors import Problem

KeyPath = tuple[str | int, ...]
"""Keys and list indexes from the top of the document."""

VALUES_MAX: Final = 500_000
"""Values of one document, aliases expanded: a few lines of nested aliases must not fill memory."""

SHOWN_MAX: Final = 80
"""Characters of a value that a message repeats."""

_CORE_TAG: Final = "tag:yaml.org,2002:"
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_WORDS: Final[dict[str, Any]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf"), math.inf),
    "-.inf": -math.inf,
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
_VARIABLE = re.compile(r"\$\$\{|\$\{([^}]*)\}")
_VARIABLE_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
_SECRET = re.compile(r"passw(?:or)?d|passphrase|secret|token|(?:^|[-_])(?:pass|pw)(?:$|[-_])", re.IGNORECASE)
_SYNTAX_HINTS: Final = (
    (r"found character '\t'", "indent with spaces, not with tabs"),
    ("mapping values are not allowed here", "a text with a colon and a space in it needs quotes"),
    ("but found another document", "a file holds one scenario: remove the `---` between them"),
    ("found undefined alias", "a text that begins with * needs quotes"),
    ("but got '{'", 'inside { } a value with braces needs quotes, such as "${NAME}"'),
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was written: 1-based line and column of the file, or `origin` when it was not in the file."""

    line: int = 0
    column: int = 0
    origin: str | None = None


@dataclass(slots=True)
class Document:
    """A tree of dict, list and scalars, and where each of its keys and values stands. Owned by one loading."""

    value: Any = None
    keys: dict[KeyPath, Place] = field(default_factory=dict)
    values: dict[KeyPath, Place] = field(default_factory=dict)
    sources: dict[KeyPath, str] = field(default_factory=dict)
    """Scalars as they were written, before `${NAME}` was replaced."""

    def place(self, path: KeyPath, *, at_key: bool = False) -> Place:
        """Return the best place for a message about `path`: its scalar, else its key, else the nearest key above it."""
        by_key = at_key or not self.sources.get(path)  # an empty value has no place of its own
        first, second = (self.keys, self.values) if by_key else (self.values, self.keys)
        for length in range(len(path), 0, -1):
            found = first.get(path[:length]) or second.get(path[:length])
            if found is not None:
                return found
            first, second = self.keys, self.values
        return self.values.get((), Place(1, 1))

    def problem(self, path: KeyPath, message: str, hint: str | None = None, *, at_key: bool = False) -> Problem:
        """Return a Problem about `path` as written, with its place and, unless it is about the key, the value seen."""
        place = self.place(path, at_key=at_key)
        return Problem(
            message=message,
            path=render_path(path),
            line=place.line,
            column=place.column,
            value=None if at_key else self.shown(path),
            hint=hint,
            origin=place.origin,
        )

    def shown(self, path: KeyPath) -> str | None:
        """Return the scalar at `path` as it was written; None for a mapping or list, no value or a secret."""
        source = self.sources.get(path)
        if not source or is_secret(path):
            return None
        return source if len(source) <= SHOWN_MAX else source[: SHOWN_MAX - 3] + "..."

    def look(self, path: KeyPath, default: Any = None) -> Any:
        """Return the value at `path`, or `default` when there is none."""
        value = self.value
        for part in path:
            in_list = isinstance(value, list) and isinstance(part, int) and 0 <= part < len(value)
            if not in_list and not (isinstance(value, dict) and part in value):
                return default
            value = value[part]
        return value


def copy_document(document: Document) -> Document:
    """Return a document that can be changed without changing `document`."""
    return Document(copy.deepcopy(document.value), dict(document.keys), dict(document.values), dict(document.sources))


def is_secret(path: Iterable[str | int]) -> bool:
    """Tell whether the value under `path` may be a password, which no message repeats."""
    return any(
        isinstance(part, str) and _SECRET.search(part) is not None and not part.endswith(("_env", "_file"))
        for part in path
    )


def render_path(path: KeyPath) -> str:
    """Return the dotted form of a path, such as ``flows.download.steps.1.retr``."""
    return ".".join(str(part) for part in path)


def resolve_scalar(text: str) -> Any:
    """Return what an unquoted scalar means under YAML 1.2's core schema: null, bool, int, float or text."""
    if text in _WORDS:
        return _WORDS[text]
    try:
        if _INT.fullmatch(text):
            return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        if _FLOAT.fullmatch(text):
            return float(text)
    except ValueError:  # more digits than int() takes
        return text
    return text


def read_document(text: str, environment: Mapping[str, str]) -> tuple[Document, list[Problem]]:
    """Read YAML text; `environment` is what `${NAME}` in a scalar value refers to.

    Returns the document, as far as it can be read, and every problem found; broken syntax is one, and ends the reading.
    """
    try:
        root = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        return Document(), [_syntax_problem(error)]
    except YAMLError as error:
        return Document(), [Problem(f"not YAML text: {' '.join(str(error).split())}")]
    except RecursionError:
        return Document(), [Problem("nested too deeply")]
    if root is None:
        return Document(), [Problem("the file is empty", hint="ftpstorm init writes a file to start from")]
    reader = _Reader(environment)
    try:
        reader.document.value = reader.read(root, ())
    except _TooLargeError:
        reader.problems.append(Problem(f"more than {VALUES_MAX} values once aliases are expanded"))
    except RecursionError:
        reader.problems.append(Problem("nested too deeply"))
    return reader.document, reader.problems


def _syntax_problem(error: MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    what = error.problem or error.context or "not YAML"
    hint = next((advice for needle, advice in _SYNTAX_HINTS if needle in what), None)
    context = f" {error.context}," if error.context and error.context != what else ""
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
    return Problem(f"YAML syntax:{context} {what}", line=line, column=column, hint=hint)


class _TooLargeError(Exception):
    pass


class _Reader:
    """Turns composed nodes into values; gathers problems instead of raising."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.document = Document()
        self.problems: list[Problem] = []
        self._environment = environment
        self._open: set[int] = set()
        self._count = 0

    def read(self, node: Node, path: KeyPath) -> Any:
        self._count += 1
        if self._count > VALUES_MAX:
            raise _TooLargeError
        self.document.values[path] = _place(node)
        tag = str(node.tag or "")
        if not tag.startswith(_CORE_TAG):
            self._complain(node, path, f"unknown tag {tag}", "scenarios use no tags: remove it")
            return None
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        if id(node) in self._open:
            self._complain(node, path, "an alias to something that contains it")
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, SequenceNode):
                return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
            assert isinstance(node, MappingNode)
            return self._mapping(node, path)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: list[Node] = []
        for key, value in node.value:
            if str(key.tag).endswith(":merge"):
                merged.append(value)
                continue
            if not isinstance(key, ScalarNode):
                self._complain(key, path, "a key must be one word or text")
                continue
            name = str(key.value)
            here = (*path, name)
            if name in result:
                first = self.document.keys[here]
                hint = f"the first is on line {first.line}"
                self._complain(key, here, f"key {name!r} stands here a second time", hint)
                continue
            self.document.keys[here] = _place(key)
            result[name] = self.read(value, here)
        for source in merged:
            self._merge(source, result, path)
        return result

    def _merge(self, source: Node, result: dict[str, Any], path: KeyPath) -> None:
        if isinstance(source, SequenceNode):
            for item in source.value:
                self._merge(item, result, path)
        elif isinstance(source, MappingNode) and id(source) not in self._open:
            for key, value in source.value:
                name = str(key.value)
                if isinstance(key, ScalarNode) and name not in result:
                    self.document.keys[(*path, name)] = _place(key)
                    result[name] = self.read(value, (*path, name))
        else:
            self._complain(source, path, "`<<` takes an alias to a mapping, such as `<<: *base`")

    def _scalar(self, node: ScalarNode, path: KeyPath) -> Any:
        written = str(node.value)
        text = self._substitute(node, written, path) if "${" in written else written
        self.document.sources[path] = written
        forced = str(node.tag).endswith(":str") and text is written  # `!!str 5`, or text anyway
        return text if node.style is not None or forced else resolve_scalar(text)

    def _substitute(self, node: ScalarNode, written: str, path: KeyPath) -> str:
        def replace(match: re.Match[str]) -> str:
            if match[0] == "$${":
                return "${"
            name = _VARIABLE_NAME.fullmatch(match[1])
            if name is None:
                hint = "write ${NAME}, or $${ for a plain ${"
                self._complain(node, path, f"{match[0]!r} names no environment variable", hint)
                return ""
            value: str | None = self._environment.get(name[1], name[2])
            if value is None:
                hint = f"set it, or write ${{{name[1]}:-default}}"
                self._complain(node, path, f"environment variable {name[1]} is not set", hint)
                return ""
            return value

        return _VARIABLE.sub(replace, written)

    def _complain(self, node: Node, path: KeyPath, message: str, hint: str | None = None) -> None:
        place = _place(node)
        self.problems.append(Problem(message, render_path(path), place.line, place.column, hint=hint))


def _place(node: Node) -> Place:
    mark = node.start_mark
    return Place(mark.line + 1, mark.column + 1) if mark is not None else Place()
