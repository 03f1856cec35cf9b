"""``ftpstorm lab shell``, ``lab run`` and ``lab up``."""

from __future__ import annotations

from typing import Annotated

import typer

Scenario = Annotated[
    str | None, typer.Argument(metavar="[SCENARIO]", help="Take lab, server and files from this scenario.")
]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=C", help="Set one key of the scenario; may be repeated.")
]
Variant = Annotated[str | None, typer.Option(metavar="NAME", help="Take this variant of the scenario.")]
Topology = Annotated[str | None, typer.Option(metavar="NAME", help="In place of a scenario: loopback, pair or routed.")]
ServerName = Annotated[
    str | None,
    typer.Option("--server", metavar="NAME", help="With --topology alone: start this FTP server, such as vsftpd."),
]
Sysctls = Annotated[
    list[str] | None,
    typer.Option("--sysctl", metavar="[HOST.]NAME=VALUE", help="Such as client.tcp_tw_reuse=0; may be repeated."),
]
HostName = Annotated[str, typer.Option("--host", metavar="NAME", help="Where it runs: client-0, server, router ...")]


def shell(
    scenario: Scenario = None,
    sets: Sets = None,
    variant: Variant = None,
    topology: Topology = None,
    server: ServerName = None,
    sysctls: Sysctls = None,
    host: HostName = "client-0",
) -> int:
    """Open a shell in a lab; its end takes the lab down."""
    from ftpstorm.conduct.lab_shell import LabOptions, open_lab

    return open_lab(LabOptions(scenario, sets or (), variant, topology, server, sysctls or (), host), "shell")


def run(
    words: Annotated[
        list[str],
        typer.Argument(metavar="[SCENARIO] -- CMD ...", help="The scenario (none with --topology) and the command."),
    ],
    sets: Sets = None,
    variant: Variant = None,
    topology: Topology = None,
    server: ServerName = None,
    sysctls: Sysctls = None,
    host: HostName = "client-0",
) -> int:
    """Run one command in a lab and exit with its status."""
    from ftpstorm.conduct.lab_shell import LabOptions, open_lab
    from ftpstorm.errors import UsageError

    scenario, command = (None, words) if topology is not None else (words[0], words[1:])
    if not command:
        raise UsageError("name the command after --, such as: ftpstorm lab run SCENARIO -- ss -tan")
    return open_lab(LabOptions(scenario, sets or (), variant, topology, server, sysctls or (), host), "run", command)


def up(
    scenario: Scenario = None,
    sets: Sets = None,
    variant: Variant = None,
    topology: Topology = None,
    server: ServerName = None,
    sysctls: Sysctls = None,
) -> int:
    """Keep a lab up until INT or TERM."""
    from ftpstorm.conduct.lab_shell import LabOptions, open_lab

    return open_lab(LabOptions(scenario, sets or (), variant, topology, server, sysctls or ()), "up")


def new_group() -> typer.Typer:
    """Return the three commands as one."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look around in a lab by hand.")
    group.command("shell")(shell)
    group.command("run")(run)
    group.command("up")(up)
    return group
