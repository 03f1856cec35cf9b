"""From what stands on the command line to supervised runs: find, load, override, a run for each variant asked for.

Nothing here touches the network; a problem of the scenario or of the options is an exception before anything starts.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ftpstorm.conduct.metrics import listen, url_of
from ftpstorm.conduct.request import (
    UNNAMED_ENVIRONMENT_KEY,
    WORKERS_MAX,
    RunRequest,
    parse_shard,
    parse_start_at,
    scenario_fields,
)
from ftpstorm.conduct.supervisor import supervise
from ftpstorm.conduct.target import FTPS_PORT, TargetUrl, parse_target_url
from ftpstorm.errors import ExitCode, UsageError
from ftpstorm.scenario.gallery import find_scenario, source_of
from ftpstorm.scenario.loader import Loaded, dump_scenario, load_scenario, load_text
from ftpstorm.scenario.schema import Scenario
from ftpstorm.scenario.target import Target
from ftpstorm.units import NS_PER_S, format_duration, parse_duration, parse_rate

PASSWORD_ENVIRONMENT_KEY: Final = "FTPSTORM_PASSWORD"  # noqa: S105 - the name of a variable
"""Where the password of a target given by URL is looked for."""
URL_PREFIXES: Final = ("ftp:", "ftps:")
NAME_MAX: Final = 64
URL_GRACE_NS: Final = 60 * NS_PER_S
"""How long after its load the run of a URL may still end its last sessions."""
URL_MAX_SESSIONS: Final = 1000
REPEATS_MAX: Final = 100

PRECEDENCE: Final = (ExitCode.INTERRUPTED, ExitCode.INVALID_RUN, ExitCode.EXPECTATION_FAILED, ExitCode.PASS)
"""Of several runs' exit codes the first of these that occurs; any other code is an error and outweighs them."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options of ``ftpstorm run``, as text where the user gave text."""

    scenario: str
    """A file, a part of a gallery name, or ``ftp://host/file``."""
    overrides: Sequence[str] = ()
    variant: str | None = None
    all_variants: bool = False
    repeats: int = 1
    """Runs of each variant asked for. They take turns, so that a drift of the machine meets all alike."""
    target: str | None = None
    workers: int = 1
    shard: str | None = None
    start_at: str | None = None
    label: str | None = None
    note: str | None = None
    out: str = "results"
    allow_targets: Sequence[str] = ()
    expect: bool = True
    json_output: bool = False
    quiet: bool = False
    plots: bool = True
    metrics: str | None = None
    """Where to publish metrics while running: ``ADDRESS:PORT``, or a port on loopback."""
    markdown: str | None = None
    """File that each run's summary is appended to as Markdown."""
    rate: str | None = None
    duration: str | None = None
    command: Sequence[str] = ()


def launch(options: RunOptions) -> int:
    """Run what `options` ask for; return the exit code. Raises FtpstormError for what cannot be run."""
    requests = plan_requests(options)
    code = int(ExitCode.PASS)
    metrics = listen(options.metrics) if options.metrics is not None else None
    if metrics is not None:
        print(f"metrics: {url_of(metrics)}", file=sys.stderr)
    columns: list[list[Path]] = [[] for _ in requests]
    for number in range(options.repeats * len(requests)):
        column = number % len(requests)
        request = requests[column]
        private = request.read_scenario().target.emulator is not None
        ended = supervise(request, private=private, metrics=metrics)
        code = worse(code, ended.code)
        columns[column] += [ended.folder] if ended.folder is not None else []
        if code not in PRECEDENCE or code == ExitCode.INTERRUPTED:
            return code
        if ended.stop and number + 1 < options.repeats * len(requests):
            return int(ExitCode.INTERRUPTED)
    if len(requests) > 1 and not options.quiet and all(len(folders) == options.repeats for folders in columns):
        _set_side_by_side(columns, options)
    return code


def _set_side_by_side(columns: Sequence[Sequence[Path]], options: RunOptions) -> None:
    """Write the page of before and after: the scenario as it stands beside its variants, a column each with all of its
    repeats. It judges nothing."""
    from ftpstorm.conduct.live import View, new_console
    from ftpstorm.report.compare import COMPARE_PAGE, compare_runs

    comparison = compare_runs(columns, plots=options.plots)
    view = View(new_console(stderr=options.json_output))
    view.note(comparison.headline)
    view.note(f"before and after: {columns[-1][-1] / COMPARE_PAGE}")


def worse(one: int, other: int) -> int:
    """Return the exit code that stands for two runs."""
    for code in (one, other):
        if code not in PRECEDENCE:
            return code
    return min(one, other, key=[int(code) for code in PRECEDENCE].index)


def plan_requests(options: RunOptions) -> list[RunRequest]:
    """Return the request of each run that `options` ask for: one, or with all_variants one more for each variant."""
    if options.variant is not None and options.all_variants:
        raise UsageError("--variant and --all-variants exclude each other")
    if not 1 <= options.workers <= WORKERS_MAX:
        raise UsageError(f"--workers {options.workers}: from 1 to {WORKERS_MAX}")
    if not 1 <= options.repeats <= REPEATS_MAX:
        raise UsageError(f"--repeats {options.repeats}: from 1 to {REPEATS_MAX}")
    if (options.all_variants or options.repeats > 1) and options.start_at is not None:
        raise UsageError("--start-at names one instant: give it with one run, not with --all-variants or --repeats")
    shard = parse_shard(options.shard) if options.shard is not None else (0, 1)
    start_at = parse_start_at(options.start_at, time.time_ns()) if options.start_at is not None else None
    source = _source(options.scenario)
    requests: list[RunRequest] = []
    for loaded in _load_all(options):
        scenario = loaded.scenario if options.expect else loaded.scenario.model_copy(update={"expect": None})
        requests.append(
            RunRequest(
                scenario=scenario_fields(scenario),
                source=source,
                variant=loaded.variant,
                label=options.label,
                notes=options.note,
                workers=options.workers,
                shard=shard,
                start_at_realtime_ns=start_at,
                out=os.path.abspath(options.out),  # noqa: PTH100 - text in, text out
                allow_targets=tuple(options.allow_targets),
                json_output=options.json_output,
                quiet=options.quiet,
                plots=options.plots,
                markdown=os.path.abspath(options.markdown) if options.markdown else None,  # noqa: PTH100 - as above
                command=tuple(options.command),
                warnings=tuple(problem.render(str(loaded.source)) for problem in loaded.warnings),
            )
        )
    return requests


