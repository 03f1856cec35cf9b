"""`capture:` in whole runs: what the file holds, that it is bounded, and that it keeps no password."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftpstorm.errors import ExitCode
from support.lab_run import lab_refusal
from support.pcap_reader import conversations, read_segments
from support.short_run import RunningCommand, write_scenario

Require = Callable[[str, bool, str], None]

SIX = {"all": {"executor": "shared-iterations", "sessions": 2, "iterations": 6, "flow": "download"}}


@pytest.fixture(scope="module", autouse=True)
def namespaces(require: Require) -> None:
    reason = lab_refusal()
    require("lab", reason is None, reason or "")


def run_captured(folder: Path, *arguments: str, **sections: object) -> RunningCommand:
    scenario = write_scenario(folder, **({"load": SIX} | sections))
    with RunningCommand(folder, "run", str(scenario), "-q", "--no-plots", *arguments) as run:
        assert run.end() == ExitCode.PASS, run.stdout + run.stderr
        return run


def counts(run: RunningCommand, role: str = "capture") -> dict[str, Any]:
    found: dict[str, Any] = next(line["counts"] for line in run.manifest()["processes"] if line["role"] == role)
    return found


@pytest.mark.parametrize(
    "lab",
    [None, {"topology": "pair"}, {"topology": "pair", "ipv6": True}, {"topology": "loopback", "own_address": True}],
    ids=["no lab", "pair", "IPv6", "own address"],
)
def test_every_connection_is_there_once_from_syn_to_fin_without_its_payload(
    tmp_path: Path, lab: dict[str, Any] | None
) -> None:
    target = {"emulator": {"passive_ports": 20, "hold": {"for": "0s"}}}
    run = run_captured(tmp_path, target=target, lab=lab, capture={})
    segments = read_segments(run.results() / "capture.pcap")
    talks = conversations(segments)
    summary = run.summary()
    assert len(talks) == 12  # six sessions: a control and a data connection each
    assert all(flags.startswith(">S <SA >A ") and flags.count("S") == 2 for flags in talks.values())
    fins = {flags: {one[0] for one in flags.split() if "F" in one} for flags in talks.values()}
    # at least one of each side: a kernel whose ACK comes late is sent a FIN again
    assert [flags for flags, sides in fins.items() if sides != {">", "<"}] == []
    assert {segment.behind_headers for segment in segments} == {b""}
    assert [segment.at_ns for segment in segments] == sorted(segment.at_ns for segment in segments)
    told = counts(run)
    assert (told["packets"], told["left_out"], told["lost"]) == (len(segments), 0, 0)
    assert told["bytes"] == (run.results() / "capture.pcap").stat().st_size
    assert [line for line in summary["accounting"] if line["ok"] is False] == []


def test_control_alone_with_what_it_says_where_the_scenario_asks_for_it(tmp_path: Path) -> None:
    wanted = {"connections": "control", "payload": "40B"}
    target = {"emulator": {"passive_ports": 20, "hold": {"for": "0s"}}}
    run = run_captured(tmp_path, target=target, lab={"topology": "pair"}, capture=wanted)
    segments = read_segments(run.results() / "capture.pcap")
    talks = conversations(segments)
    assert {server for _, server in talks} == {("10.78.0.1", 2121)}
    assert len(talks) == 6
    said = [segment.behind_headers for segment in segments]
    assert max(map(len, said)) == 40
    assert said.count(b"QUIT\r\n") == 6


def test_a_full_file_ends_there_and_the_manifest_says_so(tmp_path: Path) -> None:
    target = {"emulator": {"passive_ports": 20, "hold": {"for": "0s"}}}
    run = run_captured(tmp_path, target=target, lab={"topology": "pair"}, capture={"max_bytes": "1KiB"})
    file = run.results() / "capture.pcap"
    told = counts(run)
    assert 900 < file.stat().st_size == told["bytes"] <= 1024
    assert len(read_segments(file)) == told["packets"]
    assert told["left_out"] > 100


def test_each_client_host_has_a_file_of_its_own(tmp_path: Path) -> None:
    target = {"emulator": {"passive_ports": 20, "hold": {"for": "0s"}}}
    run = run_captured(tmp_path, "--workers", "2", target=target, lab={"topology": "pair", "clients": 2}, capture={})
    clients = [
        {client for (client, _), _ in conversations(read_segments(run.results() / name))}
        for name in ("capture-0.pcap", "capture-1.pcap")
    ]
    assert clients == [{"10.77.0.1"}, {"10.77.1.1"}]


def test_a_failure_in_the_summary_is_found_by_its_ports_in_the_capture(tmp_path: Path) -> None:
    """A cap that resets: handshake, then RST, and the summary's example names a connection of the file."""
    run = run_captured(
        tmp_path,
        target={"emulator": {"passive_ports": 20, "max_connections": {"count": 1, "answer": "reset"}}},
        lab={"topology": "pair"},
        flows={"download": {"steps": ["login", {"think": "1s"}, "quit"]}},
        load={"once": {"executor": "burst", "sessions": 5, "flow": "download"}},
        capture={},
    )
    talks = conversations(read_segments(run.results() / "capture.pcap"))
    assert sorted(flags for flags in talks.values() if "R" in flags) == [">S <SA >A <RA"] * 4
    (failure,) = run.summary()["failures"]
    port = int(failure["example"]["four_tuple"].split(" -> ")[0].rpartition(":")[2])
    assert str(port) in failure["example"]["display_filter"]
    assert [flags for ((_, ours), _), flags in talks.items() if ours == port] == [">S <SA >A <RA"]
