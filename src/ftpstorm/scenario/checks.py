"""Rules between the parts of a scenario: names that must exist, orders that must hold.

Works on the document, not on the models, so that these problems are reported together with all others and at their
place. Tolerates anything: what has the wrong shape is validation's to report.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ftpstorm.errors import Problem
from ftpstorm.scenario.document import Document, KeyPath
from ftpstorm.scenario.expressions import parse_metric
from ftpstorm.scenario.flow import Step
from ftpstorm.scenario.schema import FAILURE_WORDS
from ftpstorm.scenario.shapes import keys_of
from ftpstorm.scenario.wording import did_you_mean
from ftpstorm.vocabulary import Outcome

RawStep = tuple[KeyPath, str, Any]
"""Path, name and options of one step as written."""


def cross_check(document: Document) -> list[Problem]:
    """Return every problem between parts of the scenario in `document`."""
    if not isinstance(document.value, dict):
        return []
    return [
        *_flows_exist(document),
        *_files_exist(document),
        *_flows_in_order(document),
        *_threshold_tags_exist(document),
        *_addresses(document),
    ]


def mapping_at(document: Document, *path: str) -> dict[str, Any]:
    """Return the mapping at `path`, empty where there is none."""
    value = document.look(path)
    return value if isinstance(value, dict) else {}


def steps_of(document: Document, path: KeyPath) -> Iterator[RawStep]:
    """Yield the steps of the list at `path`, those inside a repeat after it."""
    steps = document.look(path)
    for index, step in enumerate(steps if isinstance(steps, list) else ()):
        here: KeyPath = (*path, index)
        if isinstance(step, str):
            yield here, step, None
        elif isinstance(step, dict) and len(step) == 1:
            name, options = next(iter(step.items()))
            yield (*here, name), name, options
            if name == "repeat":
                yield from steps_of(document, (*here, name, "steps"))


def _flows_exist(document: Document) -> Iterator[Problem]:
    flows = mapping_at(document, "flows")
    for name, load in mapping_at(document, "load").items():
        flow = load.get("flow") if isinstance(load, dict) else None
        if isinstance(flow, str) and flows and flow not in flows:
            yield document.problem(("load", name, "flow"), "names no flow", did_you_mean(flow, flows, "flows"))


def _files_exist(document: Document) -> Iterator[Problem]:
    if mapping_at(document, "target").get("emulator") is None:
        return
    files = [str(name) for name in mapping_at(document, "files")]
    offered = {name.lstrip("/") for name in files}
    for flow in mapping_at(document, "flows"):
        for path, name, options in steps_of(document, ("flows", flow, "steps")):
            if name != "retr":
                continue
            inside = isinstance(options, dict)
            file = options.get("file") if isinstance(options, dict) else options
            if isinstance(file, str) and file.lstrip("/") not in offered:
                hint = did_you_mean(file, files, "files") if files else f"add `files: {{{file}: 1KiB}}`"
                place = (*path, "file") if inside else path
                yield document.problem(place, "names no file that the emulator has (`files`)", hint)


def _flows_in_order(document: Document) -> Iterator[Problem]:
    for flow in mapping_at(document, "flows"):
        acting = [step for step in steps_of(document, ("flows", flow, "steps")) if step[1] not in ("think", "repeat")]
        if acting and acting[0][1] != "login" and acting[0][1] in keys_of(Step):
            yield document.problem(
                acting[0][0], f"{acting[0][1]!r} comes before login", "begin the flow with `- login`", at_key=True
            )
        ends = [index for index, step in enumerate(acting) if step[1] == "quit"]
        if ends and ends[0] + 1 < len(acting):
            after = acting[ends[0] + 1]
            yield document.problem(after[0], f"{after[1]!r} comes after quit, when control is closed", at_key=True)
        elif ends and "repeat" in acting[ends[0]][0]:
            place = acting[ends[0]][0]
            yield document.problem(place, "quit inside a repeat ends the session in its first round", at_key=True)


def _threshold_tags_exist(document: Document) -> Iterator[Problem]:
    known = {
        "load": ([str(name) for name in mapping_at(document, "load")], "loads"),
        "class": (list(FAILURE_WORDS), "failure classes"),
        "outcome": ([word for word in Outcome.words() if word != "none"], "outcomes"),
    }
    for text in mapping_at(document, "thresholds"):
        try:
            selector = parse_metric(text)
        except ValueError:
            continue
        for tag, value in selector.tags:
            words, kind = known[tag]
            if value not in words:
                message, hint = f"tag {tag}:{value} names none of the {kind}", did_you_mean(value, words, kind)
                yield document.problem(("thresholds", text), message, hint, at_key=True)


def _addresses(document: Document) -> Iterator[Problem]:
    sources = document.look(("client", "source_addresses"))
    for index, address in enumerate(sources if isinstance(sources, list) else ()):
        try:
            ipaddress.ip_address(str(address))
        except ValueError:
            place: KeyPath = ("client", "source_addresses", index)
            yield document.problem(place, "must be an IP address of this host, not a name")
    host = document.look(("target", "host"))
    if isinstance(host, str) and (not host.strip() or any(letter in host for letter in "/@ ")):
        # No value is shown: a URL with a password in it may stand here.
        shown = document.problem(
            ("target", "host"),
            "must be a bare host name or address",
            "port, user and password_env have keys of their own",
        )
        yield replace(shown, value=None)
