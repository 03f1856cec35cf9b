"""The page, the pictures and the other outputs: self-contained, well-formed, and with the summary's numbers."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from ftpstorm.report.build import build_report
from ftpstorm.report.charts_rates import offered_instants
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.html import page
from ftpstorm.report.junit import junit_xml
from ftpstorm.report.plots import charts, inline_svg
from ftpstorm.report.summary import Summary
from ftpstorm.report.terminal import summary_table
from ftpstorm.vocabulary import FailureClass, Phase
from support.results_folder import Fault, Story

Judge = Callable[[Story], Summary]
Folder = Callable[[Story], Path]
VOID = {"meta", "link", "br", "img", "hr", "input", "col"}


class Page(HTMLParser):
    """Checks nesting; gathers ids, references and addresses."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.references: set[str] = set()
        self.addresses: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self._open.append(tag)
        for name, value in attrs:
            if name == "id" and value:
                self.ids.append(value)
            elif name in ("href", "src", "xlink:href") and value:
                (self.references.add(value[1:]) if value.startswith("#") else self.addresses.append(value))
            self.references.update(re.findall(r"url\(#([^)]+)\)", value or ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


@pytest.fixture
def reported(folder: Folder) -> tuple[Path, Summary]:
    path = folder(Story(duration_s=4))
    return path, build_report(path)


def test_the_page_is_whole_and_asks_nothing_of_the_network(reported: tuple[Path, Summary]) -> None:
    folder, summary = reported
    text = (folder / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert [address for address in page.addresses if not address.startswith("data:")] == []
    assert [name for name, count in Counter(page.ids).items() if count > 1] == []
    assert page.references <= set(page.ids)
    assert text.count("<script") == text.count("</script>") == 3  # the figures, the library, what draws with it
    assert len(text) < 2_000_000
    for shown in (summary.headline, "passive-exhausted", summary.run_id, "9.9", "425 Try later"):
        assert shown.replace("'", "&#39;") in text


def test_every_picture_is_on_disk_and_on_the_page(reported: tuple[Path, Summary]) -> None:
    folder, _ = reported
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert text.count('<svg role="img"') == len(charts()) == 7
    for name in charts():
        assert (folder / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        ET.parse(folder / "plots" / f"{name}.svg")  # noqa: S314 - our own file


def test_what_the_server_sent_is_shown_as_text_never_as_markup(folder: Folder) -> None:
    evil = Fault(FailureClass.AUTH_FAILED, Phase.LOGIN, 530, text=r"530 <script>alert(1)</script> $\frac{$ & more")
    path = folder(Story(duration_s=1, expect=None, fault=lambda k, _: evil))
    build_report(path)
    text = (path / "report.html").read_text(encoding="utf-8")
    assert text.count("<script") == text.count("</script>") == 3
    assert "&lt;script&gt;" in text


def test_a_picture_with_nothing_to_show_is_left_out(folder: Folder) -> None:
    path = folder(Story(duration_s=1, ports=500, expect=None))
    build_report(path)
    assert not (path / "plots" / "failures.png").exists()
    assert (path / "plots" / "throughput.png").exists()


def test_a_run_that_holds_nothing_still_has_its_page(folder: Folder) -> None:
    path = folder(Story(duration_s=2, until_s=0.0, status=None))
    for spool in (path / "spool").iterdir():
        spool.unlink()
    build_report(path)
    Page((path / "report.html").read_text(encoding="utf-8"))


def test_inlined_svg_takes_the_pages_colours_and_ids_of_its_own() -> None:
    svg = '<?xml version="1.0"?><svg width="9pt" height="4pt"><g id="a" fill="#23272e"/><use xlink:href="#a"/></svg>'
    assert inline_svg(svg, "pool", 'a "b"') == (
        '<svg role="img" aria-label="a &quot;b&quot;"><g id="pool-a" fill="var(--ink)"/><use href="#pool-a"/></svg>'
    )


def test_offered_transfers_are_those_of_the_schedule(evidence: Callable[[Story], Evidence]) -> None:
    instants = offered_instants(evidence(Story(duration_s=2, workers=3)))
    assert len(instants) == 194
    assert instants[97] == 10**9


def test_junit_has_a_case_for_each_demand_and_one_for_validity(judge: Judge) -> None:
    root = ET.fromstring(junit_xml(judge(Story(duration_s=2, thresholds={"login": "max<1us"}))))  # noqa: S314
    (suite,) = root.findall("testsuite")
    cases = suite.findall("testcase")
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("5", "1", "0")
    assert len(cases) == 5
    failed = [case.get("name") for case in cases if case.find("failure") is not None]
    assert failed == ["login max<1us"]


def test_an_invalid_run_is_an_error_in_junit(judge: Judge) -> None:
    root = ET.fromstring(junit_xml(judge(Story(duration_s=2, counts_off={"connects": 3}))))  # noqa: S314
    error = root.find(".//testcase/error")
    assert error is not None
    assert "books do not balance" in (error.get("message") or "")


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_its_terminal_and_says_what_matters(judge: Judge, width: int) -> None:
    output = io.StringIO()
    Console(file=output, width=width).print(summary_table(judge(Story(duration_s=4))))
    lines = output.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    for shown in ("PASS", "ran out 0.21 s into the run", "388 started of 388 planned", "425 Try later", "12 of 12"):
        assert shown in text
    assert "\x1b" not in text, "no colour where there is no terminal"


def test_a_rate_that_could_not_be_measured_is_no_share_of_the_limit(judge: Judge) -> None:
    output = io.StringIO()
    summary = judge(Story(duration_s=20, until_s=4.0, status=None))
    Console(file=output, width=120).print(summary_table(summary))
    assert "a rate needs 3" in output.getvalue()
    assert "of the limit" not in output.getvalue()
    assert summary.limits[0].measured_per_s is None


@pytest.mark.parametrize(
    ("story", "said"),
    [
        (Story(duration_s=2, expect=None, thresholds={}), '<span class="verdict odd">not judged</span>'),
        (Story(duration_s=2, ports=400, expect=None, thresholds={}), "Passed: the scenario demands nothing"),
        (
            Story(duration_s=2, status="stopped-early", until_s=1, expect=None, thresholds={}),
            '<span class="verdict odd">stopped early</span>',
        ),
        (Story(duration_s=2), "everything that the scenario demands held"),
        (Story(duration_s=2, status="interrupted", until_s=1), "Interrupted: what the scenario demands held so far"),
    ],
)
def test_the_page_says_what_its_verdict_means(
    evidence: Callable[[Story], Evidence], judge: Callable[[Story], Summary], story: Story, said: str
) -> None:
    assert said in page(evidence(story), judge(story), [])
