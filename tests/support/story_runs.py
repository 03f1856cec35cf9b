"""Runs of several that no process makes: each request becomes the results folder of a story."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ftpstorm.conduct.request import RunRequest
from ftpstorm.conduct.several import Ran
from ftpstorm.records.prediction_file import write_prediction
from ftpstorm.report.build import build_report
from ftpstorm.report.summary import exit_code
from ftpstorm.simulate.predict import predict
from ftpstorm.units import parse_duration, parse_rate
from support.results_folder import Story, write_results

Change = Callable[[Story, int], "Story | int"]
"""Makes another story of the n-th run (from 1), or the exit code of a run that leaves no folder."""


def section(request: RunRequest, *keys: str) -> Any:
    """Return what the request's scenario has under `keys`."""
    value: Any = request.scenario
    for key in keys:
        value = value[key]
    return value


class StoryRunner:
    """Runs requests whose target is the emulator and whose load is `steady`; keeps what it was asked for."""

    def __init__(self, change: Change = lambda story, _: story) -> None:
        self.requests: list[RunRequest] = []
        self._change = change

    def __call__(self, request: RunRequest) -> Ran:
        self.requests.append(request)
        number = len(self.requests)
        steady: Mapping[str, Any] = section(request, "load", "steady")
        hold = parse_duration(section(request, "target", "emulator", "hold", "for"))
        story = self._change(
            Story(
                ports=int(section(request, "target", "emulator", "passive_ports")),
                rate=round(parse_rate(steady["rate"]).per_s),
                duration_s=max(1, -(-parse_duration(steady["duration"]) // 1_000_000_000)),
                hold_s=hold / 1e9,
                expect=None,
                run_id=f"run-{number:03}",
            ),
            number,
        )
        if isinstance(story, int):
            return Ran(story, None)
        folder = Path(request.out) / story.run_id
        folder.parent.mkdir(parents=True, exist_ok=True)
        write_results(folder, story)
        write_prediction(folder, predict(story.plan()))
        return Ran(int(exit_code(build_report(folder, plots=False))), folder)
