"""What is not set alike in runs that are compared: scenario, hosts, and how the run was made."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from ftpstorm.report.evidence import Evidence
from ftpstorm.report.summary import SummaryModel

NOT_SETTINGS: Final = (
    *("expect", "thresholds", "description", "variants", "imitates", "cannot_show", "sweep", "search"),
)
"""Parts of a scenario that do not change what a run does."""


class Setting(SummaryModel):
    """One setting that is not the same in all runs."""

    key: str
    values: list[str | None]


def flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Return the leaves of a JSON value as dotted key and value."""
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None or not value:
        yield prefix.removesuffix("."), value
        return
    for key, inner in items:
        yield from flatten(inner, f"{prefix}{key}.")


def changed_settings(runs: Sequence[Evidence | None]) -> list[Setting]:
    """Return every setting of scenario, host and run that is not the same in all runs; of None nothing is known."""
    flat = [{} if evidence is None else _settings(evidence) for evidence in runs]
    known = [settings for settings, evidence in zip(flat, runs, strict=True) if evidence is not None]
    keys = dict.fromkeys(key for settings in flat for key in settings)
    return [
        Setting(key=key, values=[None if key not in settings else _shown(settings[key]) for settings in flat])
        for key in keys
        if any(settings.get(key) != known[0].get(key) for settings in known)
    ]


def _settings(evidence: Evidence) -> dict[str, Any]:
    plan = evidence.plan.to_json()
    settings = {key: value for key, value in flatten(plan["scenario"]) if key.partition(".")[0] not in NOT_SETTINGS}
    for name in ("host", "server_host"):
        settings |= {f"{name}.{key}": value for key, value in flatten(plan.get(name) or {}, "") if key}
    return settings | {"workers": plan["workers"], "private_namespace": plan["private_namespace"]}


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
