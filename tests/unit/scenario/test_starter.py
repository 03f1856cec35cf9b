"""What `ftpstorm init` writes runs as it is."""

from __future__ import annotations

import pytest

from ftpstorm.errors import UsageError
from ftpstorm.scenario.gallery import HEADER_LABELS, parse_header
from ftpstorm.scenario.loader import load_text
from ftpstorm.scenario.starter import starter_scenario


def test_the_starter_loads_with_each_variant_and_without_a_remark() -> None:
    text = starter_scenario("my-first-1")
    loaded = load_text(text, "my-first-1.yaml")
    assert loaded.warnings == ()
    assert loaded.scenario.name == "my-first-1"
    for variant in loaded.base.variants:
        assert load_text(text, "my-first-1.yaml", variant=variant).warnings == ()


def test_the_starter_has_the_gallerys_header() -> None:
    labels = [label for label, _ in parse_header(starter_scenario("x"))]
    assert labels[: len(HEADER_LABELS)] == list(HEADER_LABELS)


@pytest.mark.parametrize("name", ["", "My", "a b", "-a", "a/b", "a" * 65, "a\n"])
def test_a_name_that_a_results_folder_cannot_have_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no scenario name"):
        starter_scenario(name)
