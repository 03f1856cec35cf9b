"""The JSON Schema of summary.json: docs/summary.schema.json is this module's output, and a test holds it to that.

``ftpstorm schema --summary > docs/summary.schema.json``
"""

from __future__ import annotations

from typing import Any, Final

from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

from ftpstorm.report.summary import Summary
from ftpstorm.scenario.docstrings import DescribedJsonSchema

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


class _WithoutDefaults(DescribedJsonSchema):
    """A default is of use to whoever writes a file, not to whoever reads one."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Return the schema of the value alone."""
        return self.generate_inner(schema["schema"])


def summary_json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of summary.json, schema 1.

    Keys are only ever added: what an older ftpstorm did not write is not required, and other keys are allowed.
    """
    schema = Summary.model_json_schema(by_alias=True, mode="serialization", schema_generator=_WithoutDefaults)
    schema["properties"]["schema"] = {"const": 1, "title": "Schema"}
    schema["required"].insert(0, "schema")
    return {"$schema": DIALECT, **schema, "title": "ftpstorm summary"}
