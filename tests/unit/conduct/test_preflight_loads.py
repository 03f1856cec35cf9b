"""What the loads ask of the generator's host: files, memory, ports, accounts; and what a guard bounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftpstorm.conduct.preflight import (
    check_files,
    check_guard,
    check_memory,
    check_ports,
    possible_sessions,
    read_accounts,
    read_available_memory,
    sure_sessions,
)
from ftpstorm.errors import EnvironmentUnavailableError, TargetRefusedError
from ftpstorm.plan.plan import HostFacts
from ftpstorm.scenario.schema import Scenario, Users
from support.short_run import scenario_of

REMOTE = {"host": "127.0.0.1", "port": 2121}


def scenario(**sections: object) -> Scenario:
    return Scenario.model_validate(scenario_of(**sections))


RAMPING = {"executor": "ramping-sessions", "stages": [{"duration": "1s", "target": 1000}], "flow": "download"}
HELD = {"executor": "hold", "sessions": 1000, "over": "10s", "duration": "1s", "flow": "download"}


@pytest.mark.parametrize("load", [RAMPING, HELD], ids=lambda load: load["executor"])
def test_sessions_that_are_sure_to_be_open_together_are_counted_by_executor(load: dict[str, object]) -> None:
    found = scenario(target=REMOTE, load={"l": load})
    assert sure_sessions(found) == possible_sessions(found) == 1000
    with pytest.raises(EnvironmentUnavailableError, match="2064 open files"):
        check_files(found, 1, 1024)


def test_a_replay_may_have_open_what_its_trace_has_at_most() -> None:
    load = {"executor": "replay", "trace": "0\n0.1\n0.2\n", "flow": "download"}
    found = scenario(target=REMOTE, load={"l": load})
    assert (sure_sessions(found), possible_sessions(found)) == (0, 3)


@pytest.mark.parametrize(
    ("load", "per_s"),
    [
        ({"executor": "ramping-arrival-rate", "stages": [{"duration": "1s", "target": "30/s"}]}, 30),
        ({"executor": "poisson-arrival-rate", "rate": "30/s", "duration": "1s"}, 30),
        ({"executor": "hold", "sessions": 60, "over": "2s", "duration": "1s"}, 30),
        ({"executor": "replay", "trace": "0\n0.5\n0.9\n1.2\n9\n"}, 3),
        ({"executor": "probe-until-success", "every": "100ms"}, 10),
    ],
)
def test_the_guard_bounds_the_busiest_second_of_every_executor(load: dict[str, object], per_s: int) -> None:
    def check(most: int) -> None:
        guard = {"max_sessions": 10_000, "max_rate": f"{most}/s", "stop_after": "1h"}
        check_guard(scenario(guard=guard, load={"l": {"flow": "download", **load}}))

    check(per_s)
    with pytest.raises(TargetRefusedError, match=r"guard\.max_rate"):
        check(per_s - 1)


def test_sessions_that_memory_cannot_hold_are_refused_or_warned_of() -> None:
    held = scenario(target=REMOTE, load={"l": HELD})
    assert check_memory(held, 1, None) == []
    assert check_memory(held, 1, 1 << 30) == []
    with pytest.raises(EnvironmentUnavailableError, match=r"1000 sessions need about .* of memory"):
        check_memory(held, 1, 100 << 20)
    steady = scenario(target=REMOTE)
    [warning] = check_memory(steady, 1, 96 << 20)
    assert "should all of them be open at once" in warning
    assert read_available_memory() is None or read_available_memory() > 0  # type: ignore[operator]


def test_sessions_beyond_the_ephemeral_range_are_warned_of_unless_that_is_expected() -> None:
    host = HostFacts(port_range=(40_000, 40_499))
    held = scenario(target=REMOTE, load={"l": HELD})
    [warning] = check_ports(held, host)
    assert "40000-40499 has 500 ports" in warning
    assert "client-ephemeral-ports" in warning
    assert check_ports(held, HostFacts()) == []
    assert check_ports(scenario(target=REMOTE, load={"l": {**HELD, "sessions": 500}}), host) == []
    assert (
        check_ports(scenario(target=REMOTE, load={"l": HELD}, expect={"cause": "client-ephemeral-ports"}), host) == []
    )


def test_accounts_are_read_with_or_without_a_heading(tmp_path: Path) -> None:
    path = tmp_path / "users.csv"
    path.write_text('user,password\nanna,"a,1"\n# bert left\ncarl,\n')
    assert read_accounts(Users.model_validate({"from": str(path)})) == (("anna", "a,1"), ("carl", ""))
    assert read_accounts(None) == ()


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "holds no account"), ("anna\n", "account 1"), ("a,hunter2,x\n", "account 1"), ('a,"x\ny"\n', "line break")],
)
def test_a_wrong_users_file_is_told_without_its_content(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "users.csv"
    path.write_text(content)
    with pytest.raises(EnvironmentUnavailableError, match=said) as caught:
        read_accounts(Users.model_validate({"from": str(path)}))
    assert "hunter2" not in str(caught.value)
    with pytest.raises(EnvironmentUnavailableError, match="No such file"):
        read_accounts(Users.model_validate({"from": str(tmp_path / "nowhere.csv")}))
