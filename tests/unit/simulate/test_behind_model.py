"""The model of what goes wrong behind the emulator's ports: its own connections to a back end, sockets never closed."""

from __future__ import annotations

from typing import Any

import pytest

from ftpstorm.plan.plan import HostFacts, Plan
from ftpstorm.scenario.schema import Scenario
from ftpstorm.simulate.predict import Prediction, predict
from ftpstorm.vocabulary import Cause, Side


def foretell(emulator: dict[str, Any], step: Any, ports: int = 60, **lab: Any) -> Prediction:
    """Return the prediction of 97 transfers a second, for ten seconds, against a host with `ports` and 2 s of
    TIME_WAIT."""
    scenario = {
        "version": 1,
        "name": "behind",
        "target": {"emulator": emulator},
        "lab": {
            "topology": "pair",
            "time_wait": {"server": "2s"},
            "sysctls": {"server": {"ip_local_port_range": f"40000-{40000 + ports - 1}"}},
            **lab,
        },
        "flows": {"flow": {"steps": ["login", step, "quit"]}},
        "files": {"small.bin": "1KiB"},
        "load": {"only": {"executor": "constant-arrival-rate", "rate": "97/s", "duration": "10s", "flow": "flow"}},
    }
    return predict(Plan(run_id="run", scenario=Scenario.model_validate(scenario), host=HostFacts(kernel="6.18.0")))


RETR = {"retr": "small.bin"}
STOR = {"stor": "1KiB"}


def test_sixty_ports_held_two_seconds_serve_sixty_requests_and_refuse_the_rest_until_they_come_back() -> None:
    found = foretell({"backend": {}}, RETR)
    # sixty at 0, 2, 4, 6 and 8 s
    assert found.expected.transfers.succeeded == 300
    assert found.expected.failures == {"transfer-aborted": 670}
    assert found.expected.exhausted is Cause.SERVER_EPHEMERAL_PORTS
    assert found.binding is Cause.SERVER_EPHEMERAL_PORTS
    limit = next(limit for limit in found.limits if limit.name is Cause.SERVER_EPHEMERAL_PORTS)
    assert (limit.side, limit.concurrent) == (Side.SERVER, 60)
    assert limit.per_s == pytest.approx(30.0)
    assert found.expected.sustained is not None
    assert found.expected.sustained.rate_per_s == pytest.approx(30.0, rel=0.02)


def test_connections_that_are_shared_take_no_port_for_each_request() -> None:
    found = foretell({"backend": {"per": "pool"}}, RETR)
    assert found.expected.failures == {}
    assert [limit for limit in found.limits if limit.name is Cause.SERVER_EPHEMERAL_PORTS] == []


def test_ports_enough_for_every_time_wait_refuse_nobody() -> None:
    assert foretell({"backend": {}}, RETR, ports=200).expected.failures == {}


def test_what_waits_for_a_port_is_left_to_the_run() -> None:
    found = foretell({"backend": {"no_port": "wait"}}, RETR)
    assert found.expected.failures is None
    assert "expected.failures" in {item.quantity for item in found.not_predicted}


def test_a_leaked_port_never_comes_back() -> None:
    found = foretell({"passive_ports": 20, "leak": {"every": 10}}, STOR)
    assert found.expected.transfers.succeeded == 200
    assert found.expected.failures == {"passive-exhausted": 770}
    assert found.expected.exhausted is Cause.CLOSE_WAIT_LEAK
    assert found.expected.recovery_s is None


def test_downloads_are_closed_by_the_server_itself_and_leak_nothing() -> None:
    assert foretell({"passive_ports": 20, "leak": "close-wait"}, RETR).expected.failures == {}
