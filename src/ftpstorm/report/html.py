"""report.html: one self-contained page from a summary, its pictures and its scenario. No network, no script needed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ftpstorm.report.evidence import Evidence
from ftpstorm.report.summary import Summary
from ftpstorm.report.wording import DASH, count_of, milliseconds, number, per_second, percent

if TYPE_CHECKING:
    from jinja2 import Environment

    from ftpstorm.report.plots import Picture

PAGE: Final = "report.html"

VERDICTS: Final = {
    "pass": "Passed: everything that the scenario demands held.",
    "fail": "Failed: a threshold or an expectation did not hold.",
    "invalid": "Invalid: this run proves nothing about the server.",
}


def environment() -> Environment:
    """Return the template environment: everything is escaped, a missing name is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("ftpstorm.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(num=number, rate=per_second, ms=milliseconds, pct=percent)
    made.globals.update(dash=DASH, count_of=count_of)
    return made


def page(evidence: Evidence, summary: Summary, pictures: Sequence[Picture]) -> str:
    """Return the page's HTML."""
    by_name = {picture.name: picture for picture in pictures}
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            s=summary,
            pictures=by_name,
            verdict_text=VERDICTS[summary.verdict.value],
            scenario_text=evidence.run.scenario_text or json.dumps(evidence.plan.to_json()["scenario"], indent=2),
            rerun=again(summary, evidence.run.folder),
            settings=settings(evidence),
            namespace=evidence.manifest.namespace,
        )
    )


def again(summary: Summary, folder: Path) -> list[str]:
    """Return the commands that repeat the run and remake the report, to be entered in the folder above results/."""
    variant = f" --variant {shlex.quote(summary.variant)}" if summary.variant else ""
    recorded = shlex.join(summary.command) if len(summary.command) > 2 else None
    return [
        recorded or f"ftpstorm run {summary.scenario}{variant}",
        f"ftpstorm run {shlex.quote(f'results/{folder.name}/scenario.yaml')}",
        f"ftpstorm report {shlex.quote(f'results/{folder.name}')}",
    ]


def settings(evidence: Evidence) -> dict[str, Any]:
    """Return the settings of the load generator's host and of the run, in words."""
    facts = evidence.plan.host
    low, high = facts.port_range or (None, None)
    rows: dict[str, Any] = {
        "kernel": facts.kernel,
        "processor cores": facts.cpu_count,
        "net.ipv4.ip_local_port_range": None if low is None else f"{low} {high}",
        "ports reserved (net.ipv4.ip_local_reserved_ports)": facts.reserved_ports,
        "net.ipv4.tcp_tw_reuse": facts.tcp_tw_reuse,
        "net.ipv4.tcp_timestamps": facts.tcp_timestamps,
        "net.core.somaxconn": facts.somaxconn,
        "open files, soft and hard limit": None
        if facts.nofile_soft is None
        else f"{facts.nofile_soft:,} and {number(facts.nofile_hard)}",
        "worker processes": evidence.plan.workers,
        "network namespace of its own": "yes" if evidence.manifest.namespace.private else "no",
    }
    return {name: value for name, value in rows.items() if value is not None}


def write_page(folder: Path, evidence: Evidence, summary: Summary, pictures: Sequence[Picture]) -> Path:
    """Write report.html of a results folder; return its path."""
    path = folder / PAGE
    temporary = path.with_name(f".{PAGE}")
    temporary.write_text(page(evidence, summary, pictures), encoding="utf-8")
    temporary.replace(path)
    return path
