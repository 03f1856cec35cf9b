"""Measure this host's ceiling once and keep it for the manifests of later runs: ``ftpstorm doctor --calibrate``.

The measuring itself happens in a private namespace, in `ftpstorm.conduct.ceiling`. What is kept is a file of the user's
own, one entry for each host, kernel, Python and version of ftpstorm: a calibration holds for these alone.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import ftpstorm
from ftpstorm.errors import EnvironmentUnavailableError, UsageError
from ftpstorm.lab.namespaces import Command, exit_status, start_private
from ftpstorm.records.calibration import Calibration
from ftpstorm.records.manifest import write_json_atomically
from ftpstorm.sampler.hostfacts import read_host_facts

CEILING: Final = "ftpstorm.conduct.ceiling"
CEILING_KEY: Final = "FTPSTORM_CEILING"
SECONDS: Final = 2.0
SECONDS_LEAST: Final = 1.0
SECONDS_MOST: Final = 60.0
KEPT_MAX: Final = 32
"""Entries that are kept, the newest ones."""


def state_file(environment: Mapping[str, str]) -> Path:
    """Return where calibrations are kept: ``$XDG_STATE_HOME/ftpstorm/calibration.json``, by default ~/.local/state.

    As the XDG base directory specification has it, a relative XDG_STATE_HOME is ignored.
    """
    given = environment.get("XDG_STATE_HOME", "")
    base = Path(given) if given.startswith("/") else Path(environment.get("HOME") or "/", ".local", "state")
    return base / "ftpstorm" / "calibration.json"


def calibrate(seconds: float = SECONDS) -> Calibration:
    """Measure for about three times `seconds` in a private namespace, keep the result and return it.

    Call it from the main thread of a process without others. Raises UsageError for seconds outside 1 to 60, and
    EnvironmentUnavailableError where there is no namespace, a load cannot be made, or the result cannot be written.
    """
    if not SECONDS_LEAST <= seconds <= SECONDS_MOST:
        raise UsageError(f"--seconds {seconds:g}: from {SECONDS_LEAST:g} to {SECONDS_MOST:g} for each of three loads")
    reading, writing = os.pipe()
    command = Command(
        [sys.executable, "-P", "-m", CEILING, str(seconds)], {**os.environ, CEILING_KEY: str(writing)}, [writing]
    )
    try:
        pid = start_private(command)
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as answers:
        text = answers.read()
    _, status = os.waitpid(pid, 0)
    answer = json.loads(text) if text else {"error": f"the calibration ended with status {exit_status(status)}"}
    if "error" in answer:
        raise EnvironmentUnavailableError(str(answer["error"]))
    calibration = Calibration.model_validate(answer["calibration"])
    keep(calibration, state_file(os.environ))
    return calibration


def keep(calibration: Calibration, file: Path) -> None:
    """Write `calibration` to `file` in place of an older one with the same key."""
    others = [each for each in _read(file) if _key(each) != _key(calibration)]
    kept = [calibration, *others][:KEPT_MAX]
    content: dict[str, Any] = {"schema_version": 1, "calibrations": [each.model_dump(mode="json") for each in kept]}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json_atomically(file, content)
    except OSError as error:
        raise EnvironmentUnavailableError(
            f"the calibration cannot be kept in {file}: {error.strerror}; set XDG_STATE_HOME to a folder of yours"
        ) from None


def known_calibration(environment: Mapping[str, str]) -> Calibration | None:
    """Return the calibration that holds for a run here and now, None where there is none (or none that is readable)."""
    facts = read_host_facts()
    key = (facts.hostname_hash, facts.kernel, platform.python_version(), ftpstorm.__version__)
    return next((each for each in _read(state_file(environment)) if _key(each) == key), None)


def _key(calibration: Calibration) -> tuple[str | None, str | None, str, str]:
    return calibration.hostname_hash, calibration.kernel, calibration.python, calibration.ftpstorm


def _read(file: Path) -> list[Calibration]:
    """Return all entries of `file`, the newest first; what is no entry of ours is left out."""
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))["calibrations"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    found = []
    for entry in entries if isinstance(entries, list) else ():
        try:
            found.append(Calibration.model_validate(entry))
        except ValueError:
            continue
    return found
