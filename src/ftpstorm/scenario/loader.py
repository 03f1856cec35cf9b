"""From YAML text to a Scenario: file, then variant, then `--set`, each validated, every problem reported at once.

The file must be valid by itself, and so must each of its variants; what is set on top makes the effective scenario.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter

from ftpstorm.errors import Problem, ScenarioError, UsageError
from ftpstorm.scenario.document import Document, KeyPath, copy_document, read_document, render_path
from ftpstorm.scenario.explain import in_order, validate
from ftpstorm.scenario.load import Replay
from ftpstorm.scenario.overrides import AssignmentError, assign, parse_override, split_keys
from ftpstorm.scenario.schema import Scenario
from ftpstorm.scenario.swept import PARTS, swept_problems
from ftpstorm.scenario.trace import parse_trace
from ftpstorm.scenario.warnings import remarks
from ftpstorm.scenario.wording import did_you_mean, split_hint


@dataclass(frozen=True, slots=True)
class Loaded:
    """A scenario ready to be planned."""

    scenario: Scenario
    """Effective: variant and overrides applied."""
    source: Path
    variant: str | None
    warnings: tuple[Problem, ...]
    """Remarks on the effective scenario; render them with the file's name."""
    base: Scenario
    """The file as it stands, without variant and overrides."""


