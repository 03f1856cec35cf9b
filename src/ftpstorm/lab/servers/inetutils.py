"""GNU inetutils' ftpd: its port comes from /etc/services, its passive ports from the kernel's ephemeral range."""

from __future__ import annotations

from ftpstorm.lab.servers.programs import Program
from ftpstorm.lab.servers.recipe import Place, Recipe
from ftpstorm.scenario.target import Server


def write(server: Server, program: Program, place: Place) -> Recipe:
    """Return how to start ftpd. It listens on every address; where one uid is all there is, its `ftp` user has that."""
    command = [str(program.path), "--daemon", "--ipv6" if place.ipv6 else "--ipv4", "--anonymous-only"]
    command += [f"--pidfile={place.seen / 'run/ftpd.pid'}"]
    for key, value in server.settings.items():
        command += [f"--{key}={value}" if value else f"--{key}"]
    return Recipe(tuple(command), program.environment())
