"""What a server is configured with, whom it runs as, and what its surroundings hide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ftpstorm.errors import EnvironmentUnavailableError
from ftpstorm.lab.servers import own, proftpd, pureftpd, vsftpd
from ftpstorm.lab.servers.programs import Program
from ftpstorm.lab.servers.recipe import Identity, Place, read_identity
from ftpstorm.lab.servers.settings import read_value
from ftpstorm.lab.servers.surroundings import choose_place, prepare
from ftpstorm.scenario.target import Server

MANY = Identity(single=False, ftp=65_533, nobody=65_532)
SINGLE = Identity(single=True, ftp=0, nobody=0)


def place(folder: Path, identity: Identity = MANY, **keys: Any) -> Place:
    values: dict[str, Any] = {"addresses": ("10.78.0.1",), "ipv6": False, "port": 2121, "identity": identity, **keys}
    return Place(folder=folder, seen=Path("/srv"), **values)


def server(name: str, **keys: Any) -> tuple[Server, Program]:
    return Server.model_validate({"name": name, **keys}), Program(name, Path("/usr/sbin", name))


def settings(folder: Path, separator: str, name: str) -> dict[str, str]:
    lines = (folder / name).read_text().splitlines()
    return {key: value for key, _, value in (line.partition(separator) for line in lines)}


@pytest.mark.parametrize(
    ("uid_map", "identity"),
    [
        ("         0          0 4294967295\n", MANY),
        ("         0       1000          1\n", SINGLE),
        ("0 1000 1\n1 100000 65536\n", MANY),
        ("0 1000 1\n1 100000 1000\n", Identity(single=False, ftp=1000, nobody=999)),
    ],
)
def test_sessions_run_with_an_id_that_the_namespace_maps(uid_map: str, identity: Identity) -> None:
    assert read_identity(uid_map) == identity


def test_vsftpd_gets_what_the_scenario_says_and_its_own_settings_last(tmp_path: Path) -> None:
    asked, program = server(
        "vsftpd", passive_ports=20, max_clients=7, settings={"max_clients": "9", "accept_timeout": "5"}
    )
    recipe = vsftpd.write(asked, program, place(tmp_path))
    written = settings(tmp_path, "=", "vsftpd.conf")
    assert recipe.command == ("/usr/sbin/vsftpd", "/srv/vsftpd.conf")
    assert (written["pasv_min_port"], written["pasv_max_port"]) == ("10000", "10019")
    assert (written["max_clients"], written["accept_timeout"]) == ("9", "5")
    assert (written["listen_address"], written["listen_port"]) == ("10.78.0.1", "2121")
    assert written["run_as_launching_user"] == "NO"
    assert "ssl_enable" not in written


def test_vsftpd_runs_as_its_starter_where_one_uid_is_all_there_is(tmp_path: Path) -> None:
    vsftpd.write(*server("vsftpd"), place(tmp_path, SINGLE))
    assert settings(tmp_path, "=", "vsftpd.conf")["run_as_launching_user"] == "YES"


def test_several_addresses_mean_all_and_ipv6_is_said(tmp_path: Path) -> None:
    vsftpd.write(*server("vsftpd"), place(tmp_path, addresses=("fd78::1", "fd78::2"), ipv6=True))
    written = settings(tmp_path, "=", "vsftpd.conf")
    assert written["listen_ipv6"] == "YES"
    assert not {"listen", "listen_address", "listen_address6"} & set(written)


def test_both_demand_that_data_connections_resume_the_tls_session(tmp_path: Path) -> None:
    certified = place(tmp_path, certificate="/srv/pair.pem")
    vsftpd.write(*server("vsftpd", tls="explicit"), certified)
    proftpd.write(*server("proftpd", tls="explicit"), certified)
    assert settings(tmp_path, "=", "vsftpd.conf")["require_ssl_reuse"] == "YES"
    written = settings(tmp_path, " ", "proftpd.conf")
    assert written["TLSRequired"] == "on"
    assert "TLSOptions" not in written  # NoSessionReuseRequired would lift the demand


def test_proftpd_gets_its_limits_and_a_users_file_that_it_takes(tmp_path: Path) -> None:
    asked = server("proftpd", passive_ports="3000-3009", max_clients=5, max_instances=6, backlog=25)
    proftpd.write(*asked, place(tmp_path))
    written = settings(tmp_path, " ", "proftpd.conf")
    assert written["PassivePorts"] == "3000 3009"
    assert (written["MaxClients"], written["MaxInstances"], written["tcpBackLog"]) == ("5", "6", "25")
    assert "RootLogin" not in written
    assert (tmp_path / "users").stat().st_mode & 0o777 == 0o600


def test_pure_ftpd_takes_options_and_needs_several_uids(tmp_path: Path) -> None:
    asked = server("pure-ftpd", passive_ports=20, settings={"maxidletime": "1", "displaydotfiles": ""})
    command = " ".join(pureftpd.write(*asked, place(tmp_path)).command)
    assert "--bind 10.78.0.1,2121" in command
    assert "--passiveportrange 10000:10019" in command
    assert command.endswith("--maxidletime=1 --displaydotfiles")
    with pytest.raises(EnvironmentUnavailableError, match="one uid only"):
        pureftpd.write(*asked, place(tmp_path, SINGLE))


def test_the_placeholders_of_a_command_are_filled_and_other_braces_stay(tmp_path: Path) -> None:
    words = ["cat", "{address}:{port}", "{root}", "{folder}", "{passive_first}-{passive_last}", "{x}", "{{port}}"]
    asked = Server.model_validate({"command": words, "passive_ports": 10})
    recipe = own.write(asked, place(tmp_path))
    assert recipe.command[1:] == (
        *("10.78.0.1:2121", str(tmp_path / "files"), str(tmp_path / "own"), "10000-10009", "{x}", "{2121}"),
    )
    assert Path(recipe.command[0]).name == "cat"


def test_a_command_that_is_no_program_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentUnavailableError, match="'no-such-server' is no program on PATH"):
        own.write(Server.model_validate({"command": ["no-such-server"]}), place(tmp_path))


def test_the_place_of_a_server_hides_nothing_that_it_needs() -> None:
    free = choose_place([Path("/usr/sbin/vsftpd")])
    assert choose_place([free / "servers" / "vsftpd"]) != free
    with pytest.raises(EnvironmentUnavailableError, match="lies below /etc"):
        choose_place([Path("/etc/servers/vsftpd")])


def test_the_servers_users_and_services_are_its_own(tmp_path: Path) -> None:
    mounts = prepare(tmp_path, Path("/srv"), MANY, 2121)
    assert mounts[0] == (str(tmp_path), "/srv")
    assert ("/srv/etc", "/etc") in mounts
    assert ("/srv/run", "/run") in mounts
    assert "ftp:x:65533:65533:anonymous:/srv/files:/bin/sh" in (tmp_path / "etc/passwd").read_text()
    assert "ftp 2121/tcp" in (tmp_path / "etc/services").read_text()


@pytest.mark.parametrize(("text", "value"), [("30", 30), ("true", True), ("hello", "hello"), ('"30"', "30")])
def test_settings_of_a_server_in_python_are_json_or_text(text: str, value: Any) -> None:
    assert read_value(text) == value
