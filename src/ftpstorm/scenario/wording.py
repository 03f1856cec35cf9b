"""Plain words for what is wrong with a scenario: message and remedy for each kind of validation error.

Knows pydantic's error types and the schema's choices; where an error stands is `ftpstorm.scenario.shapes`' part.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter
from pydantic_core import ErrorDetails

from ftpstorm.scenario.document import is_secret
from ftpstorm.scenario.flow import Shorthand, Step
from ftpstorm.scenario.shapes import Located, as_model, choices, keys_of, model_at, tagged_models

PATTERN_WORDS: Final[Mapping[str, str]] = {
    r"^\d+-\d+$": "a range of ports such as 10000-10019",
    r"^\d+(-\d+)?$": "a port such as 22, or a range such as 10000-10019",
    r"^\d+(\.\d+)?[kmg]?bit$": "bits a second such as 512kbit or 100mbit",
    r"^[a-z0-9][a-z0-9-]*$": "lower-case letters, digits and hyphens",
    r"^[^.]+(\.\d+[a-z]+)?\.\.[^.]+": "two durations such as 2s..30s",
    r"^(size|pattern|sha256:[0-9a-f]{64})$": "size, pattern, or sha256: and 64 lower-case hex digits",
}
"""What each text pattern of the schema asks for."""

_NO_SECRETS: Final = "a scenario holds no password; name a variable with password_env or a file with password_file"

_QUOTED: Final = re.compile(r"'([^']+)'")

Words = tuple[str, str | None]


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that `word` was probably meant to be; case, `-` and `_` make no difference."""
    plain = {item.lower().replace("_", "-"): item for item in known}
    found = difflib.get_close_matches(word.lower().replace("_", "-"), plain, n=1, cutoff=0.6)
    return plain[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str], kind: str) -> str:
    """Return a remedy: the closest of the known words, or all of them (`kind` says what they are, in the plural)."""
    words = tuple(known)
    match = closest(word, words)
    if match is not None:
        return f"did you mean {match!r}?"
    return f"{kind}: {', '.join(words)}" if words else f"there are no {kind} here"


def split_hint(message: str) -> Words:
    """Split a message of the form ``what is wrong; what to do``."""
    what, semicolon, remedy = message.partition("; ")
    return what, remedy if semicolon else None


def unknown_key(key: str, owner: type[BaseModel], siblings: Mapping[str, type[BaseModel]]) -> Words:
    """Return the words for a key that `owner` does not have; `siblings`: the other models of a tagged union, by tag."""
    known = tuple(keys_of(owner))
    if is_secret((key,)) or difflib.get_close_matches(key.lower(), ("password", "passwd"), n=1, cutoff=0.8):
        return f"key {key!r} is not allowed", _NO_SECRETS
    kind = "step" if owner is Step else "key"
    elsewhere = [tag for tag, model in siblings.items() if key in keys_of(model)]
    if elsewhere:
        return f"unknown key {key!r}", f"it belongs to {', '.join(elsewhere)}; keys here: {', '.join(known)}"
    return f"unknown {kind} {key!r}", did_you_mean(key, known, f"{kind}s")


def describe(annotation: Any) -> str:
    """Return what a value of this type looks like, such as ``a whole number from 400 to 599 or 'any'``."""
    return _describe_schema(TypeAdapter(annotation).json_schema())


def alternatives(annotation: Any, value: Any) -> Words:
    """Return the words for a value of no admitted kind, and the word that it was probably meant to be."""
    looks = describe(annotation)
    match = closest(value, _QUOTED.findall(looks)) if isinstance(value, str) else None
    return f"must be {looks}", f"did you mean {match!r}?" if match is not None else None


