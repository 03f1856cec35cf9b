"""Graphs of ports and sockets: the emulator's pool, and apart from it what each host's kernel held, against budgets."""

from __future__ import annotations

import dataclasses
from typing import Final

from ftpstorm.records.reader import Readings
from ftpstorm.report.charts_ports import held_label, pool_title, ports_title, wait_title
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.graph import Colour, Graph, View, sampled_panel
from ftpstorm.report.summary import Summary
from ftpstorm.report.wording import number
from ftpstorm.vocabulary import Metric, PoolState, Side

TRACKED: Final = "conntrack.entries"
"""What a router's kernel calls a connection that it tracks, translated ones among them."""
STATES: Final = ("established", "syn-recv", "syn-sent", "close-wait", "fin-wait1", "fin-wait2", "last-ack", "closing")
_OWN: Final = frozenset(
    {
        Metric.TCP_STATE, Metric.EPHEMERAL_PORTS, Metric.PASSIVE_PORTS, Metric.LISTEN_QUEUE, Metric.LISTEN_BACKLOG,
        Metric.COUNTER, Metric.SOCKSTAT,
    }
)  # fmt: skip
"""Kernel metrics that have a graph of their own here or elsewhere."""


def pool(evidence: Evidence, summary: Summary) -> Graph | None:
    """The emulator's passive ports by state, stacked up to the size of the pool."""
    states: tuple[tuple[PoolState, str, Colour], ...] = (
        (PoolState.IN_USE, "in use", "blue"),
        (PoolState.LISTENING, "listening", "green"),
        (PoolState.HELD, held_label(evidence), "orange"),
    )
    free, size = evidence.pool_series(PoolState.FREE), evidence.pool_size
    series = [(label, readings) for state, label, _ in states if (readings := evidence.pool_series(state)) is not None]
    if size is None or free is None or not series:
        return None
    panel = sampled_panel(
        "passive ports", series, evidence.shown_ns, limit=(f"all {number(size)} ports", size), stacked=True,
        colours=[colour for state, _, colour in states if evidence.pool_series(state) is not None], height=240,
    )  # fmt: skip
    title = pool_title(evidence, free, size)
    alt = f"Passive ports of the emulator by state over time. {title}."
    return Graph(name="pool", title=title, alt=alt, views=[View("", [panel])])


def ports(evidence: Evidence, summary: Summary) -> Graph | None:
    """The clients' ephemeral ports against their budget, TIME_WAIT on every host, and what the router tracks."""
    to_ns = _to_ns(evidence)
    samples, panels = evidence.run.samples, []
    ephemeral = [
        (series.host, readings)
        for series, readings in samples.select(Metric.EPHEMERAL_PORTS, key="*").items()
        if len(readings)
    ]
    _, budget = evidence.client_ports
    if ephemeral:
        limit = (f"there are {number(budget)}", float(budget)) if budget else None
        made = sampled_panel("ephemeral ports in use", ephemeral, to_ns, limit=limit)
        panels.append(dataclasses.replace(made, floor=0.1))
    waiting = [
        (f"on the {series.host}'s ports", readings)
        for series, readings in samples.select(Metric.TCP_STATE, key="time-wait").items()
        if len(readings)
    ]
    waiting += [
        (f"{series.host}: all (sockstat)", readings)
        for series, readings in samples.select(Metric.SOCKSTAT, key="tw").items()
        if len(readings)
    ]
    if waiting:
        panels.append(sampled_panel("sockets in TIME_WAIT", waiting, to_ns))
    tracked = samples.select(Metric.COUNTER, host=Side.ROUTER, key=TRACKED)
    if tracked:
        router = summary.ports.router
        budget = router.budget if router is not None else None
        limit = (f"{number(budget)} ports, to each destination", float(budget)) if budget else None
        panels.append(
            sampled_panel("connections tracked", [("on the router", found) for found in tracked.values()], to_ns,
                          limit=limit)
        )  # fmt: skip
    if not panels:
        return None
    title = f"{ports_title(evidence)}. {wait_title(evidence)}"
    alt = f"Kernel state over time: ephemeral ports in use and sockets in TIME_WAIT. {title}."
    return Graph(name="ports", title=title, alt=alt, views=[View("", panels)])


def sockets(evidence: Evidence, summary: Summary) -> Graph | None:
    """Every other socket state that was met, the accept queues against their backlogs, and what else a host told."""
    to_ns = _to_ns(evidence)
    samples, views = evidence.run.samples, []
    for state in STATES:
        met = {
            series.host: readings
            for series, readings in samples.select(Metric.TCP_STATE, key=state).items()
            if len(readings) and readings.value.any()
        }
        if met:
            name = state.upper().replace("-", "_")
            views.append(View(name, [sampled_panel(f"sockets in {name}", list(met.items()), to_ns)]))
    views += _queues(evidence, to_ns)
    others: dict[str, list[tuple[str, Readings]]] = {}
    for number_, series in enumerate(samples.series):
        if series.metric.startswith(("conntrack", "nat", "tcp.", "ports.")) and series.metric not in _OWN:
            key = f": {series.key}" if series.key else ""
            others.setdefault(f"{series.metric}{key}", []).append((series.host, samples.readings(number_)))
    views += [
        View(name, [sampled_panel(name, found, to_ns)])
        for name, found in sorted(others.items())
        if any(len(readings) and readings.value.any() for _, readings in found)
    ]
    if not views:
        return None
    return Graph(
        name="sockets",
        title="Sockets and queues of every host",
        alt="Sockets in one state, or connections in one queue, over time and by host; the peaks stand in the table.",
        views=views,
        menu="what",
    )


def _queues(evidence: Evidence, to_ns: int) -> list[View]:
    samples, views = evidence.run.samples, []
    backlogs = {(series.host, series.key): found for series, found in samples.select(Metric.LISTEN_BACKLOG).items()}
    for series, readings in samples.select(Metric.LISTEN_QUEUE).items():
        if not len(readings) or not readings.value.any():
            continue
        backlog = backlogs.get((series.host, series.key))
        limit = None
        if backlog is not None and len(backlog):
            most = float(backlog.value.max())
            limit = (f"backlog {number(most)}", most)
        name = f"accept queue of port {series.key}"
        views.append(View(name, [sampled_panel("connections not accepted", [(series.host, readings)], to_ns,
                                               limit=limit)]))  # fmt: skip
    own = samples.one(Metric.ACCEPT_QUEUE)
    if own is not None and len(own) and own.value.any():
        views.append(View("the emulator's accept queue", [sampled_panel("not accepted", [("emulator", own)], to_ns)]))
    return views


def _to_ns(evidence: Evidence) -> int:
    sampled = evidence.run.samples.data["t_ns"]
    return max(evidence.shown_ns, int(sampled.max()) if len(sampled) else 0)
