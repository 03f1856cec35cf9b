"""How long `ftpstorm simulate` takes for a million transfers, records and report included: ``python -m bench.model``.

Each round is a process of its own. The yardstick in the same process is a heap of generators that do nothing: what any
discrete-event loop in Python pays for as many events.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from heapq import heapify, heapreplace
from pathlib import Path
from typing import Any, Final

from ftpstorm.conduct.simulated import SimulateOptions, make_folder
from ftpstorm.report.build import build_report

SCENARIO: Final = Path(__file__).with_name("million.yaml")
WANTED_S: Final = 10.0
"""Seconds that the simulation of a million transfers may take."""
PROCESSES: Final = 6_000
"""Generators of the yardstick: about the sessions and held ports that the model has under way."""


def measure() -> dict[str, float]:
    """Return the seconds of one round: yardstick, simulation with its records, report without pictures."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run = make_folder(SimulateOptions(scenario=str(SCENARIO), out=folder))
        simulated = time.perf_counter()
        summary = build_report(run, plots=False)
        reported = time.perf_counter()
    transfers = summary.transfers.succeeded
    yardstick = _empty_loop(transfers)
    return {
        "transfers": transfers,
        "simulation_s": simulated - began,
        "report_s": reported - simulated,
        "yardstick_s": yardstick,
    }


def _empty_loop(events: int) -> float:
    """Return the seconds that so many events of nothing take."""

    def process(number: int) -> Iterator[int]:
        instant = number
        while True:
            instant += PROCESSES
            yield instant

    heap = [(number, number, process(number)) for number in range(PROCESSES)]
    heapify(heap)
    began = time.perf_counter()
    for _ in range(events):
        _, number, generator = heap[0]
        heapreplace(heap, (next(generator), number, generator))
    return time.perf_counter() - began


def main() -> None:
    """Measure some rounds, print each, and the median."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.model", description="Time the simulation of a million transfers."
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds, each in a process of its own (3)")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure()))
        return
    rounds: list[dict[str, Any]] = []
    for _ in range(max(1, options.rounds)):
        done = subprocess.run(
            [sys.executable, "-m", "bench.model", "--one"], capture_output=True, text=True, check=True
        )
        rounds.append(json.loads(done.stdout.splitlines()[-1]))
        print(_line(rounds[-1]), flush=True)
    middle = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
    print(f"median: {_line(middle)}")
    print(f"a million in {middle['simulation_s'] / middle['transfers'] * 1e6:.1f} s (at most {WANTED_S:g} s wanted)")


def _line(figures: dict[str, Any]) -> str:
    ratio = figures["simulation_s"] / figures["yardstick_s"]
    return (
        f"{figures['transfers']:,.0f} transfers simulated and recorded in {figures['simulation_s']:.1f} s, "
        f"{ratio:.1f} times an empty loop's {figures['yardstick_s']:.2f} s; "
        f"report without pictures {figures['report_s']:.1f} s"
    )


if __name__ == "__main__":
    main()
