"""Rules between the parts of a scenario: names that must exist, orders that must hold.

Works on the document, not on the models, so that these problems are reported together with all others and at their
place. Tolerates anything: what has the wrong shape is validation's to report.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from ftpstorm.errors import Problem
from ftpstorm.scenario.client import expand_addresses
from ftpstorm.scenario.document import Document, KeyPath
from ftpstorm.scenario.expressions import DURATIONS, EVENTS, MetricSelector, parse_expression, parse_metric
from ftpstorm.scenario.flow import Shorthand, Step
from ftpstorm.scenario.schema import FAILURE_WORDS
from ftpstorm.scenario.shapes import keys_of, model_at
from ftpstorm.scenario.trace import parse_trace
from ftpstorm.scenario.variables import BUILT_IN, has_variables, variables_in
from ftpstorm.scenario.wording import did_you_mean
from ftpstorm.vocabulary import Outcome


def _takes_text(annotation: Any) -> bool:
    model = model_at(annotation, {})
    return model is not None and issubclass(model, Shorthand) and model.scalar_field() in ("file", "path", "retr")


SHORT_TEXT: Final = frozenset(name for name, annotation in keys_of(Step).items() if _takes_text(annotation))
"""Steps whose shorthand is a name or a path."""

NAMES_A_FILE: Final = {"retr": "file", "size": "file", "abort": "retr"}
"""Steps that need a file which is there, and the option that names it."""

RawStep = tuple[KeyPath, str, Any]
"""Path, name and options of one step as written."""


def cross_check(document: Document) -> list[Problem]:
    """Return every problem between parts of the scenario in `document`."""
    if not isinstance(document.value, dict):
        return []
    return [
        *_flows_exist(document),
        *_files_exist(document),
        *_variables_exist(document),
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
        if not isinstance(load, dict) or not flows:
            continue
        flow = load.get("flow")
        if isinstance(flow, str) and flow not in flows:
            yield document.problem(("load", name, "flow"), "names no flow", did_you_mean(flow, flows, "flows"))
        for mixed in flow if isinstance(flow, dict) else ():
            if mixed not in flows:
                hint = did_you_mean(str(mixed), flows, "flows")
                yield document.problem(("load", name, "flow", mixed), "names no flow", hint, at_key=True)
        yield from _traced_flows_exist(document, name, load.get("trace"), flows)


def _traced_flows_exist(document: Document, name: str, trace: Any, flows: dict[str, Any]) -> Iterator[Problem]:
    try:
        named = parse_trace(trace).named if isinstance(trace, str) else ()
    except ValueError:
        return
    for flow in named:
        if flow not in flows:
            hint = did_you_mean(flow, flows, "flows")
            yield replace(document.problem(("load", name, "trace"), f"names no flow: {flow!r}", hint), value=None)


def _files_exist(document: Document) -> Iterator[Problem]:
    if mapping_at(document, "target").get("emulator") is None:
        return
    files = [str(name) for name in mapping_at(document, "files")]
    offered = {name.lstrip("/") for name in files}
    for flow in mapping_at(document, "flows"):
        for path, name, options in steps_of(document, ("flows", flow, "steps")):
            key = NAMES_A_FILE.get(name)
            if key is None:
                continue
            place = (*path, key) if isinstance(options, dict) else path
            for there, file in _texts_at(place, options.get(key) if isinstance(options, dict) else options):
                if not has_variables(file) and file.lstrip("/") not in offered:
                    hint = did_you_mean(file, files, "files") if files else f"add `files: {{{file}: 1KiB}}`"
                    yield document.problem(there, "names no file that the emulator has (`files`)", hint)


def _texts_at(place: KeyPath, value: Any) -> Iterator[tuple[KeyPath, str]]:
    """Yield the text at `place`, or those of the list there, each with its place."""
    if isinstance(value, str):
        yield place, value
    for index, item in enumerate(value if isinstance(value, list) else ()):
        if isinstance(item, str):
            yield (*place, index), item


def _variables_exist(document: Document) -> Iterator[Problem]:
    known = (*BUILT_IN, *(str(name) for name in mapping_at(document, "vars")))
    for flow in mapping_at(document, "flows"):
        for path, name, options in steps_of(document, ("flows", flow, "steps")):
            fields = options if isinstance(options, dict) else {}
            texts = [text for key in ("file", "path", "retr") for text in _texts_at((*path, key), fields.get(key))]
            if name in SHORT_TEXT:
                texts += _texts_at(path, options)
            for place, text in texts:
                for variable in variables_in(text):
                    if variable not in known:
                        hint = did_you_mean(variable, known, "variables")
                        yield document.problem(place, f"unknown variable {{{variable}}} ({{{{ is a brace)", hint)


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


TAKES_NO: Final = frozenset({("dropped", "class"), ("dropped", "outcome"), ("failures", "outcome")})
"""Metrics that a tag says nothing of."""


def _threshold_tags_exist(document: Document) -> Iterator[Problem]:
    known = {
        "load": ([str(name) for name in mapping_at(document, "load")], "loads"),
        "class": (list(FAILURE_WORDS), "failure classes"),
        "outcome": ([word for word in Outcome.words() if word != "none"], "outcomes"),
    }
    places: list[tuple[KeyPath, str]] = [(("thresholds", text), text) for text in mapping_at(document, "thresholds")]
    places += [(("search", "accept", text), text) for text in mapping_at(document, "search", "accept")]
    for place, text in places:
        try:
            selector = parse_metric(text)
        except ValueError:
            continue
        for tag, value in selector.tags:
            words, kind = known[tag]
            if value not in words:
                message, hint = f"tag {tag}:{value} names none of the {kind}", did_you_mean(value, words, kind)
                yield document.problem(place, message, hint, at_key=True)
            elif selector.name == "session" and tag != "load" and (tag, value) != ("outcome", "succeeded"):
                message = f"`session` is how long sessions took that succeeded: {tag}:{value} leaves none of them"
                counted = "dropped" if value == "dropped" else f"sessions{{{tag}:{value}}}"
                hint = f"how many there are is {counted}, such as share<0.01 or count==0"
                yield document.problem(place, message, hint, at_key=True)
            elif (selector.name, tag) in TAKES_NO or (selector.name in ("sessions", "lateness") and value == "dropped"):
                message = f"`{selector.name}` takes no tag {tag}:{value}: it would select nothing, or nothing less"
                hint = "sessions that never started are `dropped`; failures are `failures{class:...}`"
                yield document.problem(place, message, hint, at_key=True)
        yield from _conditions_fit(document, place, selector)


def _conditions_fit(document: Document, place: KeyPath, selector: MetricSelector) -> Iterator[Problem]:
    """What is counted has no durations, and a duration no value of its own."""
    found = document.look(place)
    each = (
        [((*place, index), item) for index, item in enumerate(found)] if isinstance(found, list) else [(place, found)]
    )
    for where, item in each:
        condition = item.get("threshold") if isinstance(item, dict) else item
        at: KeyPath = (*where, "threshold") if isinstance(item, dict) else where
        try:
            aggregation = parse_expression(str(condition)).aggregation
        except ValueError:
            continue
        if selector.name in EVENTS and aggregation in DURATIONS:
            what = "percentiles" if aggregation == "p" else aggregation
            message = f"`{selector.name}` are counted and have no {what}"
            yield document.problem(
                at, message, "write count, rate or share, such as count==0, rate>=97/s or share<0.01"
            )
        elif selector.name not in EVENTS and aggregation == "value":
            message = f"`{selector.name}` is of many durations and has no one value"
            yield document.problem(at, message, "write avg, med, min, max or p(N), such as p(99)<50ms")


def _addresses(document: Document) -> Iterator[Problem]:
    sources = document.look(("client", "source_addresses"))
    for index, address in enumerate(sources if isinstance(sources, list) else ()):
        try:
            expand_addresses((str(address),))
        except ValueError:
            place: KeyPath = ("client", "source_addresses", index)
            yield document.problem(place, "must be an IP address of this host or a network of up to 65535, not a name")
    host = document.look(("target", "host"))
    if isinstance(host, str) and (not host.strip() or any(letter in host for letter in "/@ ")):
        # No value is shown: a URL with a password in it may stand here.
        shown = document.problem(
            ("target", "host"),
            "must be a bare host name or address",
            "port, user and password_env have keys of their own",
        )
        yield replace(shown, value=None)
