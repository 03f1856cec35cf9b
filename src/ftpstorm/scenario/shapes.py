"""What may stand at a place of a scenario: navigation of the schema's types by the keys that a user writes.

Turns pydantic's error locations, which hold union tags and shorthand fields, into the user's own key paths, and tells
which keys and choices a place knows, for did-you-mean. Says nothing about wording (`ftpstorm.scenario.wording`).
"""

from __future__ import annotations

import types
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ftpstorm.scenario.document import KeyPath

MISSING: Any = object()
"""Stands for a value that the document does not have."""


@dataclass(frozen=True, slots=True)
class Located:
    """A pydantic error location as the user sees it."""

    path: KeyPath
    annotation: Any
    """The type at `path`."""
    owner: type[BaseModel] | None
    """The model whose key the last part of `path` is, where it is one."""
    union: tuple[KeyPath, str] | None
    """Innermost union that has no discriminator and was passed on the way, and pydantic's name of the alternative."""
    about_key: bool
    """The error is about a key of a free mapping, not about its value."""


def split_annotated(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return a type without its Annotated wrapping, and the metadata of that wrapping."""
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        return inner, tuple(metadata)
    return annotation, ()


def alternatives(annotation: Any) -> tuple[Any, ...]:
    """Return the types that a value here may have, None left out; one element where it is no union."""
    inner, _ = split_annotated(annotation)
    if get_origin(inner) in (Union, types.UnionType):
        return tuple(part for part in get_args(inner) if part is not type(None))
    return (annotation,)


def discriminator(annotation: Any) -> str | None:
    """Return the key that tells the alternatives of a tagged union apart, or None."""
    inner, metadata = split_annotated(annotation)
    for item in metadata:
        if isinstance(item, FieldInfo) and isinstance(item.discriminator, str):
            return item.discriminator
    parts = alternatives(inner) if inner is not annotation else ()
    return discriminator(parts[0]) if len(parts) == 1 and parts[0] is not inner else None


def as_model(annotation: Any) -> type[BaseModel] | None:
    """Return the model that a type is, or None."""
    inner, _ = split_annotated(annotation)
    return inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None


@lru_cache(maxsize=256)
def keys_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return the keys of a model as users write them, with their types."""
    return {info.alias or name: info.rebuild_annotation() for name, info in model.model_fields.items()}


def choices(annotation: Any) -> tuple[str, ...]:
    """Return the words that a value here may be, if it is chosen from a list."""
    found: list[str] = []
    for part in alternatives(annotation):
        inner, _ = split_annotated(part)
        if get_origin(inner) is Literal:
            found.extend(str(word) for word in get_args(inner))
        elif isinstance(inner, type) and issubclass(inner, Enum):
            found.extend(str(member.value) for member in inner)
    return tuple(found)


def tagged_models(annotation: Any) -> dict[str, type[BaseModel]]:
    """Return the models of a tagged union by their tag; empty where it is none."""
    key = discriminator(annotation)
    if key is None:
        return {}
    models = [model for part in alternatives(annotation) if (model := as_model(part)) is not None]
    return {tag: model for model in models for tag in choices(keys_of(model)[key])}


def model_at(annotation: Any, value: Any) -> type[BaseModel] | None:
    """Return the model that `value` is meant to be: the tag's, or the only one among the alternatives."""
    tagged = tagged_models(annotation)
    if tagged:
        tag = value.get(discriminator(annotation)) if isinstance(value, dict) else None
        return tagged.get(tag) if isinstance(tag, str) else None
    models = [model for part in alternatives(annotation) if (model := as_model(part)) is not None]
    return models[0] if len(models) == 1 else None


def mapping_value(annotation: Any) -> Any:
    """Return the type of the values of a free mapping such as `flows`, or MISSING where it is none."""
    for part in alternatives(annotation):
        inner, _ = split_annotated(part)
        if get_origin(inner) is dict:
            return get_args(inner)[1]
    return MISSING


def list_item(annotation: Any) -> Any:
    """Return the type of a list's items, or MISSING where it is no list."""
    for part in alternatives(annotation):
        inner, _ = split_annotated(part)
        if get_origin(inner) is tuple:
            return get_args(inner)[0]
    return MISSING


def child(annotation: Any, value: Any, key: str | int) -> Any:
    """Return the type at `key` of a place that holds `value`, or MISSING where the schema knows none."""
    if isinstance(key, int):
        return list_item(annotation)
    model = model_at(annotation, value)
    if model is not None:
        return keys_of(model).get(key, MISSING)
    return mapping_value(annotation)


def container_of(alternative: str) -> type | None:
    """Return list or dict for pydantic's name of an alternative that is one, None for all others."""
    return list if alternative.startswith("tuple[") else dict if alternative.startswith("dict[") else None


def _alternative(parts: Sequence[Any], name: str) -> Any:
    """Return the type that pydantic's `name` of a union's alternative stands for, None where that is not sure."""
    container = container_of(name)
    wanted = tuple if container is list else container
    for part in parts:
        if getattr(as_model(part), "__name__", None) == name:
            return part
    found = [
        part
        for part in parts
        if as_model(part) is None
        and (get_origin(split_annotated(part)[0]) is wanted)
        and (wanted is not None or get_origin(split_annotated(part)[0]) is None)
    ]
    return found[0] if len(found) == 1 else None


def locate(location: Sequence[str | int], root: Any, value: Any) -> Located:
    """Return where an error of pydantic's `location` stands in `value`, which was validated as `root`.

    Tags of unions vanish, and the field of a shorthand (`retr: small.bin` stands for `retr: {file: small.bin}`) becomes
    the scalar that the user wrote.
    """
    path: KeyPath = ()
    annotation, owner, union = root, None, None
    for element in location:
        if element == "[key]":
            return Located(path, annotation, None, union, True)
        tagged = tagged_models(annotation)
        if element in tagged and value is not MISSING:
            annotation = tagged[str(element)]
            continue
        parts = alternatives(annotation)
        if len(parts) > 1 and not tagged:
            union = (path, str(element))
            annotation = _alternative(parts, str(element))
            continue
        owner = as_model(parts[0]) if parts else None
        annotation = child(annotation, value, element) if annotation is not None else None
        if isinstance(value, dict) and isinstance(element, str):
            path, value = (*path, element), value.get(element, MISSING)
        elif isinstance(value, list) and isinstance(element, int) and element < len(value):
            path, value = (*path, element), value[element]
        # else a shorthand: the scalar itself is the place, and stays the value
    return Located(path, None if annotation is MISSING else annotation, owner, union, False)
