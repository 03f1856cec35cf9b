"""A run's evidence and summary from a story, without a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ftpstorm.conduct.simulated import SimulateOptions, make_folder
from ftpstorm.records.prediction_file import write_prediction
from ftpstorm.records.reader import open_run
from ftpstorm.report.build import summarise
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.summary import Summary
from ftpstorm.simulate.predict import predict
from support.results_folder import Story, write_results
from support.short_run import scenario_of

Folder = Callable[[Story], Path]
Judge = Callable[[Story], Summary]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Give ``folder(story)``: a results folder with its prediction, each of another run."""
    made: list[Path] = []

    def write(story: Story) -> Path:
        if made:
            story = replace(story, run_id=f"{story.run_id}-{len(made)}")
        path = write_results(tmp_path / f"run-{len(made)}", story)
        write_prediction(path, predict(story.plan()))
        made.append(path)
        return path

    return write


@pytest.fixture
def evidence(folder: Folder) -> Callable[[Story], Evidence]:
    """Give ``evidence(story)``."""
    return lambda story: Evidence(open_run(folder(story)))


@pytest.fixture
def judge(evidence: Callable[[Story], Evidence]) -> Judge:
    """Give ``judge(story)``: its summary."""
    return lambda story: summarise(evidence(story))


@pytest.fixture
def simulated(tmp_path: Path) -> Callable[..., Evidence]:
    """Give ``simulated(load=..., thresholds=...)``: what a simulation of these sections left."""

    def make(**sections: Any) -> Evidence:
        path = tmp_path / "short.yaml"
        path.write_text(json.dumps(scenario_of(**{"target": {"emulator": {"passive_ports": 500}}, **sections})))
        return Evidence(open_run(make_folder(SimulateOptions(scenario=str(path), out=str(tmp_path / "out")))))

    return make
