"""The command line as its user meets it: in a process of its own where imports, pipes or signals matter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ftpstorm.cli import main
from ftpstorm.errors import ExitCode
from support.results_folder import Story, write_results
from support.short_run import write_scenario

COMMANDS = (
    "run",
    "report",
    "compare",
    "export",
    "serve",
    "sample",
    "limits",
    "validate",
    "schema",
    "init",
    "scenarios",
    "doctor",
    "probe",
    "lab",
)
# pydantic is not among them: typer itself imports it for a command's options
HEAVY = (
    "matplotlib",
    "pyarrow",
    "numpy",
    "aioftp",
    "uvloop",
    "psutil",
    "asyncio",
    "ruamel",
    "jinja2",
    "rich.live",
    "rich.console",
    "prometheus_client",
)


def ftpstorm(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ftpstorm", *arguments], capture_output=True, text=True, timeout=60, cwd=cwd
    )


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_imports_nothing_heavy(command: str) -> None:
    arguments = [command, "--help"] if command else ["--help"]
    script = (
        "import json, sys\n"
        "from ftpstorm.cli import main\n"
        f"code = main({arguments!r})\n"
        "print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    code, modules = json.loads(done.stderr)
    assert code == 0
    assert "Usage: " in done.stdout
    assert [name for name in modules if any(name == heavy or name.startswith(heavy + ".") for heavy in HEAVY)] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_shows_examples_that_begin_with_it(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--help"]) == 0
    examples = capsys.readouterr().out.partition("Examples:\n")[2].splitlines()
    assert examples
    assert all(line.strip().startswith("ftpstorm ") for line in examples)
    assert any(line.strip().startswith(f"ftpstorm {command}") for line in examples)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands(shell: str) -> None:
    environment = {
        **os.environ,
        "_FTPSTORM_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": "ftpstorm comp",
        "COMP_CWORD": "1",
        "_TYPER_COMPLETE_ARGS": "ftpstorm comp",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    script = "import sys; sys.argv[0] = 'ftpstorm'; from ftpstorm.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, env=environment)
    assert "compare" in done.stdout
    assert "serve" not in done.stdout


def test_records_are_exported_to_stdout_and_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_results(tmp_path / "run", Story(duration_s=1))
    assert main(["export", str(folder), "--where", "operation=retr"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 97
    assert json.loads(lines[0])["operation"] == "retr"
    file = tmp_path / "sessions.csv"
    assert main(["export", str(folder), "--table", "sessions", "-o", str(file)]) == 0
    assert capsys.readouterr().err == f"{file}: 97 sessions\n"
    assert file.read_text().startswith("utc,load,session,outcome,")


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {command} " in text for command in COMMANDS)
    assert "..." not in text.partition("Commands:")[2], "a command's help is cut off"


def test_no_command_shows_the_help_and_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert (captured.out + captured.err).startswith("Usage: ftpstorm ")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["report"],
            "Missing argument 'RUN...'.\nsuch as: ftpstorm report latest\noptions and examples: ftpstorm report -",
        ),
        (["rnu"], "Did you mean 'run'?\noptions and examples: ftpstorm --help"),
        (["lab", "shel"], "Did you mean 'shell'?\noptions and examples: ftpstorm lab --help"),
        (["validate", "nosuch.yaml"], "no file nosuch.yaml"),
        (["validate", "nosuch.yaml"], "ftpstorm init"),
        (["init", "taken"], "ftpstorm init taken-2"),
        (["report", "nosuch"], "ftpstorm run"),
    ],
)
def test_an_error_names_the_command_that_comes_next(
    arguments: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken.yaml").touch()
    assert main(arguments) == ExitCode.USAGE
    assert told in capsys.readouterr().err


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("ftpstorm ")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["bogus"], "bogus"),
        (["run"], "SCENARIO"),
        (["run", "x", "--workers", "many"], "--workers"),
        (["run", "no-such-scenario"], "no-such-scenario"),
        (["run", "try-later-425", "--variant", "nope"], "nope"),
        (["run", "try-later-425", "--target", "http://x/"], "http://x/"),
        (["run", "try-later-425", "--shard", "3/2"], "--shard"),
        (["sample", "--every", "5"], "--every 5"),
        (["sample", "--passive-ports", "9"], "--passive-ports 9"),
        (["serve", "--set", "a=b"], "--set"),
        (["run", "try-later-425", "--metrics", "here"], "--metrics here"),
        (["export", "no-such-run"], "no-such-run"),
    ],
)
def test_a_wrong_command_line_is_a_line_on_stderr_and_2(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert told in captured.err


def test_a_bad_scenario_is_104_with_every_problem_and_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("version: 1\nname: Bad Name\ntarget: {emulater: {}}\nflows: {}\nload: {}\n")
    assert main(["run", str(file)]) == ExitCode.BAD_SCENARIO
    err = capsys.readouterr().err
    assert f"{file}:2:" in err
    assert f"{file}:3:" in err
    assert "did you mean" in err


def test_an_error_that_nobody_foresaw_is_1_with_a_hint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("by design")

    monkeypatch.delenv("FTPSTORM_DEBUG", raising=False)
    monkeypatch.setattr("ftpstorm.conduct.authoring.print_schema", broken)
    assert main(["schema"]) == ExitCode.INTERNAL_ERROR
    err = capsys.readouterr().err
    assert "error: internal error: ZeroDivisionError: by design" in err
    assert "FTPSTORM_DEBUG" in err
    assert "Traceback" not in err


def test_a_reader_that_stops_reading_is_no_error() -> None:
    command = f"{sys.executable} -m ftpstorm schema | head -c 1"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stdout == "{"
    assert done.stderr == ""


def test_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["type"] == "object"


def test_the_gallery_is_listed_for_people_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scenarios"]) == 0
    assert "try-later-425" in capsys.readouterr().out
    assert main(["scenarios", "--json"]) == 0
    [entry] = [entry for entry in json.loads(capsys.readouterr().out) if entry["name"] == "try-later-425"]
    assert Path(entry["file"]).is_file()


def test_a_starter_file_validates_and_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "mine", "--in", str(tmp_path)]) == 0
    file = tmp_path / "mine.yaml"
    assert main(["validate", str(file)]) == 0
    assert f"{file}: valid" in capsys.readouterr().out
    text = file.read_text()
    assert main(["init", "mine", "--in", str(tmp_path)]) == ExitCode.USAGE
    assert file.read_text() == text
    assert "exists already" in capsys.readouterr().err


def test_validate_goes_on_after_a_bad_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write_scenario(tmp_path)
    bad = tmp_path / "bad.yaml"
    bad.write_text("version: 2\n")
    assert main(["validate", str(bad), str(good)]) == ExitCode.BAD_SCENARIO
    captured = capsys.readouterr()
    assert f"{good}: valid" in captured.out
    assert str(bad) in captured.err