def load_scenario(
    path: Path | str,
    *,
    overrides: Sequence[str] = (),
    variant: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Loaded:
    """Load a scenario file.

    `overrides` are ``a.b=c`` texts, applied in order after the variant. `environment` is what ``${NAME}`` refers to,
    by default the process's. Raises ScenarioError with every problem of the file, of its variants or of the overrides,
    and UsageError for a variant that the file does not have.
    """
    source = Path(path)
    try:
        text = source.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ScenarioError(str(path), [Problem(f"cannot be read: {error.strerror or error}")]) from error
    except UnicodeDecodeError as error:
        raise ScenarioError(str(path), [Problem(f"is not UTF-8 text (byte {error.start})")]) from error
    return load_text(text, str(path), overrides=overrides, variant=variant, environment=environment)


def load_text(
    text: str,
    name: str,
    *,
    overrides: Sequence[str] = (),
    variant: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Loaded:
    """Load a scenario from YAML text; `name` stands for the file in messages. Else as `load_scenario`."""
    variables = os.environ if environment is None else environment
    document, unreadable = read_document(text, variables)
    if document.value is None:
        raise ScenarioError(name, unreadable or [Problem("the file holds no scenario, only null")])
    base, found = validate(document)
    found = (*found, *_variant_problems(document, found), *swept_problems(document, found))
    if base is None or found or unreadable:
        answered = {problem.path for problem in unreadable}
        raise ScenarioError(name, in_order([*unreadable, *(item for item in found if item.path not in answered)]))
    if variant is not None and variant not in base.variants:
        raise UsageError(f"{name} has no variant {variant!r}; {did_you_mean(variant, base.variants, 'variants')}")

    effective = copy_document(document)
    if variant is not None:
        _apply_variant(effective, document, variant)
    overridden = _apply_overrides(effective, name, overrides, variables)
    scenario, found = validate(effective)
    if scenario is None:
        raise ScenarioError(name, found)
    scenario = _with_files(scenario, effective, name)
    warnings = remarks(scenario, effective, overridden)
    scenario, unfit = _without_unfit_variants(scenario, effective)
    scenario, unswept = _without_unfit_sweep(scenario, effective, name, overridden)
    return Loaded(scenario, Path(name), variant, (*warnings, *unfit, *unswept), base)


def _with_files(scenario: Scenario, document: Document, name: str) -> Scenario:
    """Return the scenario with its replay files read, and with the path of its users' file as seen from here.

    A run keeps what it replayed, so the trace goes into the scenario; of the accounts it keeps nothing but the path.
    """
    folder = Path(name).parent
    changes: dict[str, Any] = {}
    if scenario.users is not None:
        changes["users"] = scenario.users.model_copy(update={"from_": str(_beside(folder, scenario.users.from_))})
    problems: list[Problem] = []
    loads = dict(scenario.load)
    for key, load in scenario.load.items():
        if not isinstance(load, Replay) or load.trace is not None or load.file is None:
            continue
        here: KeyPath = ("load", key, "file")
        try:
            text = _beside(folder, load.file).read_text(encoding="utf-8-sig")
            named = parse_trace(text).named
        except (OSError, UnicodeDecodeError) as error:
            why = (error.strerror or str(error)) if isinstance(error, OSError) else "is not UTF-8 text"
            problems.append(document.problem(here, f"cannot be read: {why}"))
            continue
        except ValueError as error:
            problems.append(document.problem(here, *split_hint(str(error))))
            continue
        for flow in named:
            if flow not in scenario.flows:
                hint = did_you_mean(flow, scenario.flows, "flows")
                problems.append(document.problem(here, f"names no flow: {flow!r}", hint))
        loads[key] = load.model_copy(update={"trace": text})
        changes["load"] = loads
    if problems:
        raise ScenarioError(name, in_order(problems))
    return scenario.model_copy(update=changes) if changes else scenario


def _beside(folder: Path, file: str) -> Path:
    """Return where a file that a scenario names is: beside the scenario, else as seen from the working directory."""
    beside = folder / file
    return beside if beside.exists() else Path(file)


class _Representer(RoundTripRepresenter):
    """Writes null as a word, since an empty value looks forgotten, and quotes what YAML might read as a line break."""

    def represent_none(self, data: None) -> ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:null", "null")

    def represent_str(self, data: str) -> ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=None if data.isprintable() else '"')


_Representer.add_representer(type(None), _Representer.represent_none)
_Representer.add_representer(str, _Representer.represent_str)


def dump_scenario(scenario: Scenario) -> str:
    """Return YAML text of `scenario`, every default explicit, that `load_text` reads back to an equal model."""
    yaml = YAML(typ="rt", pure=True)
    yaml.Representer = _Representer
    yaml.default_flow_style = False
    yaml.width = sys.maxsize
    yaml.indent(mapping=2, sequence=4, offset=2)
    buffer = io.StringIO()
    yaml.dump(_escaped(scenario.model_dump(mode="json", by_alias=True)), buffer)
    return buffer.getvalue()


def _escaped(value: Any) -> Any:
    """Return `value` with `${` in texts written so that loading does not take it for a variable."""
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    return value.replace("${", "$${") if isinstance(value, str) else value


def _apply_overrides(
    effective: Document, name: str, overrides: Sequence[str], environment: Mapping[str, str]
) -> list[KeyPath]:
    problems: list[Problem] = []
    overridden: list[KeyPath] = []
    for text in overrides:
        override, unreadable = parse_override(text, environment)
        problems.extend(unreadable)
        if override is None:
            continue
        try:
            overridden.append(assign(effective, override.keys, override.value))
        except AssignmentError as error:
            problems.append(Problem(error.message, render_path(override.keys), hint=error.hint, origin=override.text))
    if problems:
        raise ScenarioError(name, problems)
    return overridden


def _apply_variant(effective: Document, document: Document, variant: str) -> tuple[list[KeyPath], list[Problem]]:
    """Apply a variant's `set` and `expect`; return the paths that were set and the keys that lead nowhere."""
    paths: list[KeyPath] = []
    problems: list[Problem] = []
    here: KeyPath = ("variants", variant)
    settings = document.look((*here, "set"))
    for dotted in settings if isinstance(settings, dict) else ():
        source: KeyPath = (*here, "set", dotted)
        try:
            paths.append(assign(effective, split_keys(dotted), document, source))
        except AssignmentError as error:
            problems.append(document.problem(source, error.message, error.hint, at_key=True))
        except ValueError as error:
            problems.append(document.problem(source, f"not a dotted key: {error}", at_key=True))
    if document.look((*here, "expect")) is not None:
        paths.append(assign(effective, ("expect",), document, (*here, "expect")))
    return paths, problems


def _without_unfit_variants(scenario: Scenario, effective: Document) -> tuple[Scenario, list[Problem]]:
    """Return the scenario without the variants that no longer apply to it, and a remark on each.

    A run's own scenario.yaml must load again, and a setting may have replaced what a variant changes.
    """
    unfit = {problem.path.split(".")[1]: problem for problem in reversed(_variant_problems(effective, ()))}
    if not unfit:
        return scenario, []
    kept = {name: variant for name, variant in scenario.variants.items() if name not in unfit}
    remarked = [
        replace(problem, path=f"variants.{name}", message=f"this variant no longer fits: {problem.message}")
        for name, problem in unfit.items()
    ]
    return scenario.model_copy(update={"variants": kept}), remarked


def _without_unfit_sweep(
    scenario: Scenario, effective: Document, name: str, overridden: Sequence[KeyPath]
) -> tuple[Scenario, list[Problem]]:
    """Return the scenario without a sweep or search that no longer applies to it, and a remark on each.

    One that was itself set, and wrongly, is an error.
    """
    unfit = swept_problems(effective, ())
    if not unfit:
        return scenario, []
    if any(path[0] in PARTS for path in overridden):
        raise ScenarioError(name, in_order(unfit))
    first = {problem.path.partition(".")[0]: problem for problem in reversed(unfit)}
    remarked = [
        replace(problem, path=part, message=f"it no longer fits: {problem.message}") for part, problem in first.items()
    ]
    return scenario.model_copy(update=dict.fromkeys(first, None)), remarked


def _variant_problems(document: Document, known: Sequence[Problem]) -> list[Problem]:
    """Return what is wrong with each variant and not with the file itself."""
    variants = document.look(("variants",))
    problems: list[Problem] = []
    before = {(problem.path, problem.message) for problem in known}
    for name, variant in variants.items() if isinstance(variants, dict) else ():
        if not isinstance(variant, dict):
            continue
        effective = copy_document(document)
        paths, wrong = _apply_variant(effective, document, name)
        problems.extend(wrong)
        prefixes = [render_path(path) for path in paths]
        for problem in validate(effective)[1]:
            if (problem.path, problem.message) in before:
                continue
            if problem.path.startswith("expect") and "expect" in prefixes:
                continue  # reported where it stands, under variants
            if any(problem.path == prefix or problem.path.startswith(f"{prefix}.") for prefix in prefixes):
                problems.append(replace(problem, path=f"variants.{name}.set.{problem.path}"))
            else:
                place = document.problem(("variants", name), "", at_key=True)
                text = f"with this variant {problem.path}: {problem.message}"
                problems.append(replace(place, message=text, value=problem.value, hint=problem.hint))
    return problems
