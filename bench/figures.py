"""From rounds to figures: medians, spread, ratios to the C client; and the table that shows them."""

from __future__ import annotations

from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.workloads import GIB, Case

Round = dict[str, Any]
"""One measurement: the client's answer, with ``server`` and ``conditions`` beside it, or an ``error``."""


def _median_of(rounds: list[Round], key: str) -> float | None:
    values = [each[key] for each in rounds if each.get(key) is not None]
    return float(median(values)) if values else None


def summarise(case: Case, rounds: list[Round]) -> dict[str, Any]:
    """Return the figures of one client in one case.

    `cpu_us_per_op`, of it `user_us_per_op` outside the kernel (getrusage tells the two apart by the clock's ticks), and
    the rest are medians over the rounds that count; `spread` is the (largest - smallest) / median of cpu_us_per_op. A
    round with an error counts for nothing and is kept to be seen.
    """
    good = [each for each in rounds if "error" not in each]
    figures: dict[str, Any] = {"cpu_us_per_op": None, "rounds": rounds, "rounds_failed": len(rounds) - len(good)}
    if not good:
        return figures
    if case.workload == "hold":
        # Holding costs memory. How long each client holds, and how fast it lets in, is its own: no CPU to compare.
        return {"cpu_us_per_op": None, "bytes_per_session": _median_of(good, "bytes_per_session")} | figures
    costs: list[float] = [each["cpu_s"] / each["ops"] * 1e6 for each in good]
    wall = [each["wall_s"] for each in good]
    own = [each["user_s"] / each["ops"] * 1e6 for each in good if "user_s" in each]
    figures |= {
        "cpu_us_per_op": median(costs),
        "user_us_per_op": median(own) if own else None,
        "spread": (max(costs) - min(costs)) / median(costs),
        "wall_s": median(wall),
        "ops_per_s": median(each["ops"] / each["wall_s"] for each in good),
        "server_cpu_s": median(each["server"]["cpu_s"] for each in good),
    }
    if case.family == "W4":
        figures["cpu_s_per_gib"] = median(each["cpu_s"] * GIB / case.payload for each in good)
    figures["max_rss_bytes"] = _median_of(good, "max_rss_bytes")
    spool = _median_of(good, "spool_bytes")
    figures["spool_bytes_per_op"] = None if spool is None else spool / case.operations
    if case.workload == "greet":
        lateness = [each["lateness_us"] for each in good if each.get("lateness_us")]
        for quantile in ("p50", "p99", "max"):
            figures[f"lateness_{quantile}_us"] = median(each[quantile] for each in lateness) if lateness else None
    return {key: value for key, value in figures.items() if value is not None or key == "cpu_us_per_op"}


def with_ratios(clients: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Add `ratio_to_c`, the CPU for each operation against the C client's; null where either is missing."""
    yardstick = clients.get("c", {}).get("cpu_us_per_op")
    for figures in clients.values():
        cost = figures["cpu_us_per_op"]
        figures["ratio_to_c"] = cost / yardstick if cost is not None and yardstick else None
    return clients


def growth_spread(steps: list[dict[str, Any]]) -> float | None:
    """Return (largest - smallest) / smallest CPU for each operation over the steps; None where one is missing."""
    costs = [float(cost) for step in steps if (cost := step["cpu_us_per_op"]) is not None]
    if not costs or len(costs) < len(steps):
        return None
    return (max(costs) - min(costs)) / min(costs)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _extra(case: Case, figures: dict[str, Any]) -> str:
    if case.workload == "hold":
        return f"{_number(figures.get('bytes_per_session'), ',.0f')} B a session"
    if case.workload == "greet":
        p50, p99 = figures.get("lateness_p50_us"), figures.get("lateness_p99_us")
        return f"late p50 {_number(p50, '.0f')}, p99 {_number(p99, '.0f')} us"
    if case.family == "W4":
        return f"{_number(figures.get('cpu_s_per_gib'), '.3f')} s a GiB"
    return ""


def show(console: Console, cases: tuple[Case, ...], results: dict[str, Any]) -> None:
    """Print one row for each case and client, then goals and checks."""
    table = Table(title="CPU for each operation (median over rounds)", title_justify="left")
    for name, justify in (("workload", "left"), ("client", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for name in ("us/op", "of it user", "x C", "spread", "ops/s", "wall s", "server s", "failed"):
        table.add_column(name, justify="right")
    table.add_column("")
    for case in cases:
        for name, figures in results["workloads"].get(case.name, {}).items():
            table.add_row(
                case.name,
                name,
                _number(figures["cpu_us_per_op"], ",.1f"),
                _number(figures.get("user_us_per_op"), ",.1f"),
                _number(figures.get("ratio_to_c"), ".2f"),
                _number(figures.get("spread") if len(figures["rounds"]) > 1 else None, ".0%"),
                _number(figures.get("ops_per_s"), ",.0f"),
                _number(figures.get("wall_s"), ".2f"),
                _number(figures.get("server_cpu_s"), ".2f"),
                str(figures["rounds_failed"] or ""),
                _extra(case, figures),
            )
        table.add_section()
    console.print(table)
    for name, check in results["checks"].items():
        console.print(f"{name}: {check['says']}")
    if not results["decisive"]:
        console.print("Goals: nothing is decided by this run, the notes below say why.")
    for verdict in results["goals"]:
        if verdict["measured"] is not None:
            mark = "[green]met[/]   " if verdict["ok"] else "[red]missed[/]"
            if verdict["ok"] is None:
                mark = "undecided"
            console.print(f"{mark}  {verdict['goal']}  (measured {verdict['measured']:,.2f})")
    for warning in results["warnings"]:
        console.print(f"[yellow]note[/]  {warning}")
