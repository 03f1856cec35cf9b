from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ftpstorm.records.aggregate import Durations, percentiles
from ftpstorm.records.manifest import read_manifest, write_manifest
from ftpstorm.records.reader import open_run
from ftpstorm.report.build import summarise
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.graph import Graph
from ftpstorm.report.graphs import draw_graphs
from ftpstorm.report.graphs_latency import percentiles_over_time
from ftpstorm.report.html import script_json, settings
from ftpstorm.units import NS_PER_MS, NS_PER_S
from support.results_folder import Story

Folder = Callable[[Story], Path]


def graphs_of(folder: Path) -> dict[str, Graph]:
    evidence = Evidence(open_run(folder))
    return {graph.name: graph for graph in draw_graphs(evidence, summarise(evidence))}


@pytest.fixture
def graphs(folder: Folder) -> dict[str, Graph]:
    return graphs_of(folder(Story(duration_s=8)))


def test_a_run_against_the_emulator_has_every_graph(graphs: dict[str, Graph]) -> None:
    assert list(graphs) == [
        "throughput", "failures", "pool", "portmap", "ports", "sockets", "latency-time", "distribution", "counters",
        "health",
    ]  # fmt: skip


def test_failures_add_up_to_those_of_the_run(folder: Folder) -> None:
    path = folder(Story(duration_s=8))
    evidence = Evidence(open_run(path))
    (panel,) = graphs_of(path)["failures"].views[0].panels
    area = sum(float(np.nansum(line.values[:-1] * np.diff(panel.x))) for line in panel.lines)
    assert round(area) == len(evidence.failures)


def test_the_states_of_the_pool_never_exceed_its_size(graphs: dict[str, Graph]) -> None:
    (panel,) = graphs["pool"].views[0].panels
    *states, limit = panel.lines
    assert set(limit.values.tolist()) == {20}
    assert float(np.nansum([line.values for line in states], axis=0).max()) == 20


def test_both_bases_of_a_session_s_latency_come_first(graphs: dict[str, Graph]) -> None:
    names = [view.name for view in graphs["latency-time"].views]
    assert names[:2] == ["whole session, from when it was due", "whole session, from its actual start"]


def test_percentiles_over_time_are_nearest_rank_within_each_stretch() -> None:
    rng = np.random.default_rng(7)
    start = rng.integers(0, 4 * NS_PER_S, 500)
    start = start[start // NS_PER_S != 2]  # nothing begins in the third second
    spans = rng.integers(1, 1000, len(start)) * NS_PER_MS
    at_s, columns = percentiles_over_time(Durations(spans, start, 0), 4 * NS_PER_S, NS_PER_S)
    assert at_s.tolist() == [0.5, 1.5, 2.5, 3.5]
    for second in (0, 1, 3):
        inside = spans[start // NS_PER_S == second] / NS_PER_MS
        assert columns[:, second].tolist() == percentiles(inside, (50, 90, 99, 100))
    assert np.isnan(columns[:, 2]).all()


def test_a_distribution_ends_at_each_phase_s_maximum(folder: Folder) -> None:
    path = folder(Story(duration_s=8))
    evidence = Evidence(open_run(path))
    summary = summarise(evidence)
    (panel,) = graphs_of(path)["distribution"].views[0].panels
    last = {line.label: line.values[~np.isnan(line.values)][-1] for line in panel.lines}
    assert last["login"] == summary.latency_ms["login"].max
    assert last["whole session, from when it was due"] == summary.latency_ms["session"].max


def test_every_host_s_settings_are_told(folder: Folder) -> None:
    path = folder(Story(duration_s=1))
    hosts = [{"name": "router", "side": "router", "addresses": ["10.0.0.1"], "settings": {"ip_forward": "1"}}]
    lab = {"topology": "routed", "hosts": hosts, "server": {"name": "vsftpd", "version": "3.0.3"}}
    write_manifest(path, read_manifest(path).model_copy(update={"lab": lab}))
    told = settings(Evidence(open_run(path)))
    assert told["Lab host router"] == {"addresses": "10.0.0.1", "ip_forward": "1"}
    assert told["The server as it was started"] == {"name": "vsftpd", "version": "3.0.3"}
    assert told["Client hosts"]["kernel"] == "6.18.0"
    assert told["The run"]["lab"] == "routed"


def test_no_text_can_end_the_script_element_that_it_stands_in() -> None:
    text = script_json({"reply": "</script><script>alert(1)</script><!--"})
    assert "<" not in text
    assert json.loads(text) == {"reply": "</script><script>alert(1)</script><!--"}
