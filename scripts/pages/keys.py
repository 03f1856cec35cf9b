"""docs/reference/scenario.md: every key of a scenario file, from the JSON Schema that editors get."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from ftpstorm.limits.tables import markdown
from ftpstorm.scenario.jsonschema import VARIABLE, scenario_json_schema

_Schema = dict[str, Any]
_Section = tuple[str, str, str]
"""A definition's name, the heading of its section, and the path of keys that leads there."""

_HEAD: Final = """\
# Keys of a scenario file

A scenario is one YAML file. Unknown keys are refused, with the likeliest spelling; `ftpstorm validate FILE` names every
error at once, with line and column. An editor that knows JSON Schema completes and checks keys with what
`ftpstorm schema` prints.

- `${NAME}` or `${NAME:-default}` takes a value from the environment, in place of any text or number.
- `--set target.emulator.backlog=5` sets one key for one run, and so does `set` of a variant.
- Durations are `250ms`, `2s`, `1m30s`; sizes `4KiB`, `10MB`; rates `97/s`, `30/min`. One without its unit is refused.
- Where a key takes options, its shorthand gives the one that matters: `retr: small.bin` is `retr: {file: small.bin}`.
- NAME is a name of your choice. **Bold** keys have to be there.
"""

_PLAIN_NAMES: Final = {"Step": "step", "Threshold": "condition", "Flow": "flow", "Variant": "variant"}
_PATTERNS: Final = {"Duration": "duration", "Size": "size", "Rate": "rate"}
_COMMANDS_OF_STEPS: Final = "Each step is a mapping with one key, or its name alone where no option is required.\n"


class _Page:
    """The page while it is written: sections in the order in which a reader meets them."""

    def __init__(self, schema: _Schema) -> None:
        self.definitions: dict[str, _Schema] = schema["$defs"]
        self.anchors: dict[str, str] = {}
        self.shared: dict[str, _Schema] = {}
        self.sections: list[str] = []
        self.queue: list[_Section] = []

    def write(self, schema: _Schema) -> str:
        self.sections.append(self._section("The file", schema, ""))
        while self.queue:
            name, title, path = self.queue.pop(0)
            self.sections.append(self._section(title, self.definitions[name], path))
        return _HEAD + "\n" + "\n".join(self.sections)

    def _section(self, title: str, schema: _Schema, path: str) -> str:
        body = _object_of(schema)
        lines = [f"## {title}", ""]
        if path and (text := _prose(schema.get("description", ""))):
            lines += [text, ""]
        if short := _shorthand(schema):
            lines += [short, ""]
        inner: list[_Section] = []
        rows = []
        required = set(body.get("required", ()))
        for key, value in body.get("properties", {}).items():
            where = f"{path}.{key}" if path else key
            spelled = f"**`{key}`**" if key in required else f"`{key}`"
            kind = self._kind(value, where, inner)
            rows.append((spelled, kind, _default(value), _prose(_doc(value), cell=True) or self._lead(value)))
        self.queue[:0] = inner
        if path.endswith("steps[]"):
            lines += [_COMMANDS_OF_STEPS]
            rows = [
                (key, value, "", self._about(step))
                for (key, value, *_), step in zip(rows, body["properties"].values(), strict=True)
            ]
        lines.append(markdown(("key", "value", "default", "meaning"), rows))
        return "\n".join(lines)

    def _lead(self, value: _Schema) -> str:
        """Return the first sentence about what a key holds, for a key without words of its own."""
        reference = _plain(value).get("$ref")
        if reference is None:
            return ""
        text = _prose(str(self.definitions[_name(reference)].get("description", "")), cell=True)
        return text.partition(". ")[0].rstrip(".") + "." if text and _name(reference) != "Cause" else ""

    def _about(self, value: _Schema) -> str:
        return _prose(self.definitions[_name(value["$ref"])].get("description", ""), cell=True)

    def _kinds_of(self, mapping: dict[str, str], path: str, inner: list[_Section]) -> str:
        """Return the words of a choice between mappings; the keys that all of them have get one section."""
        names = [_name(reference) for reference in mapping.values()]
        everywhere = [self.definitions[name]["properties"] for name in names]
        shared = [key for key in everywhere[0] if all(keys.get(key) == everywhere[0][key] for keys in everywhere)]
        if path not in self.shared:
            self.shared[path] = {key: everywhere[0][key] for key in shared}
            word = next(key for key in everywhere[0] if "const" in everywhere[0][key])
            required = set(self.definitions[names[0]].get("required", ()))
            properties = {
                **self.shared[path],
                word: {"enum": list(mapping), "description": "The kind: its keys follow."},
            }
            self.definitions[f"{path} of all"] = {
                "properties": properties,
                "required": sorted((required & set(shared)) | {word}),
                "description": "Keys that all kinds have.",
            }
            inner.append((f"{path} of all", path, path))
            for name in names:
                definition = self.definitions[name]
                self.definitions[name] = {
                    **definition,
                    "properties": {k: v for k, v in definition["properties"].items() if k not in {*shared, word}},
                }
        kinds = (self._link(name, f"{path}: {word}", inner, word) for word, name in zip(mapping, names, strict=True))
        return ", ".join(kinds)

    def _kind(self, value: _Schema, path: str, inner: list[_Section]) -> str:
        """Return how the value of a key is written, and queue the sections that it refers to."""
        value = _plain(value)
        if value.get("title") == "Quantity":
            return "a whole number, rate or duration"
        if "$ref" in value:
            return self._link(_name(value["$ref"]), path, inner)
        if "discriminator" in value:
            return self._kinds_of(value["discriminator"]["mapping"], path, inner)
        if "anyOf" in value:
            alternatives = (part for part in value["anyOf"] if part.get("type") != "null")
            kinds = dict.fromkeys(self._kind(part, path, inner) for part in alternatives)
            return " or ".join(kind for kind in kinds if kind)
        if "const" in value:
            return f"`{value['const']}`"
        if "enum" in value:
            return ", ".join(f"`{word}`" for word in value["enum"])
        if value.get("type") == "array":
            first, *more = value.get("prefixItems") or [value.get("items", {})]
            count = f"{1 + len(more)} times " if more else ""
            return f"list of {count}{self._kind(first, f'{path}[]', inner)}"
        if value.get("type") == "object":
            more = value.get("additionalProperties")
            if isinstance(more, dict):
                return "NAME: " + self._kind(more, f"{path}.NAME", inner)
            return "mapping"
        return _scalar(value)

    def _link(self, name: str, path: str, inner: list[_Section], word: str | None = None) -> str:
        if name == "Cause":
            return "a [cause](causes.md)"
        if name not in self.anchors:
            step = re.search(r"steps\[\]\.([a-z-]+)$", path)
            title = f"step {step[1]}" if step else path
            self.anchors[name] = _anchor(title)
            inner.append((name, title, path))
        return f"[{word or _PLAIN_NAMES.get(name, 'options')}](#{self.anchors[name]})"


