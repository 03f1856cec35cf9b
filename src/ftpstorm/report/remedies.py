"""Which words a fix comes in: the platform of each side, by what the run knows of it and by what the server said.

The words themselves are `ftpstorm.limits.fixes`.
"""

from __future__ import annotations

import shlex
from typing import Final

from ftpstorm.limits.fixes import fixes
from ftpstorm.limits.platform import Platform
from ftpstorm.report.evidence import Evidence
from ftpstorm.report.summary import Fix
from ftpstorm.vocabulary import Cause, Side

_SAYINGS: Final = (
    ("microsoft ftp", Platform.IIS),
    ("filezilla", Platform.FILEZILLA),
    ("oops:", Platform.VSFTPD),
    ("vsftpd", Platform.VSFTPD),
    ("from your internet address", Platform.VSFTPD),
    ("there are too many connected users", Platform.VSFTPD),
    ("proftpd", Platform.PROFTPD),
    ("maximum number of allowed clients", Platform.PROFTPD),
    ("pure-ftpd", Platform.PURE_FTPD),
    ("all reserved tcp ports are busy", Platform.PURE_FTPD),
    ("users (the maximum) are already logged in", Platform.PURE_FTPD),
    ("can't open passive connection", Platform.INETUTILS_FTPD),
    ("service temporarily unavailable", Platform.PYFTPDLIB),
    ("no free ports", Platform.AIOFTP),
    ("serv-u", Platform.WINDOWS),
    ("data connection in use", Platform.WINDOWS),  # Serv-U's string table
    ("out of network sockets", Platform.WINDOWS),
    ("winsock", Platform.WINDOWS),
    ("10048", Platform.WINDOWS),
    ("10055", Platform.WINDOWS),
)
"""What servers say when they refuse, in lower case, and who says so."""

_WINDOWS_TOO: Final = frozenset(
    {Cause.BACKLOG_SYN_REFUSED, Cause.RESET_AFTER_ACCEPT, Cause.SERVER_PASSIVE_POOL, Cause.DATA_CONNECTION_IN_USE}
)
"""Causes whose signs fit Windows where nobody knows what the server is: its words are given too."""


def server_platform(evidence: Evidence) -> Platform:
    """Return what the server is: as the scenario says, else as its refusals sound; ANY where nothing tells."""
    target = evidence.plan.scenario.target
    if target.emulator is not None:
        return Platform.EMULATOR
    if target.server is not None and target.server.name is not None:
        return Platform(target.server.name)
    said = [text.lower() for text in evidence.failures.texts]
    for words, platform in _SAYINGS:
        if any(words in text for text in said):
            return platform
    return Platform.LINUX if runs_linux(evidence) else Platform.ANY


def runs_linux(evidence: Evidence) -> bool:
    """Tell whether the server is known to behave as Linux: a command of the user's own may imitate something else."""
    target = evidence.plan.scenario.target
    return target.emulator is not None or (target.server is not None and target.server.name is not None)


def run_again(evidence: Evidence) -> str:
    """Return the command that runs this scenario again: by its file or name as it was given, else from the folder.

    Entered where the run was started, or in the folder above results/.
    """
    manifest = evidence.manifest
    if manifest.source is None:  # the folder's own file is the scenario in effect, its variant included
        return f"ftpstorm run {shlex.quote(f'results/{evidence.run.folder.name}/scenario.yaml')}"
    variant = f" --variant {shlex.quote(manifest.variant)}" if manifest.variant else ""
    return f"ftpstorm run {shlex.quote(manifest.source)}{variant}"


def remedies(
    evidence: Evidence, cause: Cause, side: Side | None = Side.SERVER, *, places: int | None = None
) -> tuple[Fix, ...]:
    """Return what lifts `cause`, in the words of the platform that `side` has; None stands for all sides.

    `places` is how many passive ports the load wants, None where that is not known.
    """
    match side:
        case Side.CLIENT:
            platforms = [Platform.LINUX]
        case Side.ROUTER:
            platforms = [Platform.LINUX if evidence.plan.scenario.lab is not None else Platform.ANY]
        case _:
            platforms = [server_platform(evidence)]
    if platforms == [Platform.ANY] and cause in _WINDOWS_TOO:
        platforms += [Platform.WINDOWS, Platform.IIS] if cause is Cause.DATA_CONNECTION_IN_USE else [Platform.IIS]
    found = [fix for platform in platforms for fix in fixes(cause, side, platform, places=places)]
    run = run_again(evidence)
    return tuple(
        Fix(
            host=fix.host,
            command=fix.command.replace("ftpstorm run ...", run),
            takes_effect=fix.takes_effect,
            risk=fix.risk,
        )
        for fix in dict.fromkeys(found)
    )
