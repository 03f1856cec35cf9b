"""The published schema of summary.json is that of the models, and holds for what reports write."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ftpstorm.report.summary import Summary
from ftpstorm.report.summary_schema import summary_json_schema
from support.results_folder import Story

Judge = Callable[[Story], Summary]

ROOT = Path(__file__).parents[3]
VALIDATOR = jsonschema.Draft202012Validator(summary_json_schema())


def test_the_published_schema_is_that_of_the_models() -> None:
    published = json.loads((ROOT / "docs" / "summary.schema.json").read_text(encoding="utf-8"))
    assert published == summary_json_schema(), "publish it: ftpstorm schema --summary > docs/summary.schema.json"


@pytest.mark.parametrize("story", [Story(duration_s=2), Story(duration_s=2, status=None, until_s=1)])
def test_a_summary_is_what_the_schema_says(judge: Judge, story: Story) -> None:
    VALIDATOR.validate(judge(story).to_json())


def test_the_reference_run_of_an_older_version_still_holds() -> None:
    reference = ROOT / "results" / "reference" / "try-later-425" / "summary.json"
    VALIDATOR.validate(json.loads(reference.read_text(encoding="utf-8")))


def drop_verdict(summary: dict[str, Any]) -> None:
    del summary["verdict"]


def other_verdict(summary: dict[str, Any]) -> None:
    summary["verdict"] = "perhaps"


def other_schema(summary: dict[str, Any]) -> None:
    summary["schema"] = 2


def count_as_text(summary: dict[str, Any]) -> None:
    summary["failures"][0]["count"] = "many"


@pytest.mark.parametrize("spoil", [drop_verdict, other_verdict, other_schema, count_as_text])
def test_what_is_no_summary_is_refused(judge: Judge, spoil: Callable[[dict[str, Any]], None]) -> None:
    summary = copy.deepcopy(judge(Story(duration_s=2)).to_json())
    spoil(summary)
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(summary)
