"""``ftpstorm simulate``: a results folder like a run's, marked as simulated, whatever stands at its ends."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftpstorm.cli.entry import main
from ftpstorm.conduct.simulated import SimulateOptions, make_folder, read_profiles
from ftpstorm.errors import UsageError
from ftpstorm.limits.profiles import profile_of
from ftpstorm.records.reader import Run, open_run
from ftpstorm.report.build import build_report, build_summary
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.portmap import port_map
from ftpstorm.vocabulary import Cause, Metric, Status, Verdict

DEMO = """
version: 1
name: small-pool
target:
  emulator: {passive_ports: 20, hold: {for: 2s}}
flows:
  download: {steps: [login, {retr: small.bin}, quit]}
files: {small.bin: 1KiB}
load:
  steady: {executor: constant-arrival-rate, rate: 97/s, duration: 20s, flow: download}
expect: {cause: server-passive-pool}
variants:
  after: {set: {target.emulator.passive_ports: 1000}, expect: {cause: none}}
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "small-pool.yaml"
    path.write_text(DEMO, encoding="utf-8")
    return path


def made(scenario: Path, **options: Any) -> Run:
    return open_run(make_folder(SimulateOptions(scenario=str(scenario), out=str(scenario.parent / "out"), **options)))


def test_a_simulated_run_has_the_records_the_prediction_and_the_report_of_a_run(scenario: Path) -> None:
    run = made(scenario)
    summary = build_report(run.folder, plots=False)
    assert summary.status is Status.SIMULATED
    assert summary.verdict is Verdict.PASS
    assert summary.sessions.succeeded == 200
    assert summary.failure_count("passive-exhausted") == 1740
    assert summary.transfers.sustained.rate_per_s == pytest.approx(9.949, abs=0.001)
    assert summary.failures[0].example.reply == "425 Try later, data connection in use."
    assert summary.agreement == [], "a model always agrees with itself"
    assert any(warning.startswith("simulated") for warning in summary.warnings)
    assert "imulated" in (run.folder / "report.html").read_text(encoding="utf-8")
    assert run.prediction is not None
    assert run.prediction["expected"]["failures"] == {"passive-exhausted": 1740}


def test_occupancies_are_series_that_end_with_all_free(scenario: Path) -> None:
    samples = made(scenario).samples
    free = samples.one(Metric.POOL, key="free")
    waiting = samples.one(Metric.TCP_STATE, host="server", key="time-wait")
    assert free is not None
    assert waiting is not None
    assert free.value.min() == 0
    assert free.value[-1] == 20
    assert waiting.value.max() == 2140
    assert waiting.value[-1] == 0
    assert samples.one(Metric.EPHEMERAL_PORTS, host="client", key="*") is not None


def test_ports_of_the_pool_are_in_one_state_each(scenario: Path) -> None:
    samples = made(scenario, overrides=("files={small.bin: 100MB}",)).samples
    together = np.zeros(1, int)
    for state in ("free", "in-use", "held", "listening"):
        readings = samples.one(Metric.POOL, key=state)
        assert readings is not None
        assert state == "listening" or readings.value.max() > 0, state
        together = together + readings.value.astype(int)
    assert set(together.tolist()) == {20}


def test_a_platform_in_place_of_the_hosts_brings_its_ports(scenario: Path) -> None:
    uploads = "flows={download: {steps: [login, {stor: 1KiB}, quit]}}"
    load = "load.steady.rate=400/s"
    run = made(scenario, overrides=(uploads, load, "target.emulator.hold.for=0s"), profiles=("client=windows-2000",))
    windows = profile_of("windows-2000")
    assert windows.ports is not None
    assert run.plan is not None
    assert run.plan["host"]["port_range"] == [1025, 5000]
    waiting = run.samples.one(Metric.TCP_STATE, host="client", key="time-wait")
    assert waiting is not None
    assert waiting.value.max() == 8000
    assert waiting.t_ns[-1] > 240e9
    assert run.manifest is not None
    assert any("supposed to be" in warning for warning in run.manifest.warnings)


def test_a_gateway_translates_in_place_of_a_router() -> None:
    found = read_profiles(["gcp-nat", "client=windows"])
    assert found.router is profile_of("gcp-nat")
    assert found.client is profile_of("windows")
    assert found.server is None


@pytest.mark.parametrize("text", ["nothing", "iis-6", "client=gcp-nat", "router=linux"])
def test_a_profile_that_fits_nowhere_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--profile"):
        read_profiles([text])


def test_a_scale_multiplies_the_load(scenario: Path) -> None:
    assert len(made(scenario, scale="0.5").sessions.data) == 970
    with pytest.raises(UsageError, match="--scale"):
        made(scenario, scale="much")


def test_service_times_may_be_those_of_an_earlier_run(scenario: Path) -> None:
    first = made(scenario, overrides=("lab={topology: pair, link: {delay: 20ms}}",))
    assert first.prediction is not None
    again = made(scenario, from_run=str(first.folder), overrides=("target.emulator.passive_ports=1000",))
    assert again.prediction is not None
    for name in ("connect_ns", "reply_ns"):
        assert again.prediction["service"][name] == first.prediction["service"][name] > 40_000_000


def test_the_same_scenario_gives_the_same_records(scenario: Path) -> None:
    one, other = made(scenario), made(scenario)
    assert (one.operations.data == other.operations.data).all()
    assert (one.samples.data == other.samples.data).all()


