"""What helps to write scenarios: check them, list the gallery, publish the schema, write a file to start from."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from ftpstorm.errors import ExitCode, ScenarioError, UsageError
from ftpstorm.scenario.gallery import find_scenario, list_gallery
from ftpstorm.scenario.jsonschema import scenario_json_schema
from ftpstorm.scenario.loader import load_scenario
from ftpstorm.scenario.starter import starter_scenario


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


def print_gallery(*, as_json: bool) -> int:
    """Print the gallery, for people or as a JSON list."""
    entries = list_gallery()
    if as_json:
        fields = ("name", "description", "shows", "expect", "how_long", "privileges")
        listed = [{key: getattr(entry, key) for key in fields} | {"file": str(entry.file)} for entry in entries]
        print(json.dumps(listed, indent=2))
        return ExitCode.PASS
    for entry in entries:
        print(f"{entry.name}\n    {entry.description}")
        told = (("expect", entry.expect), ("how long", entry.how_long), ("privileges", entry.privileges))
        for label, text in told:
            if text:
                print(f"    {label + ':':<12}{text}")
    print("\nRun one with: ftpstorm run NAME")
    return ExitCode.PASS


def write_starter(name: str, folder: Path) -> int:
    """Write ``NAME.yaml`` into `folder`. Raises UsageError when it is there already or cannot be written."""
    path = folder / f"{name}.yaml"
    text = starter_scenario(name)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{path} exists already; choose another name") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    print(f"wrote {path}; try it with: ftpstorm run {path}")
    return ExitCode.PASS
