"""Pictures of ports: the emulator's pool, and apart from it what the kernel held on each side."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Final

import numpy as np

from ftpstorm.records.reader import Array, Readings
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.plots import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    Drawing,
    end_label,
    figure,
    thin,
    time_axis,
)
from ftpstorm.report.summary import Summary
from ftpstorm.report.wording import count_of, number, percent
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import Metric, PoolState

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CLIENTS: Final = (BLUE, SKY, PURPLE, GREEN)
"""Colours of client hosts, in turn."""


def pool(evidence: Evidence, summary: Summary) -> Drawing | None:
    """The emulator's passive ports by state, stacked up to the size of the pool."""
    series = {state: evidence.pool_series(state) for state in PoolState}
    known = {state: readings for state, readings in series.items() if readings is not None and len(readings)}
    size = evidence.pool_size
    if size is None or PoolState.FREE not in known:
        return None
    made, (axes,) = figure(1, 4.2)
    base_series = thinned(known[PoolState.FREE])
    t_s = base_series.t_ns / NS_PER_S
    layers = [
        (PoolState.IN_USE, BLUE, "in use by a data connection"),
        (PoolState.LISTENING, GREEN, "listening, waiting for the client"),
        (PoolState.HELD, ORANGE, held_label(evidence)),
    ]
    bottom = np.zeros(len(t_s))
    for state, colour, label in layers:
        values = _on(known.get(state), base_series)
        if not values.any():
            continue
        axes.fill_between(t_s, bottom, bottom + values, step="post", color=colour, linewidth=0, label=label)
        bottom = bottom + values
    axes.axhline(size, color=VERMILLION, linestyle=(0, (6, 3)), linewidth=1.8)
    end_label(axes, evidence.shown_ns / NS_PER_S, size, f"all {number(size)} ports", VERMILLION)
    axes.set_ylim(0, 1.35 * size)
    axes.set_ylabel("passive ports of the emulator")
    if bottom.any():
        axes.legend(loc="upper left", ncols=3, fontsize=9)
    time_axis(axes, evidence)
    title = pool_title(evidence, known[PoolState.FREE], size)
    axes.set_title(title)
    return Drawing(made, title, f"Passive ports of the emulator by state over time. {title}.")


def thinned(readings: Readings) -> Readings:
    """Return at most about POINTS_MAX of the readings, the lowest and the highest of each stretch among them."""
    at_s, values = thin(readings.t_ns, readings.value)
    return Readings(np.round(at_s * NS_PER_S).astype(np.int64), values)


def held_label(evidence: Evidence) -> str:
    """Return what a held port of the emulator is."""
    if not evidence.hold_ns:
        return "held after use"
    return f"held for {number(evidence.hold_ns / NS_PER_S)} s after use (an imitation, not kernel state)"


def _on(readings: Readings | None, base: Readings) -> Array:
    """Bring a series onto the instants of another: the last value not later."""
    if readings is None or not len(readings):
        return np.zeros(len(base))
    index = np.clip(np.searchsorted(readings.t_ns, base.t_ns, side="right") - 1, 0, len(readings) - 1)
    values: Array = readings.value[index]
    return values


def pool_title(evidence: Evidence, free: Readings, size: int) -> str:
    """Return how far the pool ran out, in a sentence without its full stop."""
    inside = (free.t_ns >= evidence.load_start_ns) & (free.t_ns <= evidence.load_end_ns)
    values = free.value[inside] if inside.any() else free.value
    if values.min() > 0:
        taken = max(size - values.min(), min(evidence.pool_peak or 0, size - 1))
        return f"The pool never ran out: at most {number(taken)} of {number(size)} ports were taken"
    full = float(np.mean(values <= 0))
    if full >= 0.01:
        return f"The pool of {count_of(size, 'port')} had none free for {percent(full, 0)} of the load"
    return f"The pool of {count_of(size, 'port')} ran out for moments"


