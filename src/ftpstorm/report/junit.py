"""junit.xml: one testcase for each threshold and expectation, and one for the run's validity, as CI servers read it."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from ftpstorm.report.summary import Check, Summary
from ftpstorm.vocabulary import Status, Verdict

JUNIT: Final = "junit.xml"


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
        "skipped": str(int(summary.status is Status.INTERRUPTED)),
        "time": f"{summary.duration_s:.3f}",
    }
    suites = ET.Element("testsuites", {"name": "ftpstorm", **counts})
    suite = ET.SubElement(suites, "testsuite", {"name": name, "timestamp": summary.started_at[:19], **counts})
    properties = ET.SubElement(suite, "properties")
    for key, value in (
        ("run_id", summary.run_id),
        ("status", summary.status.value),
        ("verdict", summary.verdict.value),
        ("cause", summary.diagnosis.cause),
        ("headline", summary.headline),
    ):
        ET.SubElement(properties, "property", {"name": key, "value": value})
    run = ET.SubElement(suite, "testcase", {"classname": f"ftpstorm.{summary.scenario}", "name": "run is valid"})
    if invalid:
        ET.SubElement(run, "error", {"message": "; ".join(summary.verdict_reasons)})
    elif summary.status is Status.INTERRUPTED:
        ET.SubElement(run, "skipped", {"message": "the run was interrupted"})
    for kind, check in cases:
        _case(suite, summary, kind, check)
    ET.SubElement(suite, "system-out").text = summary.headline
    ET.indent(suites)
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suites) + b"\n"


def _case(suite: ET.Element, summary: Summary, kind: str, check: Check) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        {"classname": f"ftpstorm.{summary.scenario}.{kind}", "name": f"{check.name} {check.condition}"},
    )
    if not check.ok:
        seen = f"measured {check.measured}{f' {check.unit}' if check.unit else ''}"
        ET.SubElement(case, "failure", {"message": check.reason or seen, "type": kind}).text = summary.headline


def write_junit(folder: Path, summary: Summary) -> Path:
    """Write junit.xml of a results folder; return its path."""
    path = folder / JUNIT
    temporary = path.with_name(f".{JUNIT}")
    temporary.write_bytes(junit_xml(summary))
    temporary.replace(path)
    return path
