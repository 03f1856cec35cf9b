"""proftpd: its configuration with one user in a file of its own, whom it knows by a password."""

from __future__ import annotations

from ftpstorm.lab.servers.programs import Program
from ftpstorm.lab.servers.recipe import FTP_GROUP, FTP_USER, PASSWORD_HASH, USER, Place, Recipe
from ftpstorm.scenario.target import Server


def write(server: Server, program: Program, place: Place) -> Recipe:
    """Write proftpd.conf and its users; return how to start proftpd.

    ``anonymous`` is an ordinary user here: `<Anonymous>` would need more uids than a plain user's namespace has.
    """
    seen = place.seen
    ids = f"{place.identity.ftp}:{place.identity.ftp}"
    users = place.folder / "users"
    users.write_text(f"{USER}:{PASSWORD_HASH}:{ids}::{seen / 'files'}:/bin/sh\n", encoding="ascii")
    users.chmod(0o600)
    lines = [
        *([f"ModulePath {program.tree / 'usr/lib/proftpd'}"] if program.tree is not None else []),
        "ServerType standalone",
        "DefaultServer on",
        f"Port {place.port}",
        f"UseIPv6 {'on' if place.ipv6 else 'off'}",
        f"DefaultAddress {place.addresses[0]}",  # else it looks its host's name up
        f"SocketBindTight {'on' if place.address is not None else 'off'}",
        f"User {FTP_USER}",
        f"Group {FTP_GROUP}",
        f"PidFile {seen / 'run/proftpd.pid'}",
        f"ScoreboardFile {seen / 'run/proftpd.scoreboard'}",
        f"SystemLog {seen / 'proftpd.log'}",
        "TransferLog none",
        "WtmpLog off",
        "DelayEngine off",
        "UseReverseDNS off",
        "AuthOrder mod_auth_file.c",
        f"AuthUserFile {seen / 'users'}",
        "RequireValidShell off",
        *(["RootLogin on"] if place.identity.ftp == 0 else []),
        f"DefaultRoot {seen / 'files'}",
        "AllowOverwrite on",
        "AllowStoreRestart on",
        "AllowRetrieveRestart on",
    ]
    if server.passive_range is not None:
        lines.append("PassivePorts {} {}".format(*server.passive_range))
    if server.max_clients is not None:
        lines.append(f"MaxClients {server.max_clients}")
    if server.max_instances is not None:
        lines.append(f"MaxInstances {server.max_instances}")
    if server.backlog is not None:
        lines.append(f"tcpBackLog {server.backlog}")
    if place.certificate is not None:
        lines += [
            "LoadModule mod_tls.c",
            "TLSEngine on",
            f"TLSLog {seen / 'proftpd-tls.log'}",
            f"TLSRSACertificateFile {place.certificate}",
            f"TLSRSACertificateKeyFile {place.certificate}",
            "TLSVerifyClient off",
            "TLSRequired on",
        ]
    lines += [f"{key} {value}" for key, value in server.settings.items()]
    (place.folder / "proftpd.conf").write_text("\n".join([*lines, ""]), encoding="utf-8")
    command = (str(program.path), "-n", "-q", "-c", str(seen / "proftpd.conf"))
    return Recipe(command, program.environment(), logs=("proftpd.log", "proftpd-tls.log"))
