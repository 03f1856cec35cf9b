"""Plans for tests of the theory: a scenario in a few words, validated by the real models."""

from __future__ import annotations

from typing import Any

from ftpstorm.plan.plan import HostFacts, Plan
from ftpstorm.scenario.schema import Scenario


def make_plan(
    *,
    steps: list[Any] | None = None,
    load: dict[str, Any] | None = None,
    emulator: dict[str, Any] | None = None,
    on_failure: Any = "continue",
    client: dict[str, Any] | None = None,
    host: HostFacts | None = None,
    target: dict[str, Any] | None = None,
    stop: dict[str, Any] | None = None,
    workers: int = 1,
) -> Plan:
    """Return a plan of one load `only` and one flow `flow`; by default a download a session and a pool of 1,000."""
    steady = {"executor": "constant-arrival-rate", "rate": "10/s", "duration": "10s", "flow": "flow"}
    scenario = {
        "version": 1,
        "name": "theory",
        "target": target or {"emulator": emulator or {}},
        "client": client or {},
        "flows": {"flow": {"steps": steps or ["login", {"retr": "small.bin"}, "quit"], "on_failure": on_failure}},
        "files": {"small.bin": "1KiB"},
        "load": {"only": {**(load or steady), "flow": "flow"}},
        "stop": stop or {},
    }
    return Plan(run_id="run", scenario=Scenario.model_validate(scenario), host=host or HostFacts(), workers=workers)


def demo_plan(pool: int = 20, **changes: Any) -> Plan:
    """Return the plan of scenarios/try-later-425.yaml: 97 downloads a second, `pool` ports held 2 s."""
    load = {"executor": "constant-arrival-rate", "rate": "97/s", "duration": "20s", "max_sessions": 400}
    emulator = {"passive_ports": pool, "hold": {"for": "2s", "after": "any-close"}}
    host = HostFacts(port_range=(32_768, 60_999), nofile_hard=4_096)
    return make_plan(**{"load": load, "emulator": emulator, "host": host, **changes})
