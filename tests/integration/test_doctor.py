"""The doctor on this very host: all checks run for real, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftpstorm.records.calibration import Calibration
from support.lab_run import lab_refusal


def doctor(state: Path, *arguments: str) -> tuple[int, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "ftpstorm", "doctor", "--json", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "XDG_STATE_HOME": str(state)},
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_every_check_of_this_host_is_made_and_every_warning_has_a_remedy(tmp_path: Path) -> None:
    code, found = doctor(tmp_path)
    checks = {check["name"]: check for check in found["checks"]}
    assert {"open files", "ephemeral ports", "tcp_tw_reuse", "inet_diag", "IP_LOCAL_PORT_RANGE", "clock"} <= set(checks)
    assert {"private namespaces", "ip", "nft", "tc", "ceiling"} <= set(checks)
    assert {check["status"] for check in checks.values()} <= {"ok", "warn", "fail", "unknown"}
    assert all(check["seen"] and check["why"] for check in checks.values())
    assert [name for name, check in checks.items() if check["status"] in ("warn", "fail") and not check["mend"]] == []
    assert code == (0 if found["can_make_load"] else 120)
    assert checks["ceiling"]["status"] == "unknown"


def test_the_lab_is_tried_for_real_where_there_are_namespaces(
    tmp_path: Path, require: Callable[[str, bool, str], None]
) -> None:
    refusal = lab_refusal()
    require("namespaces", refusal is None, str(refusal))
    _, found = doctor(tmp_path)
    checks = {check["name"]: check for check in found["checks"]}
    assert {"SOCK_DESTROY", "lab: pair", "lab: routed", "vsftpd", "aioftp"} <= set(checks)
    assert checks["aioftp"]["status"] == "ok", checks["aioftp"]
    if checks["ip"]["status"] == "ok":
        assert checks["lab: pair"]["status"] == "ok", checks["lab: pair"]


@pytest.mark.slow
def test_a_calibration_is_made_kept_and_known_to_later_runs(
    tmp_path: Path, require: Callable[[str, bool, str], None]
) -> None:
    refusal = lab_refusal()
    require("namespaces", refusal is None, str(refusal))
    code, found = doctor(tmp_path, "--calibrate", "--seconds", "1.5")
    assert code == 0
    made = Calibration.model_validate(found["calibration"])
    # the figures are this machine's affair; what holds on any is that all downloads were made and counted
    assert made.open_connections.operations > 0
    assert made.whole_sessions.operations > 0
    assert made.lateness.sessions == 1500
    assert 0 < made.open_connections.cpu_us_each < made.whole_sessions.cpu_us_each
    entries = json.loads((tmp_path / "ftpstorm" / "calibration.json").read_text())["calibrations"]
    assert [Calibration.model_validate(entry) for entry in entries] == [made]
    _, later = doctor(tmp_path)
    assert later["calibration"] == found["calibration"]
