"""The conductor: one run from the request to the report. Owns the results folder and what is printed.

Checks come first and leave nothing behind; then the folder with scenario, plan and prediction; then the measured part
(`ftpstorm.conduct.experiment`); then records, report, table and exit code.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ftpstorm.channel import Channel
from ftpstorm.clock import read_clock_pair
from ftpstorm.conduct.calibrate import known_calibration
from ftpstorm.conduct.dashboard import Dashboard
from ftpstorm.conduct.experiment import (
    CAPTURE,
    EMULATOR,
    ENGINE,
    SAMPLER,
    TIME_WAIT,
    Experiment,
    Measured,
    Started,
    measure,
)
from ftpstorm.conduct.folder import RunFolder, create_folder, new_run_id
from ftpstorm.conduct.laboratory import Laboratory, open_laboratory, with_lab_sources
from ftpstorm.conduct.live import View, new_console
from ftpstorm.conduct.metrics import inherited_socket, serve_metrics
from ftpstorm.conduct.preflight import (
    check_files,
    check_guard,
    check_memory,
    check_ports,
    check_sources,
    check_tls,
    children_environment,
    raise_file_limit,
    read_accounts,
    read_available_memory,
    read_password,
    read_versions,
)
from ftpstorm.conduct.request import RunRequest
from ftpstorm.conduct.stops import StopRequests
from ftpstorm.conduct.supervisor import REPORT_PHASE
from ftpstorm.conduct.target import check_target
from ftpstorm.errors import ExitCode, FtpstormError, Problem, ScenarioError
from ftpstorm.plan.plan import Plan, unroll
from ftpstorm.records.manifest import Manifest, write_manifest
from ftpstorm.sampler.hostfacts import read_host_facts
from ftpstorm.scenario.loader import dump_scenario
from ftpstorm.scenario.schema import Scenario
from ftpstorm.vocabulary import Status

if TYPE_CHECKING:
    from ftpstorm.report.summary import Summary

MODULES: Final[Mapping[str, str]] = {
    "engine": ENGINE,
    "sampler": SAMPLER,
    "emulator": EMULATOR,
    "time-wait": TIME_WAIT,
    "capture": CAPTURE,
}


async def serve_channel(modules: Mapping[str, str] = MODULES) -> int:
    """Serve the supervisor at the other end of the inherited channel; return the exit code of the run.

    `modules` names what to execute for each role.
    """
    channel = await Channel.inherited()
    message = await channel.receive()
    if message is None or message["type"] != "request":
        return ExitCode.INTERNAL_ERROR
    request = RunRequest.model_validate(message["request"])
    requests = StopRequests()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, requests.request)
    listening = asyncio.create_task(_listen(channel, requests))
    try:
        return await Conductor(request, channel, requests, modules).run()
    finally:
        listening.cancel()


async def _listen(channel: Channel, requests: StopRequests) -> None:
    """Take requests from the supervisor; EOF means that it is gone, and means stop at once."""
    while (message := await channel.receive()) is not None:
        if message["type"] == "stop":
            requests.request("now" if message.get("how") == "now" else "drain")
    requests.request("now")


class Conductor:
    """One run. Every method is a stage of it, called once, in order."""

    def __init__(
        self, request: RunRequest, channel: Channel, requests: StopRequests, modules: Mapping[str, str]
    ) -> None:
        self._request = request
        self._channel = channel
        self._requests = requests
        self._modules = modules
        self._console = new_console(stderr=request.json_output)
        self._view = View(self._console, quiet=request.quiet)
        self._manifest: Manifest | None = None

    async def run(self) -> int:
        """Do all of it. Errors that are meant for the user are printed here and become the exit code."""
        folder: RunFolder | None = None
        try:
            with open_laboratory(self._request.read_scenario(), self._request.workers) as laboratory:
                experiment, warnings = self._prepare(laboratory)
                folder = experiment.folder
                self._channel.send("folder", folder=str(folder.path))
                await self._channel.drain()
                measured = await self._measure(experiment, warnings)
            self._channel.send("phase", phase=REPORT_PHASE)
            await self._channel.drain()
            return self._report(folder, measured)
        except FtpstormError as error:
            self._close_manifest(folder, error)
            print(f"error: {error}", file=sys.stderr)
            return error.exit_code
        except Exception:
            self._view.close()
            if folder is not None:
                print(f"what was recorded is in {folder.path}", file=sys.stderr)
            raise
        finally:
            self._view.close()

    # --- before -----------------------------------------------------------------------------------------------------

    def _prepare(self, laboratory: Laboratory | None) -> tuple[Experiment, list[str]]:
        """Check everything that can be checked, then make the folder with all that stands before the run."""
        request = self._request
        asked = request.read_scenario()
        scenario = with_lab_sources(asked)
        # a lab's addresses are this run's own: there is nobody to ask
        targets = laboratory.addresses if laboratory is not None else check_target(scenario, request.allow_targets)
        check_guard(scenario)
        check_tls(scenario.target)
        hosts = 1 if laboratory is None else len(laboratory.network.clients)
        check_sources(scenario.client, targets, scenario.target.emulator, hosts)
        password = read_password(scenario.target, os.environ)
        warnings = [
            *request.warnings,
            *check_files(scenario, request.workers, raise_file_limit()),
            *check_memory(scenario, request.workers, read_available_memory()),
        ]
        accounts = read_accounts(scenario.users)
        plan = _plan(request, scenario, datetime.now(UTC), laboratory)
        warnings += check_ports(scenario, plan.host)
        folder = create_folder(Path(request.out), plan, dump_scenario(asked))
        experiment = Experiment(
            plan=plan,
            folder=folder,
            targets=targets,
            password=password,
            accounts=accounts,
            environment=children_environment(scenario.target, os.environ),
            start_at_realtime_ns=request.start_at_realtime_ns,
            modules=self._modules,
            laboratory=laboratory,
        )
        return experiment, warnings

    async def _measure(self, experiment: Experiment, warnings: list[str]) -> Measured:
        from ftpstorm.records.prediction_file import write_prediction
        from ftpstorm.simulate.predict import predict

        plan, folder = experiment.plan, experiment.folder
        prediction = predict(plan, stamped_at=_utc(datetime.now(UTC)))
        manifest = _manifest(self._request, plan, write_prediction(folder.path, prediction), warnings)
        write_manifest(folder.path, manifest)
        self._manifest = manifest
        if (laboratory := experiment.laboratory) is not None:
            laboratory.start_server(folder.logs)
            manifest = self._manifest = manifest.model_copy(update={"lab": laboratory.describe()})
        if not self._request.quiet:
            self._view.note(f"{plan.scenario.name}: results go to {folder.path}")
            for warning in warnings:
                self._view.note(f"warning: {warning}")

        def on_start(started: Started) -> None:
            at = started.clock.to_realtime_ns(started.start_at_ns)
            self._manifest = manifest.model_copy(
                update={
                    "started_at": _utc(datetime.fromtimestamp(at // 1000 / 1e6, UTC)),
                    "start_at_ns": started.start_at_ns,
                    "clock": {
                        "monotonic_ns": started.clock.monotonic_ns,
                        "realtime_ns": started.clock.realtime_ns,
                    },
                    "target": {key: value for key, value in started.target.items() if value is not None},
                    "processes": started.processes,
                }
            )
            write_manifest(folder.path, self._manifest)

        dashboard = Dashboard(plan, self._view, prediction.ceiling_per_s)
        async with serve_metrics(inherited_socket(), plan, dashboard, folder.path):
            measured = await measure(experiment, self._requests, dashboard, on_start)
        self._view.close()
        self._manifest = self._manifest.model_copy(
            update={
                "ended_ns": measured.ended_ns,
                "status": measured.status.value,
                "stop_reason": measured.reason,
                "processes": measured.processes,
            }
        )
        write_manifest(folder.path, self._manifest)
        return measured

    def _close_manifest(self, folder: RunFolder | None, error: FtpstormError) -> None:
        """Note in the manifest why the run came to nothing."""
        if folder is None or self._manifest is None or self._manifest.status is not None:
            return
        status = Status.INTERRUPTED if error.exit_code is ExitCode.INTERRUPTED else Status.CUT_SHORT
        reason = str(error).partition("\n")[0]
        write_manifest(folder.path, self._manifest.model_copy(update={"status": status.value, "stop_reason": reason}))

    # --- after ------------------------------------------------------------------------------------------------------

    def _report(self, folder: RunFolder, measured: Measured) -> int:
        """Turn spools into Parquet, make the report, print it, and return the exit code."""
        from ftpstorm.records.parquet import convert
        from ftpstorm.report.build import build_report
        from ftpstorm.report.markdown import append_markdown
        from ftpstorm.report.summary import exit_code

        if self._console.is_terminal and not self._request.quiet:
            self._view.note("making the report ...")
        convert(folder.path)
        summary = build_report(folder.path, plots=self._request.plots)
        if self._request.markdown is not None:
            append_markdown(Path(self._request.markdown), summary)
        self._print(folder, measured, summary)
        # a run that was asked to stop is interrupted for whoever asked, whatever else befell it
        return ExitCode.INTERRUPTED if self._requests.how is not None else exit_code(summary)

    def _print(self, folder: RunFolder, measured: Measured, summary: Summary) -> None:
        if self._request.json_output:
            _write_stdout(json.dumps(summary.to_json()))
        if self._request.quiet:
            return
        from ftpstorm.report.terminal import summary_table

        self._view.print(summary_table(summary))
        if measured.reason is not None:
            self._view.note(f"{measured.status}: {measured.reason}")
        self._view.note(f"report: {folder.path / 'report.html'}")


def _plan(request: RunRequest, scenario: Scenario, now: datetime, laboratory: Laboratory | None) -> Plan:
    for name, flow in scenario.flows.items():
        try:
            unroll(flow)
        except ValueError as error:
            raise ScenarioError(scenario.name, [Problem(str(error), path=f"flows.{name}")]) from None
    return Plan(
        run_id=new_run_id(scenario.name, now),
        scenario=scenario,
        variant=request.variant,
        workers=request.workers,
        shard=request.shard,
        private_namespace=request.namespace.private,
        host=read_host_facts(),
        server_host=None if laboratory is None else laboratory.server_facts(),
    )


def _manifest(request: RunRequest, plan: Plan, prediction_sha256: str, warnings: list[str]) -> Manifest:
    """Return the manifest as it stands until start_at is known."""
    clock = read_clock_pair()
    return Manifest(
        run_id=plan.run_id,
        name=plan.scenario.name,
        source=request.source,
        variant=plan.variant,
        label=request.label,
        notes=request.notes,
        started_at=_utc(datetime.fromtimestamp(clock.realtime_ns // 1000 / 1e6, UTC)),
        start_at_ns=clock.monotonic_ns,
        clock={"monotonic_ns": clock.monotonic_ns, "realtime_ns": clock.realtime_ns},
        command=list(request.command),
        versions=read_versions(),
        host={**plan.host.model_dump(mode="json"), "load_average": list(os.getloadavg())},
        namespace=request.namespace,
        target=_planned_target(plan),
        prediction_sha256=prediction_sha256,
        calibration=known_calibration(os.environ),
        warnings=warnings,
    )


def _planned_target(plan: Plan) -> dict[str, Any]:
    target = plan.scenario.target
    kind = "emulator" if target.emulator is not None else "server" if target.server is not None else "host"
    return {"kind": kind}


def _utc(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _write_stdout(text: str) -> None:
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # nobody reads any more; the summary stands in the folder
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
