"""``ftpstorm simulate``: a results folder made by the model in place of a run, and its report. No packet is sent."""

from __future__ import annotations

import gc
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ftpstorm.clock import read_clock_pair
from ftpstorm.conduct.folder import create_folder, new_run_id
from ftpstorm.conduct.live import View, new_console
from ftpstorm.conduct.preflight import read_versions
from ftpstorm.errors import ExitCode, Problem, ScenarioError, UsageError
from ftpstorm.limits.profiles import PROFILES, profile_of
from ftpstorm.plan.plan import HostFacts, Plan, unroll
from ftpstorm.records.manifest import Manifest, NamespaceRecord, write_manifest
from ftpstorm.records.prediction_file import read_prediction, write_prediction
from ftpstorm.records.schema import OPERATIONS, SESSIONS, Table
from ftpstorm.sampler.hostfacts import read_host_facts
from ftpstorm.scenario.gallery import find_scenario, source_of
from ftpstorm.scenario.loader import dump_scenario, load_scenario
from ftpstorm.scenario.schema import Scenario
from ftpstorm.simulate.events import Simulation
from ftpstorm.simulate.kernels import Suppose
from ftpstorm.simulate.predict import Prediction, predict_from
from ftpstorm.simulate.scaling import scale
from ftpstorm.simulate.service import ServiceTimes
from ftpstorm.simulate.tally import Tally
from ftpstorm.simulate.world import Row
from ftpstorm.vocabulary import Status

if TYPE_CHECKING:
    from ftpstorm.records.reader import Rows

WRITER: Final = "simulation"
NAMED_MAX: Final = 3
"""Quantities that are left open for one reason and named on a terminal; the manifest names all."""
REMARK: Final = "simulated: a model made every figure and every picture of this report, and no packet was sent"


@dataclass(frozen=True, slots=True)
class SimulateOptions:
    """The options of ``ftpstorm simulate``, as text where the user gave text."""

    scenario: str
    overrides: Sequence[str] = ()
    variant: str | None = None
    profiles: Sequence[str] = ()
    """Names, for both hosts or for the gateway by their kind; ``client=NAME`` and ``server=NAME`` for one host."""
    from_run: str | None = None
    scale: str | None = None
    label: str | None = None
    out: str = "results"
    json_output: bool = False
    plots: bool = True
    command: Sequence[str] = ()


def simulate(options: SimulateOptions) -> int:
    """Simulate what `options` ask for, write its folder and report, print the summary; return the exit code.

    That is 99 where the simulated run breaks an expectation or a threshold of its scenario, else 0. Raises
    FtpstormError for what cannot be simulated.
    """
    from ftpstorm.report.build import build_report
    from ftpstorm.report.terminal import summary_table
    from ftpstorm.vocabulary import Verdict

    view = View(new_console(stderr=options.json_output))
    folder = make_folder(options)
    summary = build_report(folder, plots=options.plots)
    if options.json_output:
        print(json.dumps(summary.to_json()), flush=True)
    view.print(summary_table(summary))
    view.note(REMARK)
    for line in left_open_lines(Prediction.model_validate(read_prediction(folder))):
        view.note(line)
    view.note(f"report: {folder / 'report.html'}")
    return int(ExitCode.EXPECTATION_FAILED if summary.verdict is Verdict.FAIL else ExitCode.PASS)


def left_open_lines(prediction: Prediction) -> list[str]:
    """Return what the model counted and yet does not foretell, a line for each reason."""
    named: dict[str, list[str]] = {}
    for item in prediction.not_predicted:
        quantity = item.quantity.removeprefix("expected.").removesuffix("_s").replace("_", " ")
        named.setdefault(item.why, []).append(quantity.replace(".", " "))
    return [
        f"not foretold: {', '.join(names[:NAMED_MAX])}"
        f"{f' and {len(names) - NAMED_MAX} more' if len(names) > NAMED_MAX else ''}: {why}"
        for why, names in named.items()
    ]


