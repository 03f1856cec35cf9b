"""What a lab means for workers and their addresses, without a network being built."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from ftpstorm.conduct import supervisor
from ftpstorm.conduct.laboratory import Laboratory, check_workers, control_port, mount_folder, with_lab_sources
from ftpstorm.conduct.request import RunRequest, scenario_fields
from ftpstorm.errors import EnvironmentUnavailableError, ExitCode, UsageError
from ftpstorm.lab.namespaces import Command, NamespaceRefusedError
from ftpstorm.scenario.schema import Scenario
from support.short_run import scenario_of

LAB_SOURCES = {"bind": "no-port", "source_addresses": ["lab"]}


def scenario(**sections: Any) -> Scenario:
    return Scenario.model_validate(scenario_of(**sections))


def test_lab_sources_are_dealt_host_by_host_so_that_session_and_worker_numbers_meet_on_one_host() -> None:
    lab = {"clients": 2, "client_addresses": 3}
    resolved = with_lab_sources(scenario(lab=lab, client=LAB_SOURCES))
    assert resolved.client.addresses == (
        "10.77.0.1",
        "10.77.1.1",
        "10.77.0.2",
        "10.77.1.2",
        "10.77.0.3",
        "10.77.1.3",
    )
    workers = 4
    for session in range(24):
        host_of_worker = (session % workers) % 2
        assert resolved.client.addresses[session % 6].startswith(f"10.77.{host_of_worker}.")


def test_other_sources_stay_as_they_are() -> None:
    plain = scenario(lab={})
    assert with_lab_sources(plain) is plain


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"client": LAB_SOURCES}, "needs a `lab`"),
        ({"lab": {}, "client": {"source_addresses": ["lab", "10.0.0.1"]}}, "stands alone"),
        ({"lab": {}, "client": LAB_SOURCES | {"data_source": "other"}}, "client_addresses"),
    ],
)
def test_lab_sources_are_refused_where_they_mean_nothing(sections: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        scenario(**sections)


def test_every_client_host_needs_a_worker() -> None:
    check_workers(scenario(lab={"clients": 3}), 3)
    check_workers(scenario(lab={"clients": 3}), 4)
    with pytest.raises(UsageError, match="--workers 3"):
        check_workers(scenario(lab={"clients": 3}), 2)


def test_with_lab_sources_every_host_needs_as_many_workers_as_the_others() -> None:
    sources = scenario(lab={"clients": 2}, client=LAB_SOURCES)
    check_workers(sources, 4)
    with pytest.raises(UsageError, match="multiple of 2"):
        check_workers(sources, 3)


def test_the_control_port_is_the_servers_own_or_the_emulators_first() -> None:
    assert control_port(scenario(lab={})) == 2121
    assert control_port(scenario(lab={}, target={"server": {"name": "vsftpd", "port": 2100}})) == 2100


def test_the_server_is_not_given_the_variable_with_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    def start_server(*_: Any, **options: Any) -> SimpleNamespace:
        given.update(options)
        return SimpleNamespace(stop=lambda: None)

    monkeypatch.setattr("ftpstorm.lab.servers.start_server", start_server)
    monkeypatch.setattr("ftpstorm.conduct.laboratory.mount_folder", lambda *_: tmp_path)
    asked = scenario(target={"server": {"name": "vsftpd"}, "password_env": "SECRET"}, lab={"topology": "pair"})
    assert asked.lab is not None
    network: Any = SimpleNamespace(log="", server=SimpleNamespace(addresses=("10.78.0.1",)))
    Laboratory(asked, asked.lab, network).start_server(tmp_path)
    assert given["secrets"] == ("SECRET",)


def test_no_folder_is_hidden_that_the_run_needs() -> None:
    with pytest.raises(EnvironmentUnavailableError, match="none of"):
        mount_folder(*(Path(point) / "results" for point in ("/run", "/mnt", "/media", "/srv")))


def test_a_lab_without_namespaces_is_refused_with_what_to_enable_and_never_run_on_the_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(command: Command) -> int:
        raise NamespaceRefusedError("no private namespace here: unshare failed with EPERM")

    def never(command: Command) -> int:
        raise AssertionError("started on the host")

    monkeypatch.setattr(supervisor, "start_private", refuse)
    monkeypatch.setattr(supervisor, "start_plain", never)
    request = RunRequest(scenario=scenario_fields(scenario(lab={})))
    with pytest.raises(NamespaceRefusedError, match="max_user_namespaces") as refused:
        supervisor.supervise(request, private=False)
    assert refused.value.exit_code == ExitCode.ENVIRONMENT
