"""report.html in a headless Chromium: it draws without a complaint, asks nobody for anything, and tells the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ftpstorm.report.build import build_report
from ftpstorm.report.summary import Summary
from ftpstorm.report.wording import number, per_second
from support.browser import Browser, Page, chromium, running_browser
from support.results_folder import Story, write_results


@pytest.fixture(scope="module")
def browser(require: Callable[[str, bool, str], None]) -> Iterator[Browser]:
    require("chromium", chromium() is not None, "no chromium here to look at the page with")
    with running_browser() as running:
        yield running


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary]:
    folder = write_results(tmp_path_factory.mktemp("page") / "run", Story(duration_s=8))
    return folder / "report.html", build_report(folder)


@pytest.fixture
def page(browser: Browser, reported: tuple[Path, Summary]) -> Page:
    made = browser.page()
    made.size(1280, 800)
    made.open(reported[0])
    return made


def test_it_draws_every_graph_and_neither_complains_nor_asks_for_anything(page: Page) -> None:
    figures = page.ask("[...document.querySelectorAll('.live')].map(live => live.parentElement.id)")
    assert len(figures) >= 9
    drawn = page.ask("[...document.querySelectorAll('.live')].filter(l => l.querySelector('canvas')).length")
    assert drawn == len(figures)
    assert page.problems == []
    assert [url for url in page.requests if not url.startswith("data:")] == []


def test_its_policy_runs_no_script_that_it_does_not_name(page: Page) -> None:
    added = "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.evil = 1'}))"
    page.ask(f"{added}; 0")
    assert page.ask("window.evil === undefined")
    assert any("Content Security Policy" in problem for problem in page.problems)


def test_its_numbers_are_those_of_the_summary(page: Page, reported: tuple[Path, Summary]) -> None:
    summary = reported[1]
    assert page.ask("document.querySelector('h1').textContent") == summary.headline
    tiles = page.ask("[...document.querySelectorAll('.tile b')].map(tile => tile.textContent)")
    sustained = summary.transfers.sustained.rate_per_s
    assert tiles[:5] == [
        per_second(summary.transfers.offered_per_s), per_second(sustained), number(summary.transfers.succeeded),
        number(summary.sessions.failed), number(summary.sessions.dropped),
    ]  # fmt: skip


def test_every_transfer_is_under_the_line_that_is_drawn(page: Page, reported: tuple[Path, Summary]) -> None:
    panel = "JSON.parse(document.getElementById('graphs').textContent).graphs[0].views[0].panels[0]"
    carried = page.ask(f"{panel}.lines[0].values")
    x = page.ask(f"{panel}.x")
    area = sum(rate * (after - at) for rate, at, after in zip(carried, x, x[1:], strict=False))
    assert round(area) == reported[1].transfers.succeeded


def legend(page: Page, figure: str) -> str:
    text = page.ask(f"document.querySelector('#figure-{figure} .u-legend').innerText")
    assert isinstance(text, str)
    return "".join(text.splitlines()).replace("\t", "")


def place(page: Page, figure: str) -> tuple[float, float, float, float]:
    box = page.ask(
        f"(() => {{ const b = document.querySelector('#figure-{figure} .u-over').getBoundingClientRect();"
        " return [b.left, b.top, b.width, b.height]; })()"
    )
    return box[0], box[1], box[2], box[3]


def test_the_pointer_reads_one_instant_in_every_graph(page: Page) -> None:
    left, top, width, height = place(page, "throughput")
    shown_s = page.ask("JSON.parse(document.getElementById('graphs').textContent).to")
    at = left + width * 4.8 / shown_s
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=at, y=top + height / 2)
    # The stretch from 4 s on, in which the pool of 20 came round: 20 of 97 were served.
    assert legend(page, "throughput") == "at4 scarried (mean of each 1 s)20/sasked for97/ssustained9.95/s"
    assert "at4 s" in legend(page, "failures")
    assert "77/s" in legend(page, "failures")


def test_a_drag_zooms_all_graphs_and_a_key_shows_all_again(page: Page) -> None:
    left, top, width, height = place(page, "throughput")
    ticks = (
        "[...new Set([...document.querySelectorAll('.panel')].filter(p => !p.closest('#figure-distribution'))"
        ".map(p => p.dataset.range))].join('; ')"
    )
    before = page.ask(ticks)
    page.drag(left + width * 0.25, left + width * 0.5, top + height / 2)
    page.ask("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    zoomed = page.ask(ticks)
    assert zoomed != before
    low, high = (float(text) for text in zoomed.split(" "))
    shown_s = page.ask("JSON.parse(document.getElementById('graphs').textContent).to")
    assert abs(low / shown_s - 0.25) < 0.02
    assert abs(high / shown_s - 0.5) < 0.02
    page.ask("document.querySelector('#figure-failures .panel').focus()")
    page.press("0")
    page.ask("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.ask(ticks) == before


def test_the_keyboard_reaches_a_graph_and_reads_it(page: Page) -> None:
    for _ in range(40):
        page.press("Tab")
        if page.ask("document.activeElement.className") == "panel":
            break
    else:
        pytest.fail("Tab never came to a graph")
    assert page.ask("document.activeElement.getAttribute('aria-label')")
    page.press("ArrowRight")
    page.press("ArrowRight")
    text = page.ask("document.activeElement.parentElement.querySelector('.reading').textContent")
    assert text == "1 s: carried (mean of each 1 s) 0/s, asked for 97/s, sustained 9.95/s"


def test_with_scripts_off_the_pictures_and_every_table_are_there(
    browser: Browser, reported: tuple[Path, Summary]
) -> None:
    page = browser.page()
    page.size(1280, 800)
    page.open(reported[0], scripts=False)
    assert page.problems == []
    assert page.ask("[...document.querySelectorAll('.still')].every(s => s.getBoundingClientRect().height > 100)")
    assert page.ask("document.querySelectorAll('.still').length") >= 6
    assert page.ask("[...document.querySelectorAll('.live')].every(l => getComputedStyle(l).display === 'none')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 420])
def test_it_fits_both_widths_in_light_and_dark(page: Page, width: int, scheme: str) -> None:
    page.size(width, 900)
    page.scheme(scheme)
    page.ask("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.ask("document.documentElement.scrollWidth") <= width
    assert page.ask("Math.max(...[...document.querySelectorAll('.panel canvas')].map(c => c.clientWidth))") <= width
    paper = page.ask("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(21, 24, 28)")
    assert page.problems == []


CONTRAST = """(() => {
  const light = text => { const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map(v => v / 255)
      .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
  const ground = node => { for (let at = node; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (!colour.startsWith("rgba(0, 0, 0, 0")) return colour; } return "rgb(255, 255, 255)"; };
  return [...document.querySelectorAll("main *, header *, footer *")]
    .filter(n => !n.closest("svg") && [...n.childNodes].some(c => c.nodeType === 3 && c.textContent.trim()))
    .filter(n => n.getClientRects().length)
    .map(n => { const a = light(getComputedStyle(n).color), b = light(ground(n));
      return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), n.outerHTML.slice(0, 90)]; })
    .filter(([ratio]) => ratio < 4.5);
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_a_contrast_of_4_5_to_1_or_more(page: Page, scheme: str) -> None:
    page.scheme(scheme)
    assert page.ask(CONTRAST) == []


def test_everything_that_is_drawn_has_a_text_in_its_place(page: Page) -> None:
    assert page.ask("[...document.querySelectorAll('.panel')].every(p => p.getAttribute('aria-label').length > 30)")
    assert page.ask("[...document.querySelectorAll('svg[role=img]')].every(s => s.getAttribute('aria-label').length)")


def test_print_shows_the_pictures_in_place_of_the_graphs(page: Page) -> None:
    page.scheme("dark", "print")
    assert page.ask("getComputedStyle(document.documentElement).getPropertyValue('--c-ink')") == "#23272e"
    assert page.ask("getComputedStyle(document.querySelector('.hint')).display") == "none"
    shown = page.ask("getComputedStyle(document.querySelector('#figure-throughput .still')).display")
    hidden = page.ask("getComputedStyle(document.querySelector('#figure-throughput .live')).display")
    assert (shown, hidden) == ("block", "none")
