"""What pictures must say of themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftpstorm.report import plots
from ftpstorm.report.build import build_report
from ftpstorm.report.marks import marks
from ftpstorm.report.plots import Drawing
from ftpstorm.scenario.schema import Scenario
from ftpstorm.vocabulary import Status
from support.results_folder import Story


def scenario(**lab: Any) -> Scenario:
    return Story().scenario().model_copy(update={}) if not lab else Scenario.model_validate(
        {**Story().scenario().model_dump(mode="json", by_alias=True), "lab": {"topology": "pair", **lab}}
    )  # fmt: skip


@pytest.mark.parametrize(
    ("lab", "status", "said"),
    [
        ({}, Status.COMPLETED, []),
        ({}, Status.SIMULATED, ["simulated: no packet was sent"]),
        (
            {"time_wait": {"client": "3s"}},
            Status.COMPLETED,
            ["TIME_WAIT of the client shortened to 3s (a kernel's: 60 s)"],
        ),
        (
            {"time_wait": {"client": "3s", "server": "3s"}},
            Status.COMPLETED,
            ["TIME_WAIT shortened to 3s on client and server (a kernel's: 60 s)"],
        ),
    ],
)
def test_a_simulation_and_a_shortened_time_wait_are_told(lab: dict[str, Any], status: Status, said: list[str]) -> None:
    assert marks(scenario(**lab), status) == said


def test_every_picture_of_a_simulated_run_says_so(
    folder: Callable[[Story], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: dict[str, str] = {}
    save = plots.save

    def note(drawing: Drawing, name: str, where: Path) -> plots.Picture:
        label = drawing.figure._supxlabel  # type: ignore[attr-defined]
        said[name] = "" if label is None else label.get_text()
        return save(drawing, name, where)

    monkeypatch.setattr(plots, "save", note)
    run = folder(Story(duration_s=4, status="simulated"))
    build_report(run)
    assert said
    assert set(said.values()) == {"simulated: no packet was sent"}
    assert "simulated: no packet was sent" in (run / "report.html").read_text()
