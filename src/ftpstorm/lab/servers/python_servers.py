"""How pyftpdlib and aioftp are started: each is a program of this package that takes its order as JSON."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from ftpstorm.lab.servers.recipe import PASSWORD, USER, Place, Recipe
from ftpstorm.scenario.target import Server


def write(server: Server, place: Place) -> Recipe:
    """Return how to start the server in Python that `server` names."""
    order: dict[str, Any] = {
        "address": place.wildcard_or_address,
        "port": place.port,
        "root": str(place.folder / "files"),
        "user": USER,
        "password": PASSWORD,
        "passive": server.passive_range,
        "max_clients": server.max_clients,
        "backlog": server.backlog,
        "certificate": place.certificate,
        "settings": server.settings,
    }
    command = (sys.executable, "-W", "ignore", "-m", f"{__package__}.{server.name}_server", json.dumps(order))
    return Recipe(command, dict(os.environ), private=False)
