"""junit.xml: a testcase for each expectation and threshold, and one for the run's validity, as CI servers read it.

The shape is what Jenkins' xUnit schema and GitLab's reader have in common. What failed says in its body what a reader
of the job's page needs: the measured value, what ran out, the evidence, examples to look for in the server's log.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from ftpstorm.report.opening import UNJUDGED, meaning, opening
from ftpstorm.report.summary import Check, Summary
from ftpstorm.report.wording import number
from ftpstorm.vocabulary import Status, Verdict

JUNIT: Final = "junit.xml"
EXAMPLES_SHOWN: Final = 5

_NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 (section 2.2) has no place for; a server's reply may hold anything."""


def junit_xml(summary: Summary) -> bytes:
    """Return the document. An invalid or cut-short run is an error, a condition that does not hold a failure."""
    cases = [("expectation", check) for check in summary.expectations]
    cases += [("threshold", check) for check in summary.thresholds]
    invalid = summary.verdict is Verdict.INVALID
    name = summary.scenario if summary.variant is None else f"{summary.scenario} ({summary.variant})"
    counts = {
        "tests": str(len(cases) + 1),
        "failures": str(sum(not check.ok for _, check in cases)),
        "errors": str(int(invalid)),
        "time": f"{summary.duration_s:.3f}",
    }
    suites = _element(None, "testsuites", name="ftpstorm", **counts)
    word = opening(summary)
    interrupted = not invalid and summary.status is Status.INTERRUPTED
    skipped = interrupted or word in UNJUDGED
    suite = _element(
        suites, "testsuite", name=name, timestamp=summary.started_at[:19], skipped=str(int(skipped)), **counts
    )
    properties = _element(suite, "properties")
    for key, value in (
        ("run_id", summary.run_id),
        ("status", summary.status.value),
        ("verdict", summary.verdict.value),
        ("cause", summary.diagnosis.cause),
        ("headline", summary.headline),
    ):
        _element(properties, "property", name=key, value=value)
    run = _element(
        suite,
        "testcase",
        classname=f"ftpstorm.{summary.scenario}",
        name="run is valid",
        time=f"{summary.duration_s:.3f}",
    )
    if invalid:
        error = _element(run, "error", message="; ".join(summary.verdict_reasons), type="invalid")
        error.text = _clean("\n".join(summary.verdict_reasons))
    elif skipped:
        _element(run, "skipped", message="the run was interrupted" if interrupted else meaning(summary))
    for kind, check in cases:
        _case(suite, summary, kind, check)
    _element(suite, "system-out").text = _clean(summary.headline)
    ET.indent(suites)
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suites) + b"\n"


def _case(suite: ET.Element, summary: Summary, kind: str, check: Check) -> None:
    case = _element(
        suite,
        "testcase",
        classname=f"ftpstorm.{summary.scenario}.{kind}",
        name=f"{check.name} {check.condition}",
        time="0.000",
    )
    if not check.ok:
        message = f"{check.name} {check.condition}: {_seen(check)}"
        failure = _element(case, "failure", message=message, type=kind)
        failure.text = _clean("\n".join((message, "", *_evidence(summary))))


def _seen(check: Check) -> str:
    if check.measured is None:
        return check.reason or "not measurable"
    value = check.measured if isinstance(check.measured, str) else f"{number(check.measured)} {check.unit}".strip()
    return f"measured {value}" + (f"; {check.reason}" if check.reason else "")


def _evidence(summary: Summary) -> Iterator[str]:
    """Yield the lines that say what happened in the run."""
    yield summary.headline
    yield from (f"  - {sign}" for sign in summary.diagnosis.evidence)
    if summary.failures:
        yield ""
    for failure in summary.failures[:EXAMPLES_SHOWN]:
        yield f"{number(failure.count)} x {failure.class_} at {failure.phase}, first at {failure.first_at_s:.3f} s"
        told = (failure.example.utc, failure.example.four_tuple, failure.example.reply)
        yield f"  {', '.join(part for part in told if part)}"
    yield ""
    yield f"run {summary.run_id}; see report.html in its folder"


def _element(parent: ET.Element | None, tag: str, **attributes: str) -> ET.Element:
    clean = {name: _clean(value) for name, value in attributes.items()}
    return ET.Element(tag, clean) if parent is None else ET.SubElement(parent, tag, clean)


def _clean(text: str) -> str:
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def write_junit(folder: Path, summary: Summary) -> Path:
    """Write junit.xml of a results folder; return its path."""
    path = folder / JUNIT
    temporary = path.with_name(f".{JUNIT}")
    temporary.write_bytes(junit_xml(summary))
    temporary.replace(path)
    return path
