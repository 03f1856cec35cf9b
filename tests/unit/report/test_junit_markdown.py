"""junit.xml in the shape that CI servers read, and the summary as Markdown that nothing in it can break."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from ftpstorm.errors import UsageError
from ftpstorm.report.junit import junit_xml
from ftpstorm.report.markdown import append_markdown, markdown
from ftpstorm.report.summary import Summary
from support.results_folder import Story

Judge = Callable[[Story], Summary]

# Elements with their attributes and children, as Jenkins' xUnit schema (junit-10.xsd) allows them.
SHAPE = {
    "testsuites": ({"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname", "id", "package"},
        {"properties", "testcase", "system-out", "system-err"},
    ),
    "properties": (set(), {"property"}),
    "property": ({"name", "value"}, set()),
    "testcase": (
        {"name", "classname", "time", "assertions", "status"},
        {"skipped", "error", "failure", "system-out", "system-err"},
    ),
    "failure": ({"message", "type"}, set()),
    "error": ({"message", "type"}, set()),
    "skipped": ({"message", "type"}, set()),
    "system-out": (set(), set()),
}

STORIES = {
    "passes": Story(duration_s=2),
    "fails": Story(duration_s=2, thresholds={"login": "max<1us"}),
    "invalid": Story(duration_s=2, counts_off={"connects": 3}),
    "interrupted": Story(duration_s=2, status="interrupted", until_s=1),
    "not judged": Story(duration_s=2, expect=None, thresholds={}),
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_junit_has_the_shape_that_readers_know_and_counts_its_cases(judge: Judge, story: Story) -> None:
    root = ET.fromstring(junit_xml(judge(story)))  # noqa: S314 - our own text
    assert root.tag == "testsuites"
    for element in root.iter():
        attributes, children = SHAPE[element.tag]
        assert set(element.attrib) <= attributes, element.tag
        assert {child.tag for child in element} <= children, element.tag
    suite = root.find("testsuite")
    assert suite is not None
    for counted, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert int(suite.attrib[counted]) == len(list(suite.iter(tag))), counted
    assert all(float(case.attrib["time"]) >= 0 and case.attrib["name"] for case in suite.iter("testcase"))


def test_a_failed_testcase_says_what_was_measured_and_shows_the_evidence(judge: Judge) -> None:
    root = ET.fromstring(junit_xml(judge(STORIES["fails"])))  # noqa: S314
    [failure] = root.iter("failure")
    assert failure.attrib["message"] == "login max<1us: measured 0.4 ms"
    assert failure.text is not None
    assert "passive ports ran out" in failure.text
    assert "174 x passive-exhausted at passive" in failure.text


def test_a_reply_with_bytes_that_xml_has_no_place_for_is_shown_all_the_same(judge: Judge) -> None:
    summary = judge(STORIES["fails"])
    failure = summary.failures[0]
    odd = failure.model_copy(update={"example": failure.example.model_copy(update={"reply": "425 \x00\x1b[31m ]]> &"})})
    root = ET.fromstring(junit_xml(summary.model_copy(update={"failures": [odd]})))  # noqa: S314
    [failed] = root.iter("failure")
    assert "425 \N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}[31m ]]> &" in (failed.text or "")


def test_markdown_tells_verdict_headline_figures_and_checks(judge: Judge) -> None:
    text = markdown(judge(STORIES["fails"]))
    first = text.splitlines()[0]
    assert first.startswith("## ")
    assert first.endswith("try-later-425: FAIL")
    assert "| sessions | 194 | 20 | 174 | 0 |" in text
    assert "`login max<1us`" in text
    assert "`425 Try later, data connection in use.`" in text


def test_nothing_a_server_says_breaks_the_markdown(judge: Judge) -> None:
    summary = judge(STORIES["fails"])
    failure = summary.failures[0]
    reply = "425 a | b ``` <script>\n# x"
    odd = failure.model_copy(update={"example": failure.example.model_copy(update={"reply": reply})})
    text = markdown(summary.model_copy(update={"failures": [odd], "headline": "a | b <b> *c* `d`"}))
    assert "**a \\| b \\<b\\> \\*c\\* \\`d\\`**" in text
    [row] = [line for line in text.splitlines() if line.startswith("| passive-exhausted")]
    assert row.endswith("| ````425 a \\| b ``` <script> # x```` |")
    widths = {line.replace("\\|", "").count("|") for line in text.splitlines() if "control survived" in line}
    assert {row.replace("\\|", "").count("|")} == widths


def test_runs_of_one_job_stand_one_after_the_other(judge: Judge, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# earlier step\n")
    for _ in range(2):
        append_markdown(page, judge(STORIES["passes"]))
    lines = page.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# earlier step"
    assert sum(line.startswith("## ") for line in lines) == 2
    with pytest.raises(UsageError, match="--markdown"):
        append_markdown(tmp_path / "none" / "page.md", judge(STORIES["passes"]))
