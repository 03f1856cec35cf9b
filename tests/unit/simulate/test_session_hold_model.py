"""The model of a server to which a session's previous data connection is still in use for a while."""

from __future__ import annotations

from typing import Any

from ftpstorm.plan.plan import HostFacts, Plan
from ftpstorm.scenario.schema import Scenario
from ftpstorm.simulate.predict import Prediction, predict


def foretell(sessions: int, tries: int, **emulator: Any) -> Prediction:
    """Return the prediction of sessions that upload once each 100 ms, so often."""
    steps = ["login", {"repeat": {"times": tries, "steps": [{"stor": "1B"}, {"think": "100ms"}]}}, "quit"]
    scenario = {
        "version": 1,
        "name": "own",
        "target": {"emulator": emulator},
        "flows": {"flow": {"steps": steps}},
        "load": {"only": {"executor": "burst", "sessions": sessions, "flow": "flow"}},
    }
    return predict(Plan(run_id="run", scenario=Scenario.model_validate(scenario), host=HostFacts(kernel="6.18.0")))


def test_one_session_gets_one_upload_through_for_each_second() -> None:
    expected = foretell(1, 40, session_hold="1s").expected
    # a try each 100 ms and its own time: within a second of the last upload nine or ten are refused
    assert expected.transfers.succeeded == 4
    assert expected.failures == {"data-not-established": 36}


def test_other_sessions_know_nothing_of_it_and_by_itself_there_is_none() -> None:
    assert foretell(40, 1, session_hold="1s").expected.failures == {}
    assert foretell(1, 40).expected.failures == {}
