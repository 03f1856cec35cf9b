"""The gallery: what a name finds, and what each file says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftpstorm.errors import UsageError
from ftpstorm.scenario.gallery import HEADER_LABELS, find_scenario, gallery_folder, list_gallery, parse_header
from ftpstorm.scenario.loader import load_scenario


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    gallery = tmp_path / "gallery"
    gallery.mkdir()
    for name in ("try-later-425", "burst-refused", "burst", "nat-pool"):
        (gallery / f"{name}.yaml").write_text(
            f"# What it shows   {name} and\n#                 more\n# Expect          nothing\nname: {name}\n"
            "description: >-\n  Two\n  lines.\n"
        )
    (gallery / "notes.txt").write_text("no scenario")
    return gallery


def test_an_existing_file_is_itself(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert find_scenario("nat-pool.yaml", folder) == Path("nat-pool.yaml")
    assert find_scenario(str(folder / "burst.yaml")) == folder / "burst.yaml"


@pytest.mark.parametrize(
    ("text", "name"), [("425", "try-later-425"), ("refused", "burst-refused"), ("burst", "burst"), ("NAT", "nat-pool")]
)
def test_a_unique_part_of_a_name_or_the_whole_name_finds_it(folder: Path, text: str, name: str) -> None:
    assert find_scenario(text, folder) == folder / f"{name}.yaml"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("burs", "'burs' is a part of several scenario names: burst, burst-refused; give more of it"),
        ("try-ltaer-425", "did you mean 'try-later-425'? gallery: burst, burst-refused, nat-pool, try-later-425"),
        ("zzz", "no file and no scenario of the gallery is named 'zzz'; gallery: burst"),
        ("x/nat-pool.yaml", "no file x/nat-pool.yaml; the gallery has 'nat-pool': give that name without a path"),
        ("zzz.yaml", "no file zzz.yaml"),
        ("", "give the path of a scenario file"),
        ("/", "/ is a folder; give a scenario file"),
    ],
)
def test_a_name_that_finds_none_or_several_is_told_what_there_is(folder: Path, text: str, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_scenario(text, folder)
    assert expected in str(caught.value)


def test_entries_carry_what_the_header_and_the_description_say(folder: Path) -> None:
    entries = list_gallery(folder)
    assert [entry.name for entry in entries] == ["burst", "burst-refused", "nat-pool", "try-later-425"]
    assert entries[0].shows == "burst and more"
    assert entries[0].expect == "nothing"
    assert entries[0].how_long == ""
    assert entries[0].description == "Two lines."


def test_a_header_ends_with_the_first_line_that_is_no_comment() -> None:
    text = "# How long   20 s\n#            more\n# Before/after  run it\nversion: 1\n# Expect   not this\n"
    assert parse_header(text) == (("How long", "20 s more"), ("Before/after", "run it"))


def test_the_checkout_serves_its_own_scenarios_folder() -> None:
    assert (gallery_folder() / "try-later-425.yaml").is_file()
    assert find_scenario("try-later").name == "try-later-425.yaml"
    assert find_scenario("425").name == "try-later-425.yaml"


def test_every_gallery_file_says_what_it_shows_what_to_expect_how_long_and_which_privileges() -> None:
    for entry in list_gallery():
        labels = [label for label, _ in entry.header]
        assert [label for label in labels if label in HEADER_LABELS] == list(HEADER_LABELS), entry.name
        assert entry.description


def test_every_gallery_file_has_an_expectation_and_says_what_it_imitates_and_what_it_cannot_show() -> None:
    for entry in list_gallery():
        scenario = load_scenario(entry.file).scenario
        assert scenario.expect is not None, entry.name
        assert entry.imitates, entry.name
        assert entry.cannot_show, entry.name
        for name, variant in scenario.variants.items():
            assert variant.description, f"{entry.name}, {name}"
