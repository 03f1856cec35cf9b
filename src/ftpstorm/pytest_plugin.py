"""The pytest plugin: a fixture `storm` that runs a scenario inside a test.

    def test_no_transfer_finds_the_pool_empty(storm):
        assert storm("425.yaml").failures["passive-exhausted"].count == 0

A test that fails shows, for each run it made, the headline and the folder with everything else. Nothing of ftpstorm is
imported unless a test asks for the fixture.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from ftpstorm.api import Result
    from ftpstorm.scenario.schema import Scenario

RUNS = pytest.StashKey[list[Any]]()
"""Results of the runs that a test made."""


class Storm(Protocol):
    """The fixture `storm`: runs a scenario to its end. Options are those of `ftpstorm.run`."""

    def __call__(self, scenario: Scenario | Path | str, **options: Any) -> Result:
        """Return what the run left."""
        ...


@pytest.fixture
def storm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Storm:
    """Give ``storm(scenario, set=..., ...)``: `ftpstorm.run` with its results in a temporary folder of pytest.

    A file is looked for beside the test's own file first, then from the working directory, then in the gallery. No
    pictures are drawn unless `plots=True`, and `out=` puts the results elsewhere. Raises what `ftpstorm.run` raises; a
    run whose expectation failed returns, so that the test decides.
    """
    import ftpstorm

    out = tmp_path_factory.mktemp("ftpstorm")
    runs: list[Any] = []
    request.node.stash[RUNS] = runs

    def run(scenario: Scenario | Path | str, **options: Any) -> Result:
        if isinstance(scenario, str | Path) and (beside := request.path.parent / scenario).is_file():
            scenario = beside
        result = ftpstorm.run(scenario, **{"out": out, "plots": False, **options})
        runs.append(result)
        return result

    return run


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Add what each run of a failed test said to the test's report."""
    report = yield
    runs = item.stash.get(RUNS, ())
    if report.when == "call" and report.failed and runs:
        report.sections.append(("ftpstorm", "\n".join(f"{result}" for result in runs)))
    return report
