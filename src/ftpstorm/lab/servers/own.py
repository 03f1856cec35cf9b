"""A server of the user's own: its command line with the placeholders filled in."""

from __future__ import annotations

import shutil

from ftpstorm.errors import EnvironmentUnavailableError
from ftpstorm.lab.servers.recipe import Place, Recipe
from ftpstorm.scenario.target import Server


def write(server: Server, place: Place) -> Recipe:
    """Return how to start `command`, found on PATH. Text in braces that is no placeholder stays as it is."""
    own = place.folder / "own"
    own.mkdir()
    first, last = server.passive_range or ("", "")
    values = {
        "address": place.wildcard_or_address,
        "port": place.port,
        "root": place.folder / "files",
        "folder": own,
        "passive_first": first,
        "passive_last": last,
    }
    command = list(server.command)
    for name, value in values.items():
        command = [word.replace(f"{{{name}}}", str(value)) for word in command]
    program = shutil.which(command[0])
    if program is None:
        raise EnvironmentUnavailableError(
            f"target.server.command: {command[0]!r} is no program on PATH; give its whole path"
        )
    return Recipe((program, *command[1:]), private=False)
