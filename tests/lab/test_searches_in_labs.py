"""A search in a lab: it finds the limit of a kernel's own ports, where a ramp would have found the buffer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ftpstorm.errors import EnvironmentUnavailableError, ExitCode
from ftpstorm.lab.servers import find_program
from support.lab_run import lab_refusal
from support.short_run import RunningCommand, write_scenario

Require = Callable[[str, bool, str], None]


def test_the_limit_of_a_server_whose_kernel_chooses_the_passive_ports_is_found_within_five_per_cent(
    tmp_path: Path, require: Require
) -> None:
    refused = lab_refusal()
    require("lab", refused is None, refused or "")
    try:
        find_program("inetutils-ftpd")
    except EnvironmentUnavailableError as missing:
        require("inetutils-ftpd", False, str(missing))
    # 20 ports, 1 s of TIME_WAIT: 20 a second. The lab ends a TIME_WAIT within milliseconds of its time.
    lab = {
        "topology": "pair",
        "sysctls": {"server": {"ip_local_port_range": "40000 40019"}},
        "time_wait": {"server": "1s"},
    }
    search = {"vary": "load.steady.rate", "between": ["19/s", "22/s"], "precision": "4%", "confirm": 1}
    search["step"] = "2200ms"
    scenario = write_scenario(tmp_path, target={"server": {"name": "inetutils-ftpd"}}, lab=lab, search=search)
    with RunningCommand(tmp_path, "search", str(scenario), "--no-plots", "--out", str(tmp_path / "results")) as run:
        assert run.end(300) == ExitCode.PASS, run.stdout + run.stderr
        found = json.loads((run.results() / "search.json").read_text())
    assert found["status"] == "found", found["headline"]
    assert found["ratio"] == pytest.approx(1, abs=0.05), found["headline"]
    assert found["limit_per_s"] == pytest.approx(20, rel=0.03)
    assert found["cause"] == "server-passive-pool"
    assert found["marks"] == ["TIME_WAIT of the server shortened to 1s (a kernel's: 60 s)"]
    assert {step["taken_at_start"]["TIME_WAIT, server"] for step in found["steps"]} == {0}
