"""Descriptions of a model's keys for its JSON Schema: the texts that stand below the attributes in the source.

Pydantic can read them whenever a class is made, in every process of every run; only who asks for a schema needs them.
"""

from __future__ import annotations

import ast
import inspect
import textwrap

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema


class DescribedJsonSchema(GenerateJsonSchema):
    """A generator of JSON Schemas whose properties carry their attribute's docstring as description."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Return the schema of one model."""
        made = super().model_schema(schema)
        model: type[BaseModel] = schema["cls"]
        texts = attribute_docstrings(model)
        for name, field in model.model_fields.items():
            key = name if name in made.get("properties", {}) else field.alias
            if name in texts and key in made.get("properties", {}):
                made["properties"][key].setdefault("description", texts[name])
        return made


def attribute_docstrings(model: type) -> dict[str, str]:
    """Return {attribute: the text below it} of a class and its bases, the nearest one's text where two have one."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if not issubclass(base, BaseModel) or base is BaseModel:
            continue
        [body] = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(body, ast.ClassDef)
        for attribute, text in zip(body.body, body.body[1:], strict=False):
            if not isinstance(attribute, ast.AnnAssign) or not isinstance(attribute.target, ast.Name):
                continue
            if (
                isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
                and isinstance(text.value.value, str)
            ):
                found[attribute.target.id] = inspect.cleandoc(text.value.value)
    return found