def _describe_schema(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        kinds = [_describe_schema({**part, "$defs": schema.get("$defs", {})}) for part in schema["anyOf"]]
        return " or ".join(kind for kind in kinds if kind != "nothing")
    if "$ref" in schema:
        return _describe_schema(schema["$defs"][schema["$ref"].rpartition("/")[2]])
    if "enum" in schema or "const" in schema:
        return " or ".join(repr(word) for word in schema.get("enum", [schema.get("const")]))
    if "examples" in schema:
        return f"a {schema['title'].lower()} such as {schema['examples'][0]}"
    match schema.get("type"):
        case "integer":
            return _describe_bounds(schema)
        case "string":
            return PATTERN_WORDS.get(schema.get("pattern", ""), "text")
        case "object":
            keys = schema.get("properties", {})
            return f"a mapping with {_and(f'`{key}`' for key in keys)}" if keys else "a mapping"
        case "array":
            return "a list"
        case "boolean":
            return "true or false"
        case "null":
            return "nothing"
        case _:
            return "something else"


def _describe_bounds(schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"a whole number from {low} to {high}"
    if low is not None:
        return f"a whole number from {low} up"
    return "a whole number" if high is None else f"a whole number up to {high}"


def _and(words: Iterable[str]) -> str:
    listed = list(words)
    return " and ".join([", ".join(listed[:-1]), listed[-1]] if len(listed) > 1 else listed)


def translate(error: ErrorDetails, located: Located, value: Any) -> Words:
    """Return message and remedy for one pydantic error; `value` is what stands at the place, as YAML read it."""
    handler = _HANDLERS.get(error["type"])
    if handler is not None:
        return handler(error, located, value)
    return error["msg"].replace("Input should be", "must be"), None


def _value_error(error: ErrorDetails, located: Located, value: Any) -> Words:
    message, hint = split_hint(str(error.get("ctx", {}).get("error", error["msg"])))
    if isinstance(value, int | float) and not isinstance(value, bool):
        if "duration" in message:
            return message, f"a number needs a unit: {value}s, or {value}ms"
        if message.endswith("a rate"):
            return message, f"a rate needs a unit of time: {value}/s, or {value}/min"
        if message.endswith("a size"):
            return message, f"a size needs a unit: {value}B, or {value}KiB"
    return message, _narrowed(message, hint)


def _narrowed(message: str, hint: str | None) -> str | None:
    """Turn a remedy that lists all words (``metrics: a, b, c``) into a did-you-mean where the word seen is near one."""
    kind, colon, listed = (hint or "").partition(": ")
    seen = _QUOTED.match(message)
    match = closest(seen[1].partition("{")[0], listed.split(", ")) if colon and seen and " " not in kind else None
    return f"did you mean {match!r}?" if match is not None else hint


def _missing(error: ErrorDetails, located: Located, value: Any) -> Words:
    key = str(error["loc"][-1])
    looks = describe(located.annotation) if located.annotation is not None else None
    if located.path and located.path[-1] != key:  # a shorthand with nothing behind its colon
        return f"needs its {key}", f"write `{located.path[-1]}: {key.upper()}`"
    return f"key {key!r} is required", f"add `{key}:`, {looks}" if looks else None


def _chosen(error: ErrorDetails, located: Located, value: Any) -> Words:
    words = choices(located.annotation)
    hint = None
    if not isinstance(value, str) and str(value) in words:
        hint = "put it in quotes: without them it is a number"
    elif (match := closest(str(value), words)) is not None:
        hint = f"did you mean {match!r}?"
    if hint is not None and len(words) > 8:
        return "is none of the words known here", hint
    return f"must be {', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else f"must be {words[0]}", hint


def _tag(error: ErrorDetails, located: Located, value: Any) -> Words:
    tags = tuple(tagged_models(located.annotation))
    key = str(error.get("ctx", {}).get("discriminator", "")).strip("'")
    seen = value.get(key) if isinstance(value, dict) else None
    if error["type"] == "union_tag_not_found" or seen is None:
        return f"key {key!r} is required", f"add `{key}:`, one of {', '.join(tags)}"
    return f"unknown {key}", did_you_mean(str(seen), tags, f"{key}s")


def _text(error: ErrorDetails, located: Located, value: Any) -> Words:
    if value is None:
        return "must be text, and nothing stands here", None
    if isinstance(value, dict | list):
        return f"must be text, not {_kind(value)}", None
    return f"must be text, and this is {_kind(value)}", "put it in quotes"


def _number(error: ErrorDetails, located: Located, value: Any) -> Words:
    return f"must be {describe(located.annotation) if located.annotation is not None else 'a whole number'}", None


def _mapping(error: ErrorDetails, located: Located, value: Any) -> Words:
    model = model_at(located.annotation, {}) or as_model(located.annotation)
    if model is Step:
        return "must be a step", f"steps: {', '.join(keys_of(Step))}"
    keys = keys_of(model) if model is not None else {}
    if model is not None and issubclass(model, Shorthand) and not isinstance(value, dict | list):
        return f"takes options as a mapping, not {_kind(value)}", _keys_hint(keys, "remove it: there are no options")
    if model is None:
        return f"must be a mapping (lines of `key: value`), not {_kind(value)}", None
    return f"must be a mapping, not {_kind(value)}", _keys_hint(keys, None)


def _keys_hint(keys: Iterable[str], otherwise: str | None) -> str | None:
    listed = ", ".join(keys)
    return f"keys: {listed}" if listed else otherwise


def _list(error: ErrorDetails, located: Located, value: Any) -> Words:
    return f"must be a list, not {_kind(value)}", "write [a, b], or lines that begin with `- `"


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    names = {dict: "a mapping", list: "a list", str: "text", int: "a number", float: "a number"}
    return names.get(type(value), "something else")


def _pattern(error: ErrorDetails, located: Located, value: Any) -> Words:
    pattern = str(error.get("ctx", {}).get("pattern"))
    return f"must be {PATTERN_WORDS.get(pattern, f'text that matches {pattern}')}", None


def _too_long(error: ErrorDetails, located: Located, value: Any) -> Words:
    limits = error.get("ctx", {})
    most = limits.get("max_length")
    return f"must have at most {most} {'characters' if isinstance(value, str) else 'entries'}", None


def _too_short(error: ErrorDetails, located: Located, value: Any) -> Words:
    return "must not be empty", None


_HANDLERS: Final[Mapping[str, Callable[[ErrorDetails, Located, Any], Words]]] = {
    "value_error": _value_error,
    "missing": _missing,
    "literal_error": _chosen,
    "enum": _chosen,
    "union_tag_invalid": _tag,
    "union_tag_not_found": _tag,
    "string_type": _text,
    "bool_type": _number,
    "bool_parsing": _number,
    "int_type": _number,
    "int_parsing": _number,
    "int_from_float": _number,
    "int_parsing_size": _number,
    "greater_than_equal": _number,
    "less_than_equal": _number,
    "dict_type": _mapping,
    "model_type": _mapping,
    "model_attributes_type": _mapping,
    "tuple_type": _list,
    "string_pattern_mismatch": _pattern,
    "string_too_long": _too_long,
    "too_long": _too_long,
    "too_short": _too_short,
}
