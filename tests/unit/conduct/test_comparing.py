"""Which runs make a column of a comparison, and the page that all variants end in."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ftpstorm.conduct.reporting import compare_runs, resolve_repeats
from ftpstorm.errors import ExitCode, UsageError
from support.results_folder import Story, write_results

SHORT = Story(duration_s=8)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    for number, (label, ports) in enumerate([("before", 20), ("before", 20), ("after", 1000), ("after", 1000)]):
        write_results(folder / f"run-{number}", replace(SHORT, ports=ports, label=label, run_id=f"run-{number}"))
    return folder


def test_a_label_means_its_latest_run_and_with_all_every_run(results: Path) -> None:
    assert [path.name for path in resolve_repeats("before:all", results)] == ["run-0", "run-1"]
    assert len(resolve_repeats("before", results)) == 1


def test_runs_with_commas_between_are_one_column(results: Path) -> None:
    assert [path.name for path in resolve_repeats(f"run-0,{results / 'run-2'}", results)] == ["run-0", "run-2"]


def test_a_label_that_no_run_has_is_told(results: Path) -> None:
    with pytest.raises(UsageError, match="has the label 'nosuch'"):
        resolve_repeats("nosuch:all", results)


def test_repeats_are_compared_by_label(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "page"
    code = compare_runs(["before:all", "after:all"], results, out, (), as_json=False, plots=False)
    assert code == ExitCode.PASS
    assert "after is better in sustained transfer rate" in " ".join(capsys.readouterr().out.split())
    assert (out / "compare.html").is_file()


Launched = Callable[..., int]


@pytest.mark.parametrize(("variants", "pages"), [(True, 1), (False, 0)])
def test_all_variants_end_in_a_page_of_before_and_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variants: bool, pages: int
) -> None:
    from ftpstorm.conduct import launch
    from support.story_runs import StoryRunner

    runner = StoryRunner()
    monkeypatch.setattr(launch, "supervise", lambda request, **_: runner(request))
    options = launch.RunOptions(
        scenario="try-later-425", all_variants=variants, out=str(tmp_path), plots=False, expect=False,
        overrides=["load.steady.duration=8s"],
    )  # fmt: skip
    assert launch.launch(options) == ExitCode.PASS
    assert len(runner.requests) == (2 if variants else 1)
    assert len(list(tmp_path.glob("*/compare.html"))) == pages


def test_repeats_take_turns_and_stand_in_one_column_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftpstorm.conduct import launch
    from support.story_runs import StoryRunner

    runner = StoryRunner()
    monkeypatch.setattr(launch, "supervise", lambda request, **_: runner(request))
    options = launch.RunOptions(
        scenario="try-later-425", all_variants=True, repeats=2, out=str(tmp_path), plots=False, expect=False,
        overrides=["load.steady.duration=8s"],
    )  # fmt: skip
    assert launch.launch(options) == ExitCode.PASS
    assert [request.variant for request in runner.requests] == [None, "after"] * 2
    (page,) = tmp_path.glob("*/compare.json")
    compared = json.loads(page.read_text(encoding="utf-8"))
    assert [run["repeats"] for run in compared["runs"]] == [2, 2]
    assert not any("one run" in warning for warning in compared["warnings"])


def test_an_end_asked_for_while_a_report_is_made_starts_no_further_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftpstorm.conduct import launch
    from support.story_runs import StoryRunner

    runner = StoryRunner()
    monkeypatch.setattr(launch, "supervise", lambda request, **_: replace(runner(request), stop=True))
    options = launch.RunOptions(
        scenario="try-later-425", repeats=3, out=str(tmp_path), plots=False, expect=False,
        overrides=["load.steady.duration=8s"],
    )  # fmt: skip
    assert launch.launch(options) == ExitCode.INTERRUPTED
    assert len(runner.requests) == 1
