"""What helps to write scenarios: check them, list the gallery, publish the schema, write a file to start from."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from ftpstorm.errors import ExitCode, ScenarioError, UsageError
from ftpstorm.scenario.gallery import find_scenario, list_gallery, read_entry
from ftpstorm.scenario.jsonschema import scenario_json_schema
from ftpstorm.scenario.loader import load_scenario
from ftpstorm.scenario.starter import starter_scenario

LIST_WIDTH = 110
"""Columns of the gallery's list."""


def validate_files(files: Sequence[str], overrides: Sequence[str], variant: str | None) -> int:
    """Check every file, also after one that failed; errors to stderr, a line for each good file to stdout."""
    code = ExitCode.PASS
    for file in files:
        path = find_scenario(file)
        try:
            loaded = load_scenario(path, overrides=overrides, variant=variant)
        except ScenarioError as error:
            code = ExitCode.BAD_SCENARIO
            for line in str(error).splitlines():
                print(f"error: {line}", file=sys.stderr)
            continue
        for warning in loaded.warnings:
            print(f"warning: {warning.render(str(path))}", file=sys.stderr)
        print(f"{path}: valid")
    return code


def print_schema() -> int:
    """Print the JSON Schema of scenario files."""
    print(json.dumps(scenario_json_schema(), indent=2))
    return ExitCode.PASS


def print_summary_schema() -> int:
    """Print the JSON Schema of summary.json."""
    from ftpstorm.report.summary_schema import summary_json_schema

    print(json.dumps(summary_json_schema(), indent=2))
    return ExitCode.PASS


def print_gallery(*, as_json: bool, name: str | None = None) -> int:
    """Print the gallery, for people or as a JSON list; with `name` (or a part of one) all that one file says.

    Raises UsageError where the name is that of none or of several.
    """
    entries = list_gallery() if name is None else [read_entry(find_scenario(name))]
    if as_json:
        fields = (
            *("name", "description", "shows", "expect", "how_long", "privileges"),
            *("imitates", "cannot_show", "needs", "variants", "offers"),
        )
        listed = [{key: getattr(entry, key) for key in fields} | {"file": str(entry.file)} for entry in entries]
        print(json.dumps(listed, indent=2))
        return ExitCode.PASS
    for entry in entries:
        print(f"{entry.name}\n    {entry.description}")
        whole = (
            ("shows", entry.shows),
            ("imitates", entry.imitates),
            ("cannot show", entry.cannot_show),
            ("expect", entry.expect),
        )
        told = (
            *(whole if name is not None else ()),
            ("how long", entry.how_long),
            ("needs", entry.needs),
            ("privileges", entry.privileges),
            ("variants", ", ".join(entry.variants)),
            ("also", ", ".join(f"ftpstorm {word} {entry.name}" for word in entry.offers)),
        )
        for label, text in told:
            if text:
                print(_hanging(f"    {label + ':':<13}", text))
    if name is None:
        print("\nMore of one: ftpstorm scenarios NAME. Run it: ftpstorm run NAME, or a part of its name;")
        print("before and after side by side: ftpstorm run NAME --all-variants")
    return ExitCode.PASS


def _hanging(label: str, text: str) -> str:
    return textwrap.fill(
        text, LIST_WIDTH, initial_indent=label, subsequent_indent=" " * len(label), break_on_hyphens=False
    )


def write_starter(name: str, folder: Path) -> int:
    """Write ``NAME.yaml`` into `folder`. Raises UsageError when it is there already or cannot be written."""
    path = folder / f"{name}.yaml"
    text = starter_scenario(name)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{path} exists already; choose another name: ftpstorm init {name}-2") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    print(f"wrote {path}; try it with: ftpstorm run {path}")
    return ExitCode.PASS