def _name(reference: str) -> str:
    return reference.rpartition("/")[2]


def _anchor(title: str) -> str:
    """Return the fragment that both GitHub and Python-Markdown give a heading."""
    return re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", title.lower()).strip())


def _object_of(schema: _Schema) -> _Schema:
    if "properties" in schema:
        return schema
    return next((part for part in schema.get("anyOf", ()) if "properties" in part), schema)


def _shorthand(schema: _Schema) -> str:
    """Return what may stand in place of the mapping."""
    if "properties" in schema or "anyOf" not in schema:
        return ""
    parts = [_plain(part) for part in schema["anyOf"] if "properties" not in part]
    if any("enum" in part and "title" not in part for part in parts):
        return ""
    named = [str(part["title"]).lower().replace(" ", "_") for part in parts if "title" in part]
    keys = _object_of(schema)["properties"]
    said = [f"the value of `{name}`" if name in keys else f"a {name}" for name in named]
    if any(part.get("type") == "null" for part in parts):
        said.append("nothing")
    return f"Shorthand: {' or '.join(said)} alone." if said else ""


def _plain(value: _Schema) -> _Schema:
    """Return `value` without the alternative of a variable and, where one kind is left, without the choice."""
    if "anyOf" not in value:
        return value
    parts = [part for part in value["anyOf"] if part.get("pattern") != VARIABLE]
    rest = [part for part in parts if part.get("type") != "null"]
    if len(rest) == 1:
        merged = {**{key: part for key, part in value.items() if key != "anyOf"}, **rest[0]}
        return _plain(merged) if "anyOf" in rest[0] else merged
    return {**value, "anyOf": parts}


def _scalar(value: _Schema) -> str:
    if "type" not in value:
        return "any value"
    kind = value["type"]
    pattern = value.get("pattern", "")
    if kind in ("integer", "number"):
        low, high = value.get("minimum"), value.get("maximum")
        span = "" if low is None else f" from {low}" if high is None else f" {low} to {high}"
        return ("whole number" if kind == "integer" else "number") + span
    if kind == "boolean":
        return "`true`, `false`"
    if "ns|us|ms" in pattern:
        return "duration"
    if "[KMGT]iB" in pattern:
        return "size"
    if "/" in pattern and "min" in pattern:
        return "rate"
    if r"\d+-\d+" in pattern:
        return "range of ports `A-B`"
    return _PATTERNS.get(str(value.get("title")), "text")


def _doc(value: _Schema) -> str:
    return str(value.get("description", ""))


def _default(value: _Schema) -> str:
    if "default" not in value or value["default"] is None or value["default"] in ({}, [], ""):
        return ""
    default = value["default"]
    if isinstance(default, dict):
        return "see there"
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


def _prose(text: str, *, cell: bool = False) -> str:
    """Return a description as one paragraph of Markdown; in a table's cell its bars are escaped."""
    paragraphs = [" ".join(part.replace("``", "`").split()) for part in text.split("\n\n")]
    if cell:
        return " ".join(paragraphs).replace("|", r"\|")
    return "\n\n".join(paragraphs)


def keys_page() -> str:
    """Return docs/reference/scenario.md."""
    schema = scenario_json_schema()
    return _Page(schema).write(schema)
