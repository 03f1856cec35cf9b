from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from ftpstorm.conduct.preflight import (
    check_files,
    check_guard,
    check_tls,
    children_environment,
    read_password,
    read_versions,
)
from ftpstorm.errors import EnvironmentUnavailableError, TargetRefusedError
from ftpstorm.scenario.schema import Scenario
from ftpstorm.scenario.target import Target
from support.short_run import scenario_of

REMOTE = {"host": "127.0.0.1", "port": 2121}


def burst(sessions: int, **more: object) -> dict[str, object]:
    return {"peak": {"executor": "burst", "sessions": sessions, "flow": "download", **more}}


def scenario(**sections: object) -> Scenario:
    return Scenario.model_validate(scenario_of(**sections))


def test_a_burst_that_needs_more_files_than_there_are_is_refused() -> None:
    with pytest.raises(EnvironmentUnavailableError, match=r"needs 2064 open files .* limit is 1024"):
        check_files(scenario(target=REMOTE, load=burst(1000)), 1, 1024)


def test_more_workers_share_the_files() -> None:
    assert check_files(scenario(target=REMOTE, load=burst(1000)), 3, 1024) == []


def test_the_emulator_serves_the_sessions_of_all_workers() -> None:
    with pytest.raises(EnvironmentUnavailableError, match="the emulator needs"):
        check_files(scenario(load=burst(1000)), 3, 1024)


def test_an_open_load_that_only_might_need_them_is_warned_of() -> None:
    load = {"steady": scenario_of()["load"]["steady"] | {"rate": "1000/s"}}
    [warning] = check_files(scenario(target=REMOTE, load=load), 1, 1024)
    assert "if all of them are open at once" in warning


def test_a_load_within_the_guard_passes() -> None:
    check_guard(scenario(guard={"max_sessions": 100, "max_rate": "50/s", "stop_after": "2s"}))


@pytest.mark.parametrize(
    ("guard", "named"),
    [
        ({"max_sessions": 49, "max_rate": "50/s", "stop_after": "2s"}, "guard.max_sessions"),
        ({"max_sessions": 100, "max_rate": "49/s", "stop_after": "2s"}, "guard.max_rate"),
        ({"max_sessions": 100, "max_rate": "50/s", "stop_after": "500ms"}, "guard.stop_after"),
    ],
)
def test_a_load_beyond_the_guard_is_refused(guard: dict[str, object], named: str) -> None:
    with pytest.raises(TargetRefusedError, match=named):
        check_guard(scenario(guard=guard))


def test_a_burst_counts_by_its_busiest_second() -> None:
    with pytest.raises(TargetRefusedError, match="60 sessions a second"):
        check_guard(scenario(load=burst(60), guard={"max_sessions": 100, "max_rate": "50/s", "stop_after": "2s"}))


def test_the_password_comes_from_the_environment() -> None:
    assert read_password(Target(host="h", password_env="PW"), {"PW": "hunter2"}) == "hunter2"


def test_the_password_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("hunter2\nnot this\n")
    assert read_password(Target(host="h", password_file=str(file)), {}) == "hunter2"


def test_no_password_is_no_error() -> None:
    assert read_password(Target(host="h"), {"PW": "hunter2"}) is None


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(EnvironmentUnavailableError, match="PW is not set"):
        read_password(Target(host="h", password_env="PW"), {"OTHER": "hunter2"})


def test_an_unreadable_file_is_named_without_its_content(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes(b"hunter2 \xff\n")
    with pytest.raises(EnvironmentUnavailableError) as caught:
        read_password(Target(host="h", password_file=str(file)), {})
    assert str(file) in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_children_do_not_inherit_the_password() -> None:
    environment = children_environment(Target(host="h", password_env="PW"), {"PW": "hunter2", "PATH": "/bin"})
    assert environment == {"PATH": "/bin"}


def test_versions_name_the_interpreter_and_the_packages() -> None:
    assert {"python", "linux", "aioftp", "pydantic"} <= read_versions().keys()


def test_a_file_of_authorities_is_read_before_the_run(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(authority)
    check_tls(Target.model_validate({"host": "h", "tls": {"mode": "explicit", "ca_file": str(authority)}}))


@pytest.mark.parametrize(
    ("content", "why"), [(None, "No such file"), (b"no certificate", "PEM"), (b"\xff\x00", "PEM"), (b"", "PEM")]
)
def test_a_file_of_authorities_that_is_none_is_refused_by_name(tmp_path: Path, content: bytes | None, why: str) -> None:
    authority = tmp_path / "ca.pem"
    if content is not None:
        authority.write_bytes(content)
    with pytest.raises(EnvironmentUnavailableError, match=rf"target\.tls\.ca_file: .*ca\.pem: .*{why}"):
        check_tls(Target.model_validate({"host": "h", "tls": {"mode": "implicit", "ca_file": str(authority)}}))


def test_a_file_of_authorities_that_nobody_uses_is_not_read() -> None:
    check_tls(Target.model_validate({"host": "h", "tls": {"ca_file": "/nowhere/ca.pem"}}))


@pytest.mark.parametrize("name", [".example", "a" * 64 + ".example"])
def test_a_name_that_no_server_can_have_is_refused(name: str) -> None:
    with pytest.raises(EnvironmentUnavailableError, match=r"target\.tls\.server_name"):
        check_tls(Target.model_validate({"host": "h", "tls": {"mode": "explicit", "server_name": name}}))
