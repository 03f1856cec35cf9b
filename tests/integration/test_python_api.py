"""The Python API and the pytest plugin, as a notebook and a QA engineer's test use them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import ftpstorm
from ftpstorm.errors import ExitCode, RecordsError, ScenarioError
from support.short_run import scenario_of, write_scenario

pytest_plugins = ("pytester",)


def test_importing_the_package_imports_nothing_else_of_it() -> None:
    script = "import sys, ftpstorm; print([name for name in sys.modules if name.startswith('ftpstorm.')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
    assert {"run", "load", "Result"} <= set(dir(ftpstorm))
    with pytest.raises(AttributeError, match="nothing_such"):
        ftpstorm.nothing_such  # type: ignore[attr-defined]  # noqa: B018


def test_a_result_has_summary_failures_and_records(tmp_path: Path) -> None:
    scenario = write_scenario(tmp_path, thresholds={"transfers": "count>1000"})
    result = ftpstorm.run(scenario, set={"load.steady.rate": "40/s"}, out=tmp_path / "out", plots=False, label="api")
    summary = result.summary
    assert (summary.label, summary.verdict.value, result.exit_code) == ("api", "fail", ExitCode.EXPECTATION_FAILED)
    assert not result.ok
    assert summary.transfers.rate_per_s > 0
    refused = result.failures["passive-exhausted"]
    assert refused.count == summary.failure_count("passive-exhausted") > 0
    assert refused.kinds[0].example.reply == "425 Try later, data connection in use."
    assert result.failures["auth-failed"].count == 0
    assert list(result.failures) == ["passive-exhausted"]
    with pytest.raises(KeyError, match="passive-exhausted"):
        result.failures["passiv-exhausted"]
    assert result.sessions.num_rows == summary.sessions.started + summary.sessions.dropped
    retrieved = result.operations.column("operation").to_pylist().count("retr")
    assert retrieved == summary.transfers.attempted
    assert result.samples.num_rows > 0
    again = ftpstorm.load(result.folder)
    assert (again.summary, again.exit_code) == (summary, result.exit_code)


def test_what_cannot_run_or_be_loaded_raises_what_the_command_says(tmp_path: Path) -> None:
    scenario = write_scenario(tmp_path)
    with pytest.raises(ScenarioError, match=r"load\.steady\.rate"):
        ftpstorm.run(scenario, set={"load.steady.rate": 5}, out=tmp_path / "out")
    with pytest.raises(RecordsError, match="ftpstorm report"):
        ftpstorm.load(tmp_path)


def test_the_fixture_storm_runs_a_scenario_beside_the_test_and_a_failure_shows_headline_and_folder(
    pytester: pytest.Pytester,
) -> None:
    pytester.path.joinpath("short.yaml").write_text(json.dumps(scenario_of()))
    pytester.makepyfile(
        """
        def test_the_pool_is_never_empty(storm):
            assert storm("short.yaml").failures["passive-exhausted"].count == 0

        def test_enough_ports(storm):
            result = storm("short.yaml", set={"target.emulator.passive_ports": 100})
            assert result.failures.total == 0
        """
    )
    outcome = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-W", "ignore")
    outcome.assert_outcomes(passed=1, failed=1)
    outcome.stdout.fnmatch_lines(["*- ftpstorm -*", "*4 passive ports ran out*-short-*)"])
    assert not pytester.path.joinpath("results").exists()
