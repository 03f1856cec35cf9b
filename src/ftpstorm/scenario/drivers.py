"""What a driver other than `storm` cannot do, so that a scenario which asks for it is refused and not bent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from ftpstorm.scenario.document import KeyPath
from ftpstorm.scenario.flow import Close, Step
from ftpstorm.scenario.schema import Scenario

AIOFTP_STEPS: Final = frozenset(
    {
        "login", "retr", "stor", "appe", "list", "nlst", "mlsd", "pasv_only", "cwd", "size", "mkd", "dele", "noop",
        "think", "quit", "repeat",
    }
)  # fmt: skip
"""Steps of the driver `aioftp`, by field name."""

HINT: Final = "use `client.driver: storm`, or leave it out"

Gap = tuple[KeyPath, str, str]
"""Place, message and remedy."""


def driver_gaps(scenario: Scenario) -> Iterator[Gap]:
    """Yield what the scenario asks for and its driver cannot do."""
    if scenario.client.driver != "aioftp":
        return
    yield from _of_client(scenario)
    for name, flow in scenario.flows.items():
        yield from _of_steps(flow.steps, ("flows", name, "steps"))


def _gap(path: KeyPath, what: str) -> Gap:
    return path, f"the driver aioftp {what}", HINT


def _of_client(scenario: Scenario) -> Iterator[Gap]:
    client = scenario.client
    if scenario.target.tls.mode != "none":
        yield _gap(("target", "tls"), "speaks no TLS here")
    if client.mode not in ("epsv", "pasv", "auto"):
        yield _gap(("client", "mode"), "has no active mode")
    if client.source_addresses and client.bind != "port":
        yield _gap(("client", "bind"), "binds first: with source addresses it has only `bind: port`")
    if client.pasv_address != "control-peer":
        yield _gap(("client", "pasv_address"), "always connects to the control connection's peer")
    for field in ("port_range", "keepalive", "greeting_nudge"):
        if getattr(client, field) is not None:
            yield _gap(("client", field), "has no such setting")
    if client.data_source != "same":
        yield _gap(("client", "data_source"), "has no such setting")


def _of_steps(steps: tuple[Step, ...], path: KeyPath) -> Iterator[Gap]:
    for index, step in enumerate(steps):
        name = type(step).model_fields[step.kind].alias or step.kind
        here = (*path, index, name)
        if step.kind not in AIOFTP_STEPS:
            yield _gap(here, f"has no step {name!r}")
        elif step.kind == "repeat":
            yield from _of_steps(step.options.steps, (*here, "steps"))
        else:
            yield from _of_options(step.options, here)


def _of_options(options: Any, path: KeyPath) -> Iterator[Gap]:
    if getattr(options, "close", Close()) != Close():
        yield _gap((*path, "close"), "closes as it is natural, with FIN")
    if getattr(options, "mode", None) in ("active", "eprt"):
        yield _gap((*path, "mode"), "has no active mode")
    if getattr(options, "offset", 0):
        yield _gap((*path, "offset"), "begins at the beginning")
    if getattr(options, "verify", None) is not None:
        yield _gap((*path, "verify"), "checks sizes alone, and those where `files` tells them")
