"""A calibration holds for its host, kernel, Python and ftpstorm alone; a damaged file is as good as none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftpstorm.conduct import calibrate as calibrating
from ftpstorm.conduct.calibrate import KEPT_MAX, calibrate, keep, known_calibration, state_file
from ftpstorm.conduct.doctor import check_calibration
from ftpstorm.errors import EnvironmentUnavailableError, UsageError
from ftpstorm.records.calibration import Calibration

CEILING = {
    "sessions": 16,
    "operations": 1000,
    "seconds": 1.0,
    "per_s": 1000.0,
    "cpu_us_each": 100.0,
    "worker_cpu_share": 1.0,
    "sink_cpu_share": 0.2,
    "bound_by": "worker",
}


def calibration(**fields: object) -> Calibration:
    return Calibration.model_validate(
        {
            "hostname_hash": "h",
            "kernel": "k",
            "python": "3.11.7",
            "ftpstorm": "0.1.0",
            "measured_at": "2031-05-01T12:00:00Z",
            "cores": 2,
            "load_average": 0.1,
            "steal_share": 0.0,
            "open_connections": CEILING,
            "whole_sessions": CEILING,
            "lateness": {"rate_per_s": 1000, "sessions": 2000, "p50_us": 40, "p99_us": 200, "max_us": 900},
            **fields,
        }
    )


def mine(**fields: object) -> Calibration:
    """Return a calibration with the key of this process."""
    import platform

    import ftpstorm
    from ftpstorm.sampler.hostfacts import read_host_facts

    facts = read_host_facts()
    key = {"hostname_hash": facts.hostname_hash, "kernel": facts.kernel}
    return calibration(**key, python=platform.python_version(), ftpstorm=ftpstorm.__version__, **fields)


@pytest.mark.parametrize(
    ("environment", "path"),
    [
        ({"XDG_STATE_HOME": "/state", "HOME": "/home/me"}, "/state/ftpstorm/calibration.json"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/home/me"}, "/home/me/.local/state/ftpstorm/calibration.json"),
        ({"HOME": "/home/me"}, "/home/me/.local/state/ftpstorm/calibration.json"),
    ],
)
def test_the_file_stands_where_a_users_state_stands(environment: dict[str, str], path: str) -> None:
    assert state_file(environment) == Path(path)


def test_what_was_kept_is_known_again(tmp_path: Path) -> None:
    environment = {"XDG_STATE_HOME": str(tmp_path)}
    assert known_calibration(environment) is None
    keep(mine(), state_file(environment))
    assert known_calibration(environment) == mine()


@pytest.mark.parametrize("field", ["hostname_hash", "kernel", "python", "ftpstorm"])
def test_a_calibration_of_other_circumstances_does_not_hold(tmp_path: Path, field: str) -> None:
    environment = {"XDG_STATE_HOME": str(tmp_path)}
    keep(mine().model_copy(update={field: "another"}), state_file(environment))
    assert known_calibration(environment) is None


def test_a_newer_one_replaces_the_older_and_leaves_the_others(tmp_path: Path) -> None:
    file = tmp_path / "calibration.json"
    keep(calibration(kernel="one", load_average=1.0), file)
    keep(calibration(kernel="two"), file)
    keep(calibration(kernel="one", load_average=2.0), file)
    entries = json.loads(file.read_text())["calibrations"]
    assert [(entry["kernel"], entry["load_average"]) for entry in entries] == [("one", 2.0), ("two", 0.1)]


def test_the_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    file = tmp_path / "calibration.json"
    for number in range(KEPT_MAX + 3):
        keep(calibration(kernel=str(number)), file)
    entries = json.loads(file.read_text())["calibrations"]
    assert [entry["kernel"] for entry in entries] == [str(n) for n in range(KEPT_MAX + 2, 2, -1)]


@pytest.mark.parametrize("text", ["", "[]", '{"calibrations": 5}', '{"calibrations": [{"kernel": "k"}]}', "\0"])
def test_a_damaged_file_is_as_good_as_none_and_is_mended(tmp_path: Path, text: str) -> None:
    environment = {"XDG_STATE_HOME": str(tmp_path)}
    file = state_file(environment)
    file.parent.mkdir()
    file.write_text(text)
    assert known_calibration(environment) is None
    keep(mine(), file)
    assert known_calibration(environment) == mine()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "ftpstorm").write_text("a file in the folder's place")
    with pytest.raises(EnvironmentUnavailableError, match="XDG_STATE_HOME"):
        keep(mine(), tmp_path / "ftpstorm" / "calibration.json")


@pytest.mark.parametrize("seconds", [0.5, 61.0])
def test_a_length_that_measures_nothing_is_refused_before_anything_starts(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrating, "start_private", lambda command: pytest.fail("started"))
    with pytest.raises(UsageError, match="--seconds"):
        calibrate(seconds)


def test_a_ceiling_that_others_held_down_is_a_lower_bound() -> None:
    disturbed = calibration(whole_sessions={**CEILING, "bound_by": "host"})
    assert check_calibration(disturbed).status == "warn"
    assert "lower bound" in check_calibration(disturbed).seen
    assert check_calibration(calibration()).status == "ok"
    assert "--calibrate" in (check_calibration(None).mend or "")
