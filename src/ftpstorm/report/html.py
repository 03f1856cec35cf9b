"""report.html: one self-contained page from a summary, its graphs, its pictures and its scenario.

Nothing is loaded from anywhere, which the page's own policy enforces: only the scripts whose hashes it names run. With
scripts off, and in print, the still pictures stand where the graphs would be.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ftpstorm.report.evidence import Evidence
from ftpstorm.report.graph import tables, to_json
from ftpstorm.report.graphs import draw_graphs, time_to_ns
from ftpstorm.report.marks import marks
from ftpstorm.report.opening import meaning, opening
from ftpstorm.report.remedies import run_again
from ftpstorm.report.summary import Summary
from ftpstorm.report.wording import DASH, count_of, errno_words, milliseconds, number, per_second, percent

if TYPE_CHECKING:
    from jinja2 import Environment

    from ftpstorm.plan.plan import HostFacts
    from ftpstorm.report.plots import Picture

PAGE: Final = "report.html"


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
    made.filters.update(num=number, rate=per_second, ms=milliseconds, pct=percent, errno=errno_words)
    made.globals.update(dash=DASH, count_of=count_of)
    return made


def page(evidence: Evidence, summary: Summary, pictures: Sequence[Picture]) -> str:
    """Return the page's HTML."""
    by_name = {picture.name: picture for picture in pictures}
    graphs = {graph.name: graph for graph in draw_graphs(evidence, summary)}
    scripts = [asset("uplot.min.js"), asset("page.js")]
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            s=summary,
            pictures=by_name,
            graphs=graphs,
            tables={name: tables(graph) for name, graph in graphs.items()},
            graph_data=script_json(to_json(list(graphs.values()), time_to_ns(evidence))),
            scripts=scripts,
            script_sources=" ".join(f"'{source_hash(script)}'" for script in scripts),
            styles=asset("uplot.min.css") + asset("page.css"),
            opening=opening(summary),
            opening_means=meaning(summary),
            scenario_text=evidence.run.scenario_text or json.dumps(evidence.plan.to_json()["scenario"], indent=2),
            rerun=again(summary, evidence),
            settings=settings(evidence),
            namespace=evidence.manifest.namespace,
            marks=marks(evidence.plan.scenario, evidence.status),
        )
    )


def asset(name: str) -> str:
    """Return the text of one of the page's own scripts or style sheets."""
    return files("ftpstorm.report").joinpath("assets", name).read_text(encoding="utf-8")


def source_hash(script: str) -> str:
    """Return the name by which a Content-Security-Policy allows this very inline script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def script_json(value: object) -> str:
    """Return JSON that may stand inside a script element: nothing in it can end the element."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False).replace("<", "\\u003c")


def again(summary: Summary, evidence: Evidence) -> list[str]:
    """Return the commands that repeat the run and remake the report, to be entered in the folder above results/."""
    folder = evidence.run.folder
    recorded = shlex.join(summary.command) if len(summary.command) > 2 else None
    return [
        recorded or run_again(evidence),
        f"ftpstorm run {shlex.quote(f'results/{folder.name}/scenario.yaml')}",
        f"ftpstorm report {shlex.quote(f'results/{folder.name}')}",
    ]


def settings(evidence: Evidence) -> dict[str, dict[str, Any]]:
    """Return the settings of every host of the run and of the run itself, in words, by whose they are."""
    lab = evidence.manifest.lab or {}
    run = {
        "worker processes": evidence.plan.workers,
        "network namespace of its own": "yes" if evidence.manifest.namespace.private else "no",
        "lab": lab.get("topology"),
    }
    found = {
        "The run": run,
        "Client hosts" if lab else "The load generator's host": _facts(evidence.plan.host),
        "The server's host": {} if evidence.plan.server_host is None else _facts(evidence.plan.server_host),
    }
    for host in lab.get("hosts") or ():
        addresses = ", ".join(map(str, host.get("addresses") or ()))
        length = {"TIME_WAIT ended after, s": host.get("time_wait_s")}
        found[f"Lab host {host.get('name')}"] = {
            "addresses": addresses or None,
            **(host.get("settings") or {}),
            **length,
        }
    server = lab.get("server")
    if isinstance(server, dict):
        found["The server as it was started"] = {name: _words(value) for name, value in server.items()}
    known = {whose: {name: value for name, value in rows.items() if value is not None} for whose, rows in found.items()}
    return {whose: rows for whose, rows in known.items() if rows}


def _words(value: Any) -> Any:
    return ", ".join(f"{name} = {each}" for name, each in value.items()) if isinstance(value, dict) else value


def _facts(facts: HostFacts) -> dict[str, Any]:
    low, high = facts.port_range or (None, None)
    return {
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
    }


def write_page(folder: Path, evidence: Evidence, summary: Summary, pictures: Sequence[Picture]) -> Path:
    """Write report.html of a results folder; return its path."""
    path = folder / PAGE
    temporary = path.with_name(f".{PAGE}")
    temporary.write_text(page(evidence, summary, pictures), encoding="utf-8")
    temporary.replace(path)
    return path
