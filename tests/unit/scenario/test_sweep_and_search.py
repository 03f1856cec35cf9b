"""`sweep` and `search`: their keys, the order of runs, and that what they set must fit the scenario."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.errors import ScenarioError
from ftpstorm.scenario.figure import NAMED, parse_figure
from ftpstorm.scenario.loader import Loaded, dump_scenario, load_text
from ftpstorm.scenario.search import Quantity, Search
from ftpstorm.scenario.sweep import Sweep

PORTS, HOLD = "target.emulator.passive_ports", "target.emulator.hold.for"


def scenario(**sections: object) -> str:
    return json.dumps(
        {
            "version": 1,
            "name": "small",
            "target": {"emulator": {"passive_ports": 4, "hold": {"for": "500ms"}}},
            "flows": {"download": {"steps": ["login", {"retr": "small.bin"}, "quit"]}},
            "files": {"small.bin": "1KiB"},
            "load": {
                "steady": {"executor": "constant-arrival-rate", "rate": "37/s", "duration": "2s", "flow": "download"},
                "rising": {
                    "executor": "ramping-arrival-rate",
                    "stages": [{"duration": "2s", "target": "5/s"}],
                    "flow": "download",
                },
            },
        }
        | sections
    )


def load(overrides: tuple[str, ...] = (), **sections: object) -> Loaded:
    return load_text(scenario(**sections), "small.yaml", overrides=overrides, environment={})


def problems(sections: dict[str, Any]) -> str:
    with pytest.raises(ScenarioError) as caught:
        load((), **sections)
    return str(caught.value)


def search_of(**keys: Any) -> Search:
    return Search.model_validate({"vary": "load.steady.rate", "between": ["5/s", "200/s"]} | keys)


def test_both_are_written_back_to_an_equal_scenario() -> None:
    loaded = load(
        sweep={"grid": {PORTS: [4, 8], HOLD: ["500ms", "1s"]}, "repeats": 2, "metric": "greeted"},
        search={"vary": "load.steady.rate", "between": ["5/s", "200/s"], "accept": {"session": "p(99)<1s"}},
    ).scenario
    assert loaded.sweep is not None
    assert loaded.search is not None
    assert load_text(dump_scenario(loaded), "again.yaml", environment={}).scenario == loaded
    assert loaded.search.accept == {"session": ("p(99)<1s",)}


def test_a_grid_has_every_combination_the_last_axis_fastest() -> None:
    sweep = Sweep.model_validate({"grid": {"a": [1, 2], "b": ["x", "y"]}, "repeats": 3})
    assert sweep.cells() == ((("a", 1), ("b", "x")), (("a", 1), ("b", "y")), (("a", 2), ("b", "x")),
                             (("a", 2), ("b", "y")))  # fmt: skip
    assert sweep.runs == 12


@given(st.integers(0, 2**40), st.integers(1, 4), st.integers(1, 30))
def test_each_round_of_a_sweep_runs_every_combination_once_in_an_order_that_the_seed_gives(
    seed: int, repeats: int, values: int
) -> None:
    sweep = Sweep.model_validate({"grid": {"a": list(range(values))}, "repeats": repeats})
    order = sweep.order(seed)
    assert [repeat for _, repeat in order] == sorted(list(range(repeats)) * values)
    for repeat in range(repeats):
        assert sorted(cell for cell, of in order if of == repeat) == list(range(values))
    assert order == sweep.order(seed)


def test_another_seed_gives_another_order() -> None:
    sweep = Sweep.model_validate({"grid": {"a": list(range(12))}})
    assert sweep.order(1) != sweep.order(2)


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"sweep": {"grid": {PORTS: [4, "no"]}}}, "sweep.grid.target.emulator.passive_ports.1: must be"),
        ({"sweep": {"grid": {"target.emulator.prots": [4]}}}, "unknown key 'prots'"),
        ({"sweep": {"grid": {"load.stead.rate": ["4/s"]}}}, "`load` has no 'stead'"),
        ({"sweep": {"grid": {}}}, "sweep.grid"),
        ({"sweep": {"grid": {PORTS: []}}}, "sweep.grid.target.emulator.passive_ports"),
        ({"sweep": {"grid": {PORTS: [4]}, "metric": "speed"}}, "'speed' is no figure"),
        ({"sweep": {"grid": {"seed": list(range(40)), "a": list(range(40))}}}, "makes 1600 runs; at most 1000"),
        ({"search": {"vary": "load.stead.rate", "between": ["1/s", "2/s"]}}, "did you mean 'steady'?"),
        ({"search": {"vary": "load.steady.rate", "between": ["2/s", "1/s"]}}, "needs the lower load first"),
        ({"search": {"vary": "load.steady.rate", "between": ["1/s", 2]}}, "needs two of a kind"),
        ({"search": {"vary": "load.steady.rate", "between": [1, 2]}}, "a rate needs a unit of time"),
        ({"search": {"vary": "load.steady.rate", "between": [0, 2]}}, "must be above 0"),
        ({"search": {"vary": "load.steady.rate", "between": ["1/s", "2/s"], "accept": {}}}, "every load passes"),
        (
            {"search": {"vary": "load.rising.start_rate", "between": ["1/s", "2/s"]}},
            "the load 'rising' is a ramp, which shows how long ports last",
        ),
    ],
)
def test_what_does_not_fit_is_told_where_it_stands(sections: dict[str, Any], said: str) -> None:
    assert said in problems(sections)


def test_a_setting_that_replaces_what_a_sweep_varies_drops_the_sweep_with_a_remark() -> None:
    loaded = load(("target={host: 127.0.0.1}",), sweep={"grid": {PORTS: [4, 8]}})
    assert loaded.scenario.sweep is None
    assert any("sweep: it no longer fits" in warning.render("f") for warning in loaded.warnings)


def test_a_sweep_set_wrongly_is_an_error_not_a_remark() -> None:
    with pytest.raises(ScenarioError, match=r"passive_ports\.1: must be"):
        load((f"sweep.grid.{PORTS}=[4, x]",), sweep={"grid": {PORTS: [4, 8]}})


def test_a_sweep_can_be_given_on_the_command_line_alone() -> None:
    loaded = load((f"sweep.grid.{PORTS}=[4, 8, 16]",))
    assert loaded.scenario.sweep is not None
    assert loaded.scenario.sweep.grid == {PORTS: (4, 8, 16)}


def test_figures_are_names_keys_and_ratios_of_keys() -> None:
    assert parse_figure("greeted").key == ("latency_ms", "greeting", "n")
    assert parse_figure("greeted").over == ("sessions", "started")
    assert parse_figure("sessions.failed/sessions.started").share
    assert parse_figure("failures.passive-exhausted.count").over is None
    for text in ("", "sessions", "a.b / c.d / e.f", "a..b", "a.b /"):
        with pytest.raises(ValueError, match="is no figure"):
            parse_figure(text)
    assert all(parse_figure(name) for name in NAMED)


@pytest.mark.parametrize(
    ("bound", "value", "text"),
    [("5/s", 21.5437, "21.54/s"), (3, 21.5437, "22"), (3, 0.2, "1"), ("2s", 0.12345678, "0.1235s")],
)
def test_a_tried_load_is_of_its_kind_and_reads_back(bound: Any, value: float, text: str) -> None:
    low = search_of(between=[bound, {"5/s": "9/s", 3: 9, "2s": "9s"}[bound]]).between[0]
    tried = low.with_value(value)
    assert str(tried) == text
    assert search_of(between=[tried.setting(), {"rate": "900/s", "count": 900, "duration": "900s"}[tried.kind]]).between[0] == tried  # fmt: skip  # noqa: E501


@pytest.mark.parametrize(("text", "share"), [("2%", 0.02), ("0.5%", 0.005)])
def test_precision_is_a_percentage(text: str, share: float) -> None:
    assert search_of(precision=text).precision == pytest.approx(share)
    assert search_of(precision=text).model_dump(mode="json")["precision"] == text


@pytest.mark.parametrize("wrong", ["2", 2, "0%", "100%", "x%"])
def test_a_precision_that_is_no_percentage_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="not a share"):
        search_of(precision=wrong)


def test_a_whole_rate_is_exact() -> None:
    assert search_of().between[0] == Quantity(Fraction(5), "rate")
