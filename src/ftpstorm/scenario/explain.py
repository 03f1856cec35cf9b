"""Validation of a document: the schema's errors as Problems with the user's own paths, places and words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ftpstorm.errors import Problem
from ftpstorm.scenario.checks import cross_check
from ftpstorm.scenario.document import Document, KeyPath, copy_document
from ftpstorm.scenario.drivers import driver_gaps
from ftpstorm.scenario.schema import Scenario
from ftpstorm.scenario.shapes import (
    Located,
    as_model,
    child,
    container_of,
    discriminator,
    locate,
    model_at,
    tagged_models,
)
from ftpstorm.scenario.wording import alternatives, closest, translate, unknown_key


def validate(document: Document) -> tuple[Scenario | None, tuple[Problem, ...]]:
    """Return the scenario that `document` describes, or None and every problem it has, in the order of the file."""
    problems: list[Problem] = []
    scenario: Scenario | None = None
    try:
        scenario = Scenario.model_validate(document.value)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        problems.extend(_explain(errors, document))
        problems.extend(_behind_wrong_tags(errors, document))
    problems.extend(cross_check(document))
    if scenario is not None:
        problems.extend(document.problem(path, message, hint) for path, message, hint in driver_gaps(scenario))
    return (None if problems else scenario), in_order(problems)


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return the problems once each: those of the file by place, then the others."""
    return tuple(sorted(dict.fromkeys(problems), key=lambda item: (item.origin is not None, item.line, item.column)))


def _explain(errors: list[ErrorDetails], document: Document) -> list[Problem]:
    located = [(error, locate(error["loc"], Scenario, document.value)) for error in errors]
    answered: set[KeyPath] = set()
    problems: list[Problem] = []
    mixed = _scalar_or_container(where.union for _, where in located if where.union is not None)
    for error, where in located:
        if where.union is not None:
            path, alternative = where.union
            if path in mixed and any(_meant(other, document.look(path)) for other in mixed[path]):
                if _meant(alternative, document.look(path)) and (problem := _one(error, where, document)) is not None:
                    problems.append(problem)
                continue
            chosen = model_at(_annotation_at(path, document.value), document.look(path))
            if not (isinstance(document.look(path), dict) and chosen is not None):
                if path not in answered:
                    answered.add(path)
                    words, hint = alternatives(_annotation_at(path, document.value), document.look(path))
                    problems.append(document.problem(path, words, hint=hint))
                continue
            if alternative != chosen.__name__ and where.path == path:
                continue  # another alternative than the mapping that was written
        problem = _one(error, where, document)
        if problem is not None:
            problems.append(problem)
    return problems


def _scalar_or_container(unions: Iterable[tuple[KeyPath, str]]) -> dict[KeyPath, set[str]]:
    """Return the places where one kind of scalar or a list (or mapping) of them is wanted, with the alternatives."""
    alternatives: dict[KeyPath, set[str]] = {}
    for path, alternative in unions:
        alternatives.setdefault(path, set()).add(alternative)
    return {
        path: names
        for path, names in alternatives.items()
        if any(container_of(name) for name in names) and sum(container_of(name) is None for name in names) <= 1
    }


def _meant(alternative: str, value: Any) -> bool:
    """Tell whether a value was meant as this alternative of such a union."""
    kind = container_of(alternative)
    return not isinstance(value, list | dict) if kind is None else isinstance(value, kind)


def _behind_wrong_tags(errors: list[ErrorDetails], document: Document) -> list[Problem]:
    """Return what else is wrong where an unknown tag, such as a misspelled executor, kept validation out."""
    repaired = copy_document(document)
    paths: list[KeyPath] = []
    for error in errors:
        if error["type"] == "union_tag_invalid":
            where = locate(error["loc"], Scenario, document.value)
            key, known = discriminator(where.annotation), tagged_models(where.annotation)
            value = repaired.look(where.path)
            match = closest(str(value.get(key)), known) if isinstance(value, dict) else None
            if match is not None:
                value[key] = match
                paths.append(where.path)
    if not paths:
        return []
    try:
        Scenario.model_validate(repaired.value)
    except ValidationError as error:
        inside = [item for item in error.errors(include_url=False) if tuple(item["loc"][: len(paths[0])]) in paths]
        return _explain(inside, repaired)
    return []


def _one(error: ErrorDetails, where: Located, document: Document) -> Problem | None:
    kind = error["type"]
    value = document.look(where.path)
    if kind == "extra_forbidden" and where.owner is not None:
        key = str(error["loc"][-1])
        siblings = _siblings(where, document)
        message, hint = unknown_key(key, where.owner, siblings)
        return document.problem(where.path, message, hint, at_key=True)
    if kind == "too_short" and value:
        return None  # its entries have errors of their own, so none was left to count
    message, hint = translate(error, where, value)
    path = where.path
    if kind.startswith("union_tag"):
        discriminator = str(error.get("ctx", {}).get("discriminator", "")).strip("'")
        if document.look((*path, discriminator)) is not None:
            path = (*path, discriminator)
    return document.problem(path, message, hint, at_key=where.about_key)


def _siblings(where: Located, document: Document) -> dict[str, Any]:
    tagged = tagged_models(_annotation_at(where.path[:-1], document.value))
    return {tag: model for tag, model in tagged.items() if model is not where.owner}


def _annotation_at(path: KeyPath, value: Any) -> Any:
    annotation: Any = Scenario
    for part in path:
        annotation = child(annotation, value, part)
        if isinstance(value, dict):
            value = value.get(str(part))
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        model = as_model(annotation)
        if model is not None and isinstance(value, str) and value in model.model_fields:
            value = {value: {}}
    return annotation