def make_folder(options: SimulateOptions) -> Path:
    """Simulate, and write all of a results folder but its report; return the folder."""
    from ftpstorm.conduct.timeline import timeline
    from ftpstorm.records.parquet import write_rows, write_samples

    loaded = load_scenario(find_scenario(options.scenario), overrides=options.overrides, variant=options.variant)
    scenario = _scaled(loaded.scenario, options.scale)
    suppose = read_profiles(options.profiles)
    service = None if options.from_run is None else _measured(options.from_run, Path(options.out))
    plan = _plan(scenario, loaded.variant, suppose)
    started = datetime.now(UTC)
    simulation = Simulation(plan, service, suppose=suppose)
    plan = _as_simulated(plan, simulation)
    folder = create_folder(Path(options.out), plan, dump_scenario(scenario)).path
    tally, tables = _run(simulation)
    prediction = predict_from(simulation, tally, stamped_at=_utc(started))
    sha256 = write_prediction(folder, prediction)
    ended_ns = max((int(rows.data["end_ns"].max()) for rows in tables.values() if len(rows)), default=0)
    for table, rows in ((SESSIONS, tables[SESSIONS.name]), (OPERATIONS, tables[OPERATIONS.name])):
        write_rows(folder, rows, table)
    write_samples(folder, timeline(simulation, scenario.sampling.every, ended_ns))
    warnings = [REMARK, *_suppositions(suppose, options), *(item.render(options.scenario) for item in loaded.warnings)]
    warnings += [f"left open: {item.quantity}: {item.why}" for item in prediction.not_predicted]
    manifest = _manifest(options, plan, simulation, sha256, max(1, ended_ns), _utc(started))
    write_manifest(folder, manifest.model_copy(update={"warnings": warnings}))
    return folder


def read_profiles(names: Sequence[str]) -> Suppose:
    """Return which documented platforms stand where. Raises UsageError for a name that says nothing of ports."""
    chosen: dict[str, Any] = {}
    for text in names:
        where, equals, name = text.rpartition("=")
        if equals and where not in ("client", "server"):
            raise UsageError(f"--profile {text}: write NAME, client=NAME or server=NAME")
        try:
            profile = profile_of(name)
        except ValueError as error:
            raise UsageError(f"--profile {text}: {error}") from None
        if profile.kind not in ("host", "nat") or profile.ports is None:
            able = ", ".join(known.name for known in PROFILES.values() if known.kind in ("host", "nat"))
            raise UsageError(f"--profile {text}: it is no host's and no gateway's ports; those are {able}")
        if profile.kind == "nat" and where:
            raise UsageError(f"--profile {text}: it is a gateway, which stands between client and server")
        places = ("router",) if profile.kind == "nat" else (where,) if where else ("client", "server")
        chosen |= dict.fromkeys(places, profile)
    return Suppose(**chosen)


def _scaled(scenario: Scenario, text: str | None) -> Scenario:
    if text is None:
        return scenario
    try:
        return scale(scenario, Fraction(text))
    except (ValueError, ZeroDivisionError) as error:
        raise UsageError(f"--scale {text}: {error}; write a number such as 10 or 0.5") from None


def _measured(text: str, results: Path) -> ServiceTimes:
    from ftpstorm.records.reader import open_run
    from ftpstorm.report.build import resolve_run
    from ftpstorm.report.service import service_times

    return service_times(open_run(resolve_run(text, results)))


def _plan(scenario: Scenario, variant: str | None, suppose: Suppose) -> Plan:
    for name, flow in scenario.flows.items():
        try:
            unroll(flow)
        except ValueError as error:
            raise ScenarioError(scenario.name, [Problem(str(error), path=f"flows.{name}")]) from None
    facts = read_host_facts()
    if scenario.lab is not None:  # its hosts are new namespaces, with the kernel's defaults
        facts = HostFacts(nofile_hard=facts.nofile_hard, kernel=facts.kernel, hostname_hash=facts.hostname_hash)
    if suppose.client is not None:
        facts = facts.model_copy(update={"tcp_tw_reuse": None, "reserved_ports": None, "reserved_list": None})
    run_id = new_run_id(f"simulated-{scenario.name}", datetime.now(UTC))
    return Plan(run_id=run_id, scenario=scenario, variant=variant, host=facts)


