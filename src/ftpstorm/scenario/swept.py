"""Whether the keys and values of `sweep` and `search` fit the scenario that they would change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from ftpstorm.errors import Problem
from ftpstorm.scenario.checks import mapping_at
from ftpstorm.scenario.document import Document, KeyPath, copy_document, render_path
from ftpstorm.scenario.explain import validate
from ftpstorm.scenario.overrides import AssignmentError, assign, split_keys

PARTS: Final = ("sweep", "search")


def swept_problems(document: Document, known: Sequence[Problem]) -> list[Problem]:
    """Return what is wrong with each setting that a sweep or a search would make, and not with the file itself.

    Each value is tried alone: that two of them exclude each other shows when the sweep begins.
    """
    before = {(problem.path, problem.message) for problem in known}
    problems = list(_ramped(document))
    for dotted, key_place, source in _settings(document):
        effective = copy_document(document)
        try:
            path = assign(effective, split_keys(dotted), document, source)
        except AssignmentError as error:
            problems.append(document.problem(key_place, error.message, error.hint, at_key=key_place[0] == "sweep"))
            continue
        except ValueError as error:
            problems.append(document.problem(key_place, f"not a dotted key: {error}"))
            continue
        prefix = render_path(path)
        for problem in validate(effective)[1]:
            if (problem.path, problem.message) in before:
                continue
            inside = problem.path == prefix or problem.path.startswith(f"{prefix}.")
            if inside and problem.value is None and problem.message.startswith("unknown key"):
                problems.append(document.problem(key_place, problem.message, problem.hint, at_key=True))
            else:
                text = problem.message if inside else f"with this {problem.path}: {problem.message}"
                problems.append(document.problem(source, text, problem.hint))
    return list(dict.fromkeys(problems))


def _settings(document: Document) -> Iterator[tuple[str, KeyPath, KeyPath]]:
    """Yield dotted key, where that key stands, and where its value stands."""
    for dotted, values in mapping_at(document, "sweep", "grid").items():
        here: KeyPath = ("sweep", "grid", dotted)
        for place in range(len(values) if isinstance(values, list) else 0):
            yield str(dotted), here, (*here, place)
    search = mapping_at(document, "search")
    vary, between = search.get("vary"), search.get("between")
    for place in range(len(between) if isinstance(vary, str) and vary and isinstance(between, list) else 0):
        yield str(vary), ("search", "vary"), ("search", "between", place)


def _ramped(document: Document) -> Iterator[Problem]:
    vary = mapping_at(document, "search").get("vary")
    parts = str(vary).split(".")
    if vary and parts[0] == "load" and len(parts) > 1:
        executor = document.look(("load", parts[1], "executor"))
        if isinstance(executor, str) and executor.startswith("ramping"):
            yield document.problem(
                ("search", "vary"),
                f"the load {parts[1]!r} is a ramp, which shows how long ports last and not which load they bear",
                "give the search a load with one rate or number, such as constant-arrival-rate",
            )