def _source(text: str) -> str | None:
    unnamed = os.environ.get(UNNAMED_ENVIRONMENT_KEY) or text.startswith(URL_PREFIXES)
    return None if unnamed else source_of(text)


def _load_all(options: RunOptions) -> list[Loaded]:
    if options.scenario.startswith(URL_PREFIXES):
        name, text = options.scenario, url_scenario(options)

        def load(variant: str | None, overrides: Sequence[str]) -> Loaded:
            return load_text(text, name, overrides=overrides, variant=variant)
    else:
        if options.rate is not None or options.duration is not None:
            raise UsageError("--rate and --duration belong to an ftp:// target; for a scenario use --set")
        path = find_scenario(options.scenario)

        def load(variant: str | None, overrides: Sequence[str]) -> Loaded:
            return load_scenario(path, overrides=overrides, variant=variant)

    overrides = list(options.overrides)
    base: Scenario | None = None
    if options.target is not None or options.all_variants:
        base = load(None, ()).base
    if options.target is not None and base is not None:
        overrides.insert(0, target_override(base.target, parse_target_url(options.target)))
    variants: list[str | None] = [options.variant]
    if options.all_variants and base is not None:
        variants.extend(base.variants)
    return [load(variant, overrides) for variant in variants]


def target_override(present: Target, url: TargetUrl) -> str:
    """Return the ``target=...`` override that sends a scenario's load to `url`.

    TLS, user and password source of a scenario with a host stay unless the URL names a user; where nothing names a
    password, FTPSTORM_PASSWORD is used if it is set. Implicit TLS, the scenario's or that of ftps://, is on port 990
    unless the URL says otherwise.
    """
    fields: dict[str, Any] = {"host": url.host, "port": url.port}
    if present.host is not None:
        kept = {"user", "password_env", "password_file", "tls"}  # without `tls` the password would go in plain text
        fields |= present.model_dump(mode="json", include=kept, exclude_none=True)
    if url.implicit_tls:
        fields["tls"] = {**fields.get("tls", {}), "mode": "implicit"}
    if not url.port_given and fields.get("tls", {}).get("mode") == "implicit":
        fields["port"] = FTPS_PORT
    if url.user is not None:
        fields["user"] = url.user
    if not fields.keys() & {"password_env", "password_file"} and PASSWORD_ENVIRONMENT_KEY in os.environ:
        fields["password_env"] = PASSWORD_ENVIRONMENT_KEY
    return f"target={json.dumps(fields)}"  # JSON is YAML


def url_scenario(options: RunOptions) -> str:
    """Return the scenario text behind ``run ftp://host/file --rate 10/s --duration 30s``.

    A path that ends in "/" or is empty is listed, any other is fetched. The guard is what the user asked for.
    """
    url = parse_target_url(options.scenario)
    if options.rate is None or options.duration is None:
        raise UsageError(f"{options.scenario} needs --rate and --duration, such as --rate 10/s --duration 30s")
    for option, text, parse in (("--rate", options.rate, parse_rate), ("--duration", options.duration, parse_duration)):
        try:
            parse(text)
        except ValueError as error:
            raise UsageError(f"{option} {text}: {error}") from None
    transfer: dict[str, Any]
    if not url.path or url.path.endswith("/"):
        transfer = {"list": {"path": url.path or None}}
    else:
        transfer = {"retr": {"file": url.path}}
    target: dict[str, Any] = {"host": url.host, "port": url.port, "user": url.user or "anonymous"}
    if url.implicit_tls:
        target["tls"] = {"mode": "implicit"}
    if PASSWORD_ENVIRONMENT_KEY in os.environ:
        target["password_env"] = PASSWORD_ENVIRONMENT_KEY
    load = {
        "executor": "constant-arrival-rate",
        "rate": options.rate,
        "duration": options.duration,
        "max_sessions": URL_MAX_SESSIONS,
        "flow": "session",
    }
    scenario = Scenario.model_validate(
        {
            "version": 1,
            "name": _name_of(url.host),
            "description": f"{options.rate} for {options.duration} against {options.scenario.partition(':')[0]}://{url.host}:{url.port}/{url.path}",
            "target": target,
            "flows": {"session": {"steps": ["login", transfer, "quit"]}},
            "load": {"steady": load},
            "guard": {
                "max_sessions": URL_MAX_SESSIONS,
                "max_rate": options.rate,
                "stop_after": format_duration(parse_duration(options.duration) + URL_GRACE_NS),
            },
        }
    )
    return dump_scenario(scenario)


def _name_of(host: str) -> str:
    """Return a scenario name for a target host: its letters and digits, the rest as hyphens."""
    return f"ftp-{re.sub(r'[^a-z0-9]+', '-', host.lower()).strip('-')}"[:NAME_MAX]