def _as_simulated(plan: Plan, simulation: Simulation) -> Plan:
    """Return the plan with the client's port range as the simulation took it: the report reads it there."""
    kernel = simulation.setting.kernels.client
    facts = plan.host.model_copy(update={"port_range": (kernel.first, kernel.last), "reserved_ports": kernel.reserved})
    return plan.model_copy(update={"host": facts})


class _Packed:
    """The rows of one table, packed as the reader lays them out: as a spool does, and the worker."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._pack = struct.Struct(f"{table.struct_format}x").pack  # x: the number of the worker, the only one
        self._packed = bytearray()

    def add(self, rows: list[Row]) -> None:
        """Take some more."""
        pack = self._pack
        self._packed += b"".join([pack(*row) for row in rows])

    def rows(self, texts: dict[int, str]) -> Rows:
        """Return all of them in the reader's form."""
        import numpy as np

        from ftpstorm.records.reader import Rows, row_dtype

        data = np.frombuffer(self._packed, row_dtype(self._table))
        known = ("", *(texts.get(number, "") for number in range(1, max(texts, default=0) + 1)))
        return Rows(data, known, (WRITER,))


def _run(simulation: Simulation) -> tuple[Tally, dict[str, Rows]]:
    """Run the model to its end; return what the prediction counts, and all rows by table."""
    tally = Tally()
    collecting = gc.isenabled()
    gc.disable()  # millions of tuples and not one cycle: the collector would search them in vain, for half the time
    try:
        return tally, _gather(simulation, tally)
    finally:
        if collecting:
            gc.enable()


def _gather(simulation: Simulation, tally: Tally) -> dict[str, Rows]:
    operations, sessions = _Packed(OPERATIONS), _Packed(SESSIONS)
    for made_operations, made_sessions in simulation.batches():
        tally.feed(made_operations, made_sessions)
        operations.add(made_operations)
        sessions.add(made_sessions)
    texts = simulation.texts
    return {OPERATIONS.name: operations.rows(texts), SESSIONS.name: sessions.rows(texts)}


def _suppositions(suppose: Suppose, options: SimulateOptions) -> list[str]:
    said = []
    for name in ("client", "server", "router"):
        profile = getattr(suppose, name)
        if profile is not None:
            said.append(f"the {name} is supposed to be {profile.title}, as documented")
    if options.scale is not None:
        said.append(f"the load is {options.scale} times that of the scenario")
    if options.from_run is not None:
        said.append(f"service times are those of {options.from_run}")
    return said


def _manifest(
    options: SimulateOptions, plan: Plan, simulation: Simulation, sha256: str, ended_ns: int, at: str
) -> Manifest:
    clock = read_clock_pair()
    serving = simulation.setting.serving
    target = plan.scenario.target
    kind = "emulator" if target.emulator is not None else "server" if target.server is not None else "host"
    ports = list(serving.ports) if target.emulator is not None and serving.ports is not None else None
    span = (serving.ports[0], serving.ports[-1]) if serving.ports is not None else None
    found: dict[str, Any] = {"kind": kind, "addresses": [], "passive_ports": ports, "passive_range": span}
    return Manifest(
        run_id=plan.run_id,
        name=plan.scenario.name,
        source=source_of(options.scenario),
        variant=plan.variant,
        label=options.label,
        started_at=at,
        start_at_ns=clock.monotonic_ns,
        clock={"monotonic_ns": clock.monotonic_ns, "realtime_ns": clock.realtime_ns},
        ended_ns=ended_ns,
        status=Status.SIMULATED.value,
        command=list(options.command),
        versions=read_versions(),
        host=plan.host.model_dump(mode="json"),
        namespace=NamespaceRecord(private=False, reason="nothing ran: the run is simulated"),
        target={key: value for key, value in found.items() if value is not None},
        prediction_sha256=sha256,
    )


def _utc(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
