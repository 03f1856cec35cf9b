"""`target.server`: which settings which server has, and what is said about those that it lacks."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from ftpstorm.scenario.target import Server


def refused(**document: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        Server.model_validate(document)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("vsftpd", {"passive_ports", "max_clients", "tls"}),
        ("proftpd", {"passive_ports", "max_clients", "max_instances", "backlog", "tls"}),
        ("pure-ftpd", {"passive_ports", "max_clients", "tls"}),
        ("inetutils-ftpd", set()),
        ("pyftpdlib", {"passive_ports", "max_clients", "backlog", "tls"}),
        ("aioftp", {"passive_ports", "max_clients", "backlog"}),
    ],
)
def test_a_server_takes_the_settings_it_has_and_no_other(name: str, settings: set[str]) -> None:
    values = {"passive_ports": 20, "max_clients": 5, "max_instances": 5, "backlog": 25, "tls": "explicit"}
    for setting, value in values.items():
        if setting in settings:
            assert getattr(Server.model_validate({"name": name, setting: value}), setting) == value
        else:
            assert f"`{setting}` is" in refused(name=name, **{setting: value}).replace("explicit is", "is")


def test_a_refusal_names_what_there_is_instead() -> None:
    assert "`ip_local_port_range` in `lab.sysctls.server`" in refused(name="inetutils-ftpd", passive_ports=20)
    assert "fixed at 32 in vsftpd; `somaxconn`" in refused(name="vsftpd", backlog=5)


def test_a_command_fills_the_range_only_where_there_is_one() -> None:
    command = ["serve", "--ports={passive_first}-{passive_last}"]
    assert Server.model_validate({"command": command, "passive_ports": "2000-2009"}).passive_range == (2000, 2009)
    assert "give `passive_ports`" in refused(command=command)
    assert "the command's own business" in refused(command=["serve"], max_clients=3)
    assert "write them into `command`" in refused(command=["serve"], settings={"a": "b"})


@pytest.mark.parametrize("ports", ["2009-2000", "80-90", "65000-65536", 60_000])
def test_a_range_that_cannot_be_is_refused(ports: Any) -> None:
    refused(name="vsftpd", passive_ports=ports)


def test_a_setting_is_one_line() -> None:
    assert "one line" in refused(name="vsftpd", settings={"banner": "a\nlisten=NO"})
