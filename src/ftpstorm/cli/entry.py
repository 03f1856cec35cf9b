"""The entry point: commands assembled, and every exception turned into a line on stderr and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from ftpstorm import __version__
from ftpstorm.cli.commands import (
    compare,
    doctor,
    export,
    init,
    lab,
    limits,
    probe,
    report,
    run,
    sample,
    scenarios,
    schema,
    search,
    serve,
    simulate,
    sweep,
    validate,
)
from ftpstorm.cli.examples import EXAMPLES, epilog, first_steps
from ftpstorm.errors import ExitCode, FtpstormError

SIGPIPE_EXIT = 141
"""What a shell reports for a command that SIGPIPE ended: the reader of our output is gone."""

# The base of typer's usage errors; typer carries it along itself or takes it from click, by version.
_ClickException: Any = typer.BadParameter.__mro__[2]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"ftpstorm {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Make FTP load, watch the kernel meanwhile, and say what ran out."""


def new_app() -> typer.Typer:
    """Return the application with all its commands."""
    app = typer.Typer(
        name="ftpstorm",
        no_args_is_help=True,
        epilog=first_steps(),
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    app.callback()(_root)
    for name, command in (
        ("run", run.run),
        ("report", report.report),
        ("compare", compare.compare),
        ("search", search.search),
        ("sweep", sweep.sweep),
        ("export", export.export),
        ("simulate", simulate.simulate),
        ("serve", serve.serve),
        ("sample", sample.sample),
        ("limits", limits.limits),
        ("doctor", doctor.doctor),
        ("probe", probe.probe),
        ("scenarios", scenarios.scenarios),
        ("validate", validate.validate),
        ("schema", schema.schema),
        ("init", init.init),
    ):
        app.command(name, epilog=epilog(name))(command)
    app.add_typer(lab.new_group(), name="lab", epilog=epilog("lab"))
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, by default the process's own; return the exit code."""
    try:
        code = _invoke(list(arguments) if arguments is not None else None)
        sys.stdout.flush()
    except BrokenPipeError:
        # the interpreter flushes stdout once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SIGPIPE_EXIT
    return code


def _invoke(arguments: list[str] | None) -> int:
    try:
        result = new_app()(args=arguments, prog_name="ftpstorm", standalone_mode=False)
        return int(result) if isinstance(result, int) else ExitCode.PASS
    except FtpstormError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except _ClickException as error:
        print(_usage_error(error), file=sys.stderr)
        return ExitCode.USAGE
    except typer.Exit as ending:
        return ending.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:
        from ftpstorm.conduct.mishap import report_internal_error

        return report_internal_error(error)


def _usage_error(error: Any) -> str:
    """Return what to say of a command line that cannot be parsed, with the command that shows how it is written."""
    message = str(error.format_message())
    if message.startswith("Usage: "):  # nothing was asked: the whole help, which is no error's text
        return message
    path = error.ctx.command_path if getattr(error, "ctx", None) is not None else "ftpstorm"
    lines = EXAMPLES.get(path.removeprefix("ftpstorm").strip(), ())
    example = f"such as: {lines[0]}\n" if message.startswith("Missing ") and lines else ""
    return f"error: {message}\n{example}options and examples: {path} --help"