def ports(evidence: Evidence, summary: Summary) -> Drawing | None:
    """Kernel state: each client host's ephemeral ports against their ceiling, and TIME_WAIT on each host."""
    ephemeral = _by_host(evidence, Metric.EPHEMERAL_PORTS, "client", "*")
    waiting = {side: _by_host(evidence, Metric.TCP_STATE, side, "time-wait") for side in ("client", "server")}
    total = evidence.run.samples.one(Metric.SOCKSTAT, key="tw")
    if not ephemeral and total is None and not any(waiting.values()):
        return None
    made, (upper, lower) = figure(2, 6.2)
    _ephemeral(upper, evidence, ephemeral)
    _time_wait(lower, waiting, total)
    drawn = [*ephemeral.values(), *([] if total is None else [total])]
    last = max((int(readings.t_ns[-1]) for readings in drawn), default=0)
    time_axis(lower, evidence, to_ns=max(last, evidence.shown_ns))
    title, waited = ports_title(evidence), wait_title(evidence)
    upper.set_title(title)
    lower.set_title(waited)
    title = f"{title}. {waited}"
    return Drawing(made, title, f"Kernel state over time: ephemeral ports in use and sockets in TIME_WAIT. {title}.")


def _by_host(evidence: Evidence, metric: Metric, side: str, key: str) -> dict[str, Readings]:
    """Return a series of every host of a side that has readings, by the host's name."""
    found = evidence.run.samples.select(metric, host=side, key=key)
    return {series.host: readings for series, readings in found.items() if len(readings)}


def ports_title(evidence: Evidence) -> str:
    """Return how many of its ephemeral ports the client had in use, in a sentence without its full stop."""
    in_use, budget = evidence.client_ports
    if in_use is None or not budget:
        return "Client: ephemeral ports"
    return f"Client: at most {number(in_use)} of {number(budget)} ephemeral ports in use when sampled"


def wait_title(evidence: Evidence) -> str:
    """Return on whose side TIME_WAIT gathers, in a sentence without its full stop."""
    series = evidence.run.samples.select(Metric.TCP_STATE, key="time-wait")
    peaks = {name.host: float(found.value.max()) for name, found in series.items() if len(found)}
    if not any(peaks.values()):
        return "No side kept sockets in TIME_WAIT"
    side = max(peaks, key=lambda name: peaks[name])
    return f"TIME_WAIT gathers on the {side}'s side: up to {number(peaks[side])}"


def _ephemeral(axes: Axes, evidence: Evidence, hosts: dict[str, Readings]) -> None:
    _, budget = evidence.client_ports
    axes.set_yscale("symlog", linthresh=1)
    axes.set_ylabel("client's ephemeral ports\nin use (log scale)")
    for (name, readings), colour in zip(hosts.items(), cycle(_CLIENTS), strict=False):
        axes.plot(*thin(readings.t_ns, readings.value), color=colour, linewidth=1.8, drawstyle="steps-post", label=name)
    if len(hosts) > 1:
        axes.legend(loc="lower right", ncols=4, fontsize=9)
    if not hosts:
        axes.text(0.5, 0.4, "not sampled", transform=axes.transAxes, ha="center", color=GREY)
    if budget:
        axes.axhline(budget, color=VERMILLION, linestyle=(0, (6, 3)), linewidth=1.8)
        low, high = evidence.plan.port_range or (0, 0)
        text = f"ceiling {number(budget)} (ports {low} to {high}) to one destination"
        axes.text(0.01, budget * 0.75, text, color=VERMILLION, va="top", transform=axes.get_yaxis_transform())
        axes.set_ylim(0, budget * 3)
    axes.yaxis.set_major_formatter(lambda value, _: number(value))
    axes.yaxis.set_minor_formatter("")


def _time_wait(axes: Axes, waiting: dict[str, dict[str, Readings]], total: Readings | None) -> None:
    if total is not None:
        t_s, values = thin(total.t_ns, total.value)
        axes.plot(t_s, values, color=GREY, linewidth=1.2, label="all, as /proc/net/sockstat counts them")
    for hosts, colours, dashes in zip(waiting.values(), (_CLIENTS, (ORANGE,)), ("--", "-"), strict=True):
        for (name, readings), colour in zip(hosts.items(), cycle(colours), strict=False):
            axes.plot(
                *thin(readings.t_ns, readings.value), color=colour, linestyle=dashes, linewidth=2,
                label=f"on the {name}'s ports (most: {number(float(readings.value.max()))})",
            )  # fmt: skip
    axes.set_ylabel("sockets in TIME_WAIT")
    axes.yaxis.set_major_formatter(lambda value, _: number(value))
    axes.set_ylim(bottom=0, top=None if axes.get_legend_handles_labels()[0] else 1)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left", fontsize=9)
