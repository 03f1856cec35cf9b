"""pure-ftpd: it has no configuration file, only options (pure-ftpd(8))."""

from __future__ import annotations

from ftpstorm.lab.servers.programs import Program
from ftpstorm.lab.servers.recipe import Place, Recipe, refuse
from ftpstorm.scenario.target import Server


def write(server: Server, program: Program, place: Place) -> Recipe:
    """Return how to start pure-ftpd for anonymous users. Raises EnvironmentUnavailableError without several uids."""
    if place.identity.single:
        raise refuse("pure-ftpd", "it gives up root for another user, and this user namespace has one uid only")
    command = [str(program.path), "-6" if place.ipv6 else "-4", "--dontresolve", "--anonymousonly"]
    command += ["--bind", f"{place.address or ''},{place.port}", "--pidfile", str(place.seen / "run/pure-ftpd.pid")]
    # an anonymous user of pure-ftpd never overwrites: without the first a second upload of a name is refused
    command += ["--autorename", "--anonymouscancreatedirs", "--syslogfacility", "none"]
    if server.passive_range is not None:
        command += ["--passiveportrange", "{}:{}".format(*server.passive_range)]
    if server.max_clients is not None:
        command += ["--maxclientsnumber", str(server.max_clients)]
    if place.certificate is not None:
        command += ["--tls", "2", "--certfile", place.certificate]
    for key, value in server.settings.items():
        command += [f"--{key}={value}" if value else f"--{key}"]
    return Recipe(tuple(command), program.environment())
