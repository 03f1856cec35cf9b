"""The picture of rates: the limit's legend names what it assumes, in units that people read."""

from __future__ import annotations

from collections.abc import Callable

from ftpstorm.limits.connections import open_files_limit
from ftpstorm.limits.passive import passive_pool_limit
from ftpstorm.limits.path import mark_binding
from ftpstorm.limits.timewait import NO_HOLD, exact_hold
from ftpstorm.report import graphs
from ftpstorm.report.build import summarise
from ftpstorm.report.charts_rates import throughput, throughput_title
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.graphs import throughput as draw
from ftpstorm.report.limit_told import telling_limit
from ftpstorm.report.summary import Summary
from support.results_folder import Story

Simulated = Callable[..., Evidence]


def test_the_limit_s_legend_has_its_equation_and_short_times_in_milliseconds(
    evidence: Callable[[Story], Evidence], judge: Callable[[Story], Summary]
) -> None:
    story = Story(duration_s=8)
    drawing = throughput(evidence(story), judge(story))
    assert drawing is not None
    labels = [label for axes in drawing.figure.axes for label in axes.get_legend_handles_labels()[1]]
    (legend,) = (label for label in labels if label.startswith("limit 10/s: R = N/(H + C)"))
    values = legend.partition(")")[2]
    assert ", N = 20 ports, H = 2 s, C = " in values
    assert values.endswith(" ms")


def test_the_first_filling_of_a_pool_explains_a_rate_above_its_limit(simulated: Simulated) -> None:
    crowd = {"executor": "burst", "sessions": 300, "over": "1s", "flow": "download"}
    found = simulated(target={"emulator": {"passive_ports": 50, "hold": {"for": "3s"}}}, load={"crowd": crowd})
    graph = graphs.throughput(found, summarise(found))
    assert graph is not None
    assert graph.title == "300/s asked for, 50/s carried on average: above the limit while the first 50 places fill"
    assert graph.note.startswith(
        "The limit (server-passive-pool): 16.7/s, R = N/(H + C). The first filling of 50 places comes on top of it: "
    )


def test_a_crowd_at_one_instant_is_asked_for_at_no_rate(simulated: Simulated) -> None:
    crowd = {"executor": "burst", "sessions": 300, "flow": "download"}
    found = simulated(load={"crowd": crowd})
    assert throughput_title(found, summarise(found), None) == "All 300 transfers asked for at one instant were carried"
    few = simulated(target={"emulator": {"passive_ports": 50, "hold": {"for": "3s"}}}, load={"crowd": crowd})
    title = throughput_title(few, summarise(few), None)
    assert title == "300 transfers asked for at one instant, 50 carried"


def test_the_sentence_about_a_full_pool_gives_no_mean_over_several_loads(simulated: Simulated) -> None:
    """Thirty ports asked for in half a second, then ten downloads: the downloads' mean rate says nothing of that."""
    flows = {
        "waiting": {"steps": ["login", "pasv-only", {"think": "3s"}, "quit"]},
        "download": {"steps": ["login", {"retr": "small.bin"}, "quit"]},
    }
    load = {
        "waiting": {"executor": "burst", "sessions": 30, "over": "500ms", "flow": "waiting"},
        "downloads": {
            "executor": "burst", "sessions": 10, "over": "500ms", "start_time": "1500ms", "flow": "download",
        },
    }  # fmt: skip
    server = {"server": {"name": "vsftpd", "passive_ports": "10000-10019"}}
    found = simulated(target=server, lab={"topology": "routed"}, flows=flows, load=load)
    headline = summarise(found).headline
    assert "/s offered" not in headline
    assert "passive ports ran out 0.32 s into the run, after 19 ports had been given out; a wider" in headline


FILES = open_files_limit(1000, 1, 0)
POOL = passive_pool_limit(20, exact_hold(2, "held"), 0)


def test_the_limit_shown_is_that_of_what_ran_out() -> None:
    limits = mark_binding([FILES.model_copy(update={"counts": "transfers", "per_s": 5.0}), POOL])
    assert limits[0].binding
    assert telling_limit(limits, "server-passive-pool") is limits[1]
    assert telling_limit(limits, "none") is limits[0]
    assert telling_limit(limits, "server-stalled") is limits[0]


def test_no_other_limit_stands_in_for_one_that_bounds_no_rate_of_transfers() -> None:
    limits = mark_binding([FILES.model_copy(update={"counts": "transfers"}), passive_pool_limit(20, NO_HOLD, 0)])
    assert telling_limit(limits, "server-passive-pool") is None


def test_the_picture_and_its_note_name_that_limit(
    evidence: Callable[[Story], Evidence], judge: Callable[[Story], Summary]
) -> None:
    story = Story(duration_s=8)
    told, summary = evidence(story), judge(story)
    assert told.prediction is not None
    others = [limit.model_copy(update={"binding": False}) for limit in told.prediction.limits]
    lower = FILES.model_copy(update={"counts": "transfers", "per_s": 5.0, "binding": True})
    told.prediction = told.prediction.model_copy(update={"limits": (lower, *others)})
    graph = draw(told, summary)
    assert graph is not None
    assert graph.note == "The limit (server-passive-pool): 10/s, R = N/(H + C)."
