"""Options that differ between sessions: lists that sessions take in turn, and variables in texts.

A step's `file`, `path` or `size` may be a list, and its texts may hold ``{session}``, ``{operation}``, ``{worker}``,
``{user}`` and the scenario's own `vars`. Which values a session sees is a pure function of its number, so that shards
agree and the simulation knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, TypeVar

from ftpstorm.scenario.variables import VARIABLE, has_variables

FIELDS: Final = ("file", "path", "retr", "size")
"""Options that may be a list, or a text with variables."""

Options = TypeVar("Options")


def varying(options: object) -> tuple[str, ...]:
    """Return the names of the options of a step that differ between sessions; empty where none does."""
    return tuple(field for field in FIELDS if _varies(getattr(options, field, None)))


def _varies(value: object) -> bool:
    return isinstance(value, tuple) or (isinstance(value, str) and has_variables(value))


def fill(options: Options, fields: tuple[str, ...], turn: int, value_of: Callable[[str], str]) -> Options:
    """Return options whose `fields` are settled: of a list entry `turn`, counted round and round; variables by value.

    `value_of` gives a variable's value by its name.
    """
    # A model_copy would cost more than all the rest of an upload's commands; what is read here are plain attributes.
    values: dict[str, Any] = dict(options.__dict__)
    for field in fields:
        value = values[field]
        if isinstance(value, tuple):
            value = value[turn % len(value)]
        values[field] = fill_text(value, value_of) if isinstance(value, str) else value
    filled: Options = object.__new__(type(options))
    object.__setattr__(filled, "__dict__", values)
    return filled


def fill_text(text: str, value_of: Callable[[str], str]) -> str:
    """Return `text` with its variables replaced; ``{{`` and ``}}`` stand for braces."""
    return "".join([value_of(part) if is_name else part for part, is_name in _parts(text)])


@lru_cache(maxsize=1024)
def _parts(text: str) -> tuple[tuple[str, bool], ...]:
    """Return the pieces of a text: each either to be taken as it is, or a variable's name (True)."""
    parts: list[tuple[str, bool]] = []
    end = 0
    for match in VARIABLE.finditer(text):
        parts.append((text[end : match.start()], False))
        parts.append((match[1], True) if match[1] else (match[0][0], False))
        end = match.end()
    parts.append((text[end:], False))
    return tuple(part for part in parts if part[0])


def own_value(variables: Mapping[str, str | tuple[str, ...]], name: str, session: int) -> str:
    """Return the value that session number `session` has of `name` in the scenario's `vars`: of a list, one in turn.

    Raises KeyError for a name that is not there: the loader has refused it before.
    """
    value = variables[name]
    return value if isinstance(value, str) else value[session % len(value)]