def test_the_command_prints_the_summary_and_answers_99_where_expectations_break(
    scenario: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(scenario.parent / "out")
    arguments = ["simulate", str(scenario), "--out", out, "--json", "--no-plots"]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "simulated"
    assert main([*arguments, "--variant", "after"]) == 0
    assert json.loads(capsys.readouterr().out)["sessions"]["succeeded"] == 1940
    assert main([*arguments, "--set", "target.emulator.passive_ports=1000"]) == 99


def test_a_load_that_is_over_before_a_transfer_ends_has_no_rate_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "brief.yaml"
    load = "steady: {executor: burst, sessions: 50, over: 200ms, flow: download}"
    text = re.sub(r"steady: .*", load, DEMO).replace("passive_ports: 20,", "passive_ports: 100, delay: 300ms,")
    path.write_text(text.partition("expect:")[0], encoding="utf-8")
    summary = build_summary(made(path))
    assert summary.transfers.sustained.rate_per_s is None
    assert "after the load did" in (summary.transfers.sustained.reason or "")
    # Four answers and a half of 300 ms each come before the first transfer: the crowd needs well over 1.2 s, not 0.2.
    succeeded, over_s = re.findall(r"all 50 transfers succeeded, ([\d.]+) a second over ([\d.]+) s", summary.headline)[
        0
    ]
    assert float(over_s) > 1.2
    assert float(succeeded) == pytest.approx(50 / float(over_s), rel=0.01)


def test_a_real_server_is_simulated_by_its_habits(scenario: Path) -> None:
    lab = "lab={topology: pair, sysctls: {server: {ip_local_port_range: 40000 40019}}}"
    run = made(scenario, overrides=("target={server: {name: inetutils-ftpd}}", lab))
    summary = build_summary(run)
    assert summary.transfers.succeeded == 20
    assert summary.failures[0].example.reply is not None
    assert summary.failures[0].example.reply.startswith("425 Can't open passive connection")


def test_sockets_that_a_server_never_closes_are_in_close_wait_to_the_end_and_the_cause_is_named(tmp_path: Path) -> None:
    folder = make_folder(SimulateOptions("close-wait-leak", out=str(tmp_path)))
    waiting = open_run(folder).samples.one(Metric.TCP_STATE, host="server", key="close-wait")
    assert waiting is not None
    assert waiting.value.max() == waiting.value[-1] == 100
    assert waiting.t_ns[-1] < 120 * 10**9  # what never ends does not stretch the timeline
    summary = build_summary(open_run(folder))
    assert summary.diagnosis.cause == Cause.CLOSE_WAIT_LEAK
    assert summary.verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("name", "cause"),
    [("frontend-backend", Cause.SERVER_EPHEMERAL_PORTS), ("burst-ghosts", Cause.BACKLOG_GHOST)],
)
def test_where_only_a_kernel_could_tell_the_model_bears_witness(tmp_path: Path, name: str, cause: Cause) -> None:
    summary = build_summary(open_run(make_folder(SimulateOptions(name, out=str(tmp_path)))))
    assert (summary.diagnosis.cause, summary.diagnosis.confidence) == (cause, "certain")
    assert summary.verdict is Verdict.PASS


def test_what_the_model_leaves_open_no_expectation_is_held_to(tmp_path: Path) -> None:
    summary = build_summary(open_run(make_folder(SimulateOptions("active-port-reused", out=str(tmp_path)))))
    assert summary.diagnosis.cause == Cause.UNKNOWN
    assert "active mode" in summary.headline
    assert summary.expectations == []
    assert summary.verdict is Verdict.PASS


def test_what_the_model_counts_and_does_not_foretell_is_said_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "closed.yaml"
    text = re.sub(
        r"steady: .*", "steady: {executor: constant-sessions, sessions: 2, duration: 2s, flow: download}", DEMO
    )
    path.write_text(text.partition("expect:")[0], encoding="utf-8")
    main(["simulate", str(path), "--no-plots", "--out", str(tmp_path / "out")])
    told = capsys.readouterr().out
    assert "not foretold: sessions planned, sessions started, sessions succeeded and" in told
    assert "a closed load does as many sessions as the two hosts are fast" in told


def test_ports_asked_for_and_never_used_listen_on_the_map_until_their_session_ends(tmp_path: Path) -> None:
    path = tmp_path / "waiting.yaml"
    steps = "{steps: [login, pasv-only, {think: 3s}, quit]}"
    text = DEMO.replace("emulator: {passive_ports: 20, hold: {for: 2s}}", "server: {name: vsftpd, passive_ports: 20}")
    text = (
        re.sub(r"download: \{steps.*", f"download: {steps}", text).partition("expect:")[0] + "lab: {topology: pair}\n"
    )
    path.write_text(re.sub(r"steady: .*", "steady: {executor: burst, sessions: 5, flow: download}", text))
    drawn = port_map(Evidence(made(path)))
    assert drawn is not None
    assert (drawn.ports, len(drawn.cells)) == (20, 20)
    listening = [row.count("1") / len(row) for row in drawn.cells if "1" in row]
    assert len(listening) == 5
    assert min(listening) > 0.9  # of 3 s
    assert drawn.states[0] == "not known"
    # Where the server's sockets are dumped each second, the client's word counts until the next dump.
    folder = next((tmp_path / "out").iterdir())
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "status": "completed"}))
    drawn = port_map(Evidence(open_run(folder)))
    assert drawn is not None
    assert drawn.states[0] == "no socket"
    listening = [row.count("1") / len(row) for row in drawn.cells if "1" in row]
    assert listening == pytest.approx([1 / 3] * 5, abs=0.02)
