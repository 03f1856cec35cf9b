"""A key's description in the JSON Schema is the text below its attribute, a base's too."""

from __future__ import annotations

from ftpstorm.scenario.docstrings import DescribedJsonSchema, attribute_docstrings
from ftpstorm.scenario.types import Frozen


class Base(Frozen):
    """A base."""

    rate: int = 1
    """Events a second."""
    plain: int = 0


class Model(Base):
    """A model."""

    size: int = 1
    """Bytes,
    of a file."""
    rate: int = 2
    """Files a second."""


def test_the_nearest_text_describes_an_attribute() -> None:
    assert attribute_docstrings(Base) == {"rate": "Events a second."}
    assert attribute_docstrings(Model)["rate"] == "Files a second."
    assert attribute_docstrings(Model)["size"] == "Bytes,\nof a file."


def test_properties_of_a_schema_carry_the_texts() -> None:
    properties = Model.model_json_schema(schema_generator=DescribedJsonSchema)["properties"]
    assert properties["size"]["description"] == "Bytes,\nof a file."
    assert properties["rate"]["description"] == "Files a second."
    assert "description" not in properties["plain"]
