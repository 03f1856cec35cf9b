"""Finding servers: installed ones, fetched ones, and what is said where there is neither."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftpstorm.errors import EnvironmentUnavailableError
from ftpstorm.lab.servers import programs
from ftpstorm.lab.servers.programs import find_program, why_missing


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A system without servers: an empty PATH, an empty cache."""
    monkeypatch.setattr(programs, "_SYSTEM", ())
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv(programs.FOLDER_KEY, str(tmp_path / "servers"))
    (tmp_path / "bin").mkdir()
    return tmp_path


def write_program(path: Path, says: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {says!r} >&0\n")  # to where a client would be, as vsftpd does
    path.chmod(0o755)


def test_an_installed_server_is_taken_with_the_version_that_it_says(bare: Path) -> None:
    write_program(bare / "bin/vsftpd", "vsftpd: version 3.0.5")
    program = find_program("vsftpd")
    assert (program.path, program.tree, program.version()) == (bare / "bin/vsftpd", None, "3.0.5")
    assert "LD_LIBRARY_PATH" not in program.environment()


def test_another_server_of_the_same_name_is_passed_over(bare: Path) -> None:
    write_program(bare / "bin/ftpd", "Some ftpd 6.4")
    assert why_missing("inetutils-ftpd") is not None
    write_program(bare / "bin/in.ftpd", "ftpd (GNU inetutils) 2.4")
    assert find_program("inetutils-ftpd").path == bare / "bin/in.ftpd"


def test_a_fetched_server_gets_its_libraries_for_itself_alone(bare: Path) -> None:
    tree = bare / "servers/proftpd"
    write_program(tree / "usr/sbin/proftpd", "ProFTPD Version 1.3.8")
    (tree / ".packages").write_text("proftpd-core=1.3.8\n")
    with pytest.raises(EnvironmentUnavailableError, match="is incomplete"):
        find_program("proftpd")
    (tree / ".binary").write_text(f"{tree}/usr/sbin/proftpd\n")
    (tree / ".library-path").write_text(f"{tree}/usr/lib\n")
    program = find_program("proftpd")
    assert (program.version(), program.tree) == ("1.3.8", tree)
    assert program.environment()["LD_LIBRARY_PATH"] == f"{tree}/usr/lib"


def test_what_is_missing_is_named_with_how_to_get_it(bare: Path) -> None:
    said = str(why_missing("proftpd"))
    assert "`scripts/fetch-servers proftpd`" in said
    assert "`apt-get install proftpd-core`" in said


def test_a_server_in_python_is_asked_for_by_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "find_spec", lambda name: None)
    assert "`pip install pyftpdlib`" in str(why_missing("pyftpdlib"))


def test_aioftp_comes_with_ftpstorm() -> None:
    program = find_program("aioftp")
    assert program.path is None
    assert str(program.version()).startswith("0.28")
