"""Whole runs in labs, as a user starts them: what they find, what their books say, what the manifest tells."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftpstorm.errors import EnvironmentUnavailableError, ExitCode
from ftpstorm.lab.servers import find_program
from ftpstorm.records.reader import open_run
from support.lab_run import lab_refusal
from support.short_run import RunningCommand, write_scenario

Require = Callable[[str, bool, str], None]

EXPECT = {"cause": "none", "failures": {"any": "count==0"}}
CLIENT_FIRST = {
    "download": {"steps": ["login", {"stor": {"file": "{session}.bin", "size": "1KiB"}}, "quit"]},
}
ROUNDS = {  # a closed load: on a busy machine it takes longer, and is never late
    "all": {
        "executor": "shared-iterations",
        "sessions": 4,
        "iterations": 48,
        "max_duration": "60s",
        "flow": "download",
        "start_time": "1s",  # the counters have been read by then, however busy the machine is
    }
}
EMULATOR = {"emulator": {"passive_ports": 50, "hold": {"for": "0s"}}}


@pytest.fixture(scope="module", autouse=True)
def namespaces(require: Require) -> None:
    reason = lab_refusal()
    require("lab", reason is None, reason or "")


def program_missing(name: str) -> str | None:
    try:
        find_program(name)
    except EnvironmentUnavailableError as error:
        return str(error)
    return None


def run_lab(folder: Path, lab: dict[str, Any], *arguments: str, **sections: object) -> tuple[int, RunningCommand]:
    """Run 48 downloads in `lab`, four at a time; return the exit code and what is left to look at."""
    scenario = write_scenario(folder, **({"target": EMULATOR, "lab": lab, "load": ROUNDS} | sections))
    with RunningCommand(folder, "run", str(scenario), "-q", "--no-plots", *arguments) as run:
        return run.end(), run


def wrong_books(summary: dict[str, Any]) -> list[dict[str, Any]]:
    return [line for line in summary["accounting"] if line["ok"] is False]


def kernel_books(summary: dict[str, Any]) -> list[bool | None]:
    """Return whether the identities hold that client's and server's kernel take part in, in that order."""
    return [line["ok"] for line in summary["accounting"] if "kernel" in line["identity"]]


def test_a_pair_with_the_emulator_passes_and_both_kernels_agree_with_the_records(tmp_path: Path) -> None:
    code, run = run_lab(tmp_path, {"topology": "pair"}, expect=EXPECT)
    assert code == ExitCode.PASS, run.stderr
    summary, manifest = run.summary(), run.manifest()
    assert (summary["status"], summary["verdict"]) == ("completed", "pass")
    assert kernel_books(summary) == [True, True]
    assert wrong_books(summary) == []
    # RETR and QUIT: the server closes first, so TIME_WAIT lies there and nowhere else
    assert summary["ports"]["client"]["time_wait_peak"] == 0
    assert summary["ports"]["server"]["time_wait_peak"] == 96
    assert summary["ports"]["router"] is None
    lab = manifest["lab"]
    assert [(host["name"], host["addresses"]) for host in lab["hosts"]] == [
        ("client-0", ["10.77.0.1"]),
        ("server", ["10.78.0.1"]),
    ]
    assert all(host["settings"]["net.ipv4.tcp_rfc1337"] == "1" for host in lab["hosts"])
    assert manifest["target"]["addresses"] == [["10.78.0.1", 2121]]
    assert (run.results() / "logs" / "network.log").read_text()
    hosts = {series.host for series in open_run(run.results()).samples.series}
    assert {"client", "server"} <= hosts


def test_a_pair_with_vsftpd_passes_over_tls_and_the_manifest_names_its_version(
    tmp_path: Path, require: Require
) -> None:
    missing = program_missing("vsftpd")
    require("vsftpd", missing is None, missing or "")
    target = {"server": {"name": "vsftpd", "passive_ports": 50, "tls": "explicit"}}
    code, run = run_lab(tmp_path, {"topology": "pair"}, target=target, expect=EXPECT)
    assert code == ExitCode.PASS, run.stderr
    summary, manifest = run.summary(), run.manifest()
    assert (summary["status"], summary["verdict"]) == ("completed", "pass")
    assert kernel_books(summary) == [True, True]
    assert wrong_books(summary) == []
    assert manifest["target"]["kind"] == "server"
    assert manifest["lab"]["server"]["name"] == "vsftpd"
    assert manifest["target"]["version"] == manifest["lab"]["server"]["version"] is not None
    assert summary["ports"]["server"]["range"] == [10_000, 10_049]
    assert 1 <= summary["ports"]["server"]["in_use_peak"] <= 50
    worker = next(process for process in manifest["processes"] if process["role"] == "worker-0")
    assert worker["counts"]["data_handshakes"] == worker["counts"]["data_resumed"] == 48


def test_routed_with_nat_uses_every_address_of_every_client_host_evenly(tmp_path: Path) -> None:
    lab = {
        "topology": "routed",
        "nat": {"ports": "40000-40999"},
        "clients": 2,
        "client_addresses": 3,
        "server_addresses": 2,
    }
    client = {"bind": "no-port", "source_addresses": ["lab"]}
    code, run = run_lab(tmp_path, lab, "--workers", "4", client=client, expect=EXPECT)
    summary = run.summary()
    assert code == ExitCode.PASS, (run.stderr, summary["failures"], summary["diagnosis"])
    assert (summary["status"], summary["verdict"]) == ("completed", "pass")
    assert kernel_books(summary) == [True, True]
    assert wrong_books(summary) == []
    assert summary["ports"]["router"]["range"] == [40_000, 40_999]
    assert summary["ports"]["router"]["in_use_peak"] > 0
    folder = open_run(run.results())
    sessions = folder.sessions.data
    by_source = [int((sessions["source"] == source).sum()) for source in range(6)]
    by_target = [int((sessions["target"] == target).sum()) for target in range(2)]
    assert (by_source, by_target) == ([8] * 6, [24] * 2)
    # worker k is on host k modulo 2, and so is source k
    assert all(int(row["worker"]) % 2 == int(row["source"]) % 2 for row in sessions)
    assert {"client-0", "client-1", "router", "server"} <= {series.host for series in folder.samples.series}
    assert folder.samples.select("tcp.counter", host="router", key="conntrack.insert_failed")


def test_an_address_of_its_own_on_loopback_shows_that_the_clients_ports_run_out(tmp_path: Path) -> None:
    sysctls = {"ip_local_port_range": "40000-40019"}
    lab = {"topology": "loopback", "own_address": True, "sysctls": {"client": sysctls, "server": sysctls}}
    expect = {"cause": "client-bind-habit", "failures": {"local-ports-exhausted": "count>0"}}
    client = {"bind": "port", "source_addresses": ["lab"]}
    code, run = run_lab(tmp_path, lab, client=client, flows=CLIENT_FIRST, expect=expect)
    summary = run.summary()
    assert {failure["class"] for failure in summary["failures"]} == {"local-ports-exhausted"}, run.stderr
    assert summary["ports"]["client"]["range"] == [40_000, 40_019]
    # each download leaves one of the twenty in TIME_WAIT; control and data need one each while they last
    assert 10 <= summary["transfers"]["succeeded"] <= 20
    assert wrong_books(summary) == []
    assert code == ExitCode.PASS, summary["diagnosis"]


def test_a_shorter_time_wait_frees_the_ports_again(tmp_path: Path) -> None:
    sysctls = {"ip_local_port_range": "40000-40019"}
    lab = {"topology": "pair", "sysctls": {"client": sysctls}, "time_wait": {"client": "500ms"}}
    client = {"bind": "port", "source_addresses": ["lab"]}
    load = {"steady": {"executor": "constant-arrival-rate", "rate": "50/s", "duration": "3s", "flow": "download"}}
    code, run = run_lab(tmp_path, lab, "--no-expect", client=client, flows=CLIENT_FIRST, load=load)
    assert code in (ExitCode.PASS, ExitCode.INVALID_RUN), run.stderr
    summary, manifest = run.summary(), run.manifest()
    assert summary["transfers"]["succeeded"] > 60  # with the kernel's 60 s it would be 20 at most
    reaper = next(process for process in manifest["processes"] if process["role"] == "time-wait")
    counts = reaper["counts"]["hosts"]["client-0"]
    assert counts["destroyed"] > 40
    assert [host["time_wait_s"] for host in manifest["lab"]["hosts"]] == [0.5, None]
    assert wrong_books(summary) == []


def test_fewer_workers_than_client_hosts_are_refused(tmp_path: Path) -> None:
    code, run = run_lab(tmp_path, {"topology": "pair", "clients": 3}, "--workers", "2")
    assert code == ExitCode.USAGE
    assert "--workers 3" in run.stderr
    assert not run.out.exists()


def test_the_host_keeps_its_settings_and_its_interfaces(tmp_path: Path) -> None:
    def host() -> dict[str, str]:
        ipv4 = Path("/proc/sys/net/ipv4")
        names = ("tcp_rfc1337", "ip_local_port_range", "tcp_tw_reuse", "ip_forward", "tcp_syncookies")
        return {name: (ipv4 / name).read_text() for name in names} | {
            "interfaces": json.dumps(sorted(path.name for path in Path("/sys/class/net").iterdir()))
        }

    before = host()
    sysctls = {"ip_local_port_range": "40000-44999", "tcp_tw_reuse": "1", "tcp_syncookies": "0"}
    code, run = run_lab(tmp_path, {"topology": "routed", "sysctls": {"client": sysctls, "server": sysctls}})
    assert code == ExitCode.PASS, run.stderr
    assert host() == before
