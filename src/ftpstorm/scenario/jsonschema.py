"""The JSON Schema of a scenario file, for editors: what the loader accepts, shorthands included, with descriptions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from ftpstorm.scenario.docstrings import DescribedJsonSchema
from ftpstorm.scenario.expressions import METRICS
from ftpstorm.scenario.flow import Shorthand, Step
from ftpstorm.scenario.schema import FAILURE_WORDS, Scenario
from ftpstorm.scenario.shapes import keys_of, model_at

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
VARIABLE: Final = r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}"
"""How a text refers to an environment variable: what is checked only once its value is known."""

_JsonSchema = dict[str, Any]


def scenario_json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of scenario files, version 1.

    It admits what the loader accepts, except two forms nobody needs to write: a number in quotes, and a variable for
    `executor` or `version`. The loader alone checks what a schema cannot say: names that must exist elsewhere in the
    file, conditions, and rules between keys.
    """
    schema = Scenario.model_json_schema(by_alias=True, mode="validation", schema_generator=DescribedJsonSchema)
    definitions: dict[str, _JsonSchema] = schema["$defs"]
    for model in _all_subclasses(Shorthand):
        if model.__name__ in definitions:
            definitions[model.__name__] = _with_shorthand(model, definitions[model.__name__])
    definitions["Step"] = _step(definitions["Step"])
    keys = definitions["Lab"]["properties"]  # `time_wait: 2s` is that of both hosts
    keys["time_wait"] = {"anyOf": [{"$ref": "#/$defs/TimeWait"}, _length(definitions)], **keys["time_wait"]}
    keys["time_wait"].pop("$ref", None)
    definitions["Expect"]["properties"]["failures"]["propertyNames"] = {"enum": ["any", "any-other", *FAILURE_WORDS]}
    for conditions in (schema["properties"]["thresholds"], definitions["Search"]["properties"]["accept"]):
        conditions["propertyNames"] = {"pattern": rf"^\s*({'|'.join(METRICS)})(\{{[^{{}}]*\}})?\s*$"}
        many = conditions["additionalProperties"]
        conditions["additionalProperties"] = {"anyOf": [many["items"], many]}
    for part in _parts(schema):
        _admit_variables(part)
    return {"$schema": DIALECT, **schema, "title": "ftpstorm scenario"}


def _length(definitions: dict[str, _JsonSchema]) -> _JsonSchema:
    """Return how a TIME_WAIT alone is written: as it is for one host, but never null."""
    one = definitions["TimeWait"]["properties"]["client"]["anyOf"]
    return next(dict(part) for part in one if part.get("type") != "null")


def _all_subclasses(model: type[Shorthand]) -> Iterator[type[Shorthand]]:
    for subclass in model.__subclasses__():
        yield subclass
        yield from _all_subclasses(subclass)


def _with_shorthand(model: type[Shorthand], definition: _JsonSchema) -> _JsonSchema:
    """Return a definition that also admits the scalar, and null where every option has a default."""
    kinds = [{key: value for key, value in definition.items() if key not in ("description", "title")}]
    field = model.scalar_field()
    if field is not None:
        scalar = dict(definition["properties"][field])
        scalar.pop("default", None)
        kinds.append(scalar)
    if not definition.get("required"):
        kinds.append({"type": "null"})
    outer = {key: value for key, value in definition.items() if key in ("description", "title")}
    return {**outer, "anyOf": kinds}


def _step(definition: _JsonSchema) -> _JsonSchema:
    """Return the definition of a step: a mapping with one key, or the name alone of one that needs no options."""
    mapping = {key: value for key, value in definition.items() if key not in ("description", "title")}
    mapping["minProperties"] = mapping["maxProperties"] = 1
    bare: list[str] = []
    for name, annotation in keys_of(Step).items():
        reference = next(part for part in mapping["properties"][name]["anyOf"] if "$ref" in part)
        mapping["properties"][name] = reference
        options = model_at(annotation, {})
        assert options is not None
        if not any(info.is_required() for info in options.model_fields.values()):
            bare.append(name)
    outer = {key: value for key, value in definition.items() if key in ("description", "title")}
    return {**outer, "anyOf": [{"enum": bare}, mapping]}


def _parts(schema: Any) -> Iterator[_JsonSchema]:
    """Yield every subschema of `schema` that stands for a value, keys' own schemas (propertyNames) left out."""
    if isinstance(schema, dict):
        for key, part in list(schema.items()):
            if key not in ("propertyNames", "default", "examples"):
                yield from _parts(part)
        yield schema
    elif isinstance(schema, list):
        for part in schema:
            yield from _parts(part)


def _admit_variables(part: _JsonSchema) -> None:
    """Let a constrained text, a number, true or false be a text with ``${NAME}`` in it instead."""
    constrained = (part.get("type") == "string" and "pattern" in part) or part.get("type") in (
        "integer",
        "number",
        "boolean",
    )
    if constrained or "enum" in part:
        rule = {key: part.pop(key) for key in ("type", "pattern", "enum", "minimum", "maximum") if key in part}
        part["anyOf"] = [rule, {"type": "string", "pattern": VARIABLE}]
