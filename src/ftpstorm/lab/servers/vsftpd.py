"""vsftpd: its configuration for the anonymous user of a lab (vsftpd.conf(5))."""

from __future__ import annotations

from ftpstorm.lab.servers.programs import Program
from ftpstorm.lab.servers.recipe import FTP_USER, NOBODY, Place, Recipe
from ftpstorm.scenario.target import Server


def write(server: Server, program: Program, place: Place) -> Recipe:
    """Write vsftpd.conf and return how to start vsftpd.

    Where one uid is all there is, sessions run as whoever started it: it could not call setgroups(2) else, and would
    answer ``500 OOPS``.
    """
    alone = place.identity.single
    lines = {
        "listen_ipv6" if place.ipv6 else "listen": "YES",
        "listen_port": str(place.port),
        "background": "NO",
        "anonymous_enable": "YES",
        "anon_root": str(place.seen / "files"),
        "ftp_username": FTP_USER,
        "nopriv_user": NOBODY,
        "secure_chroot_dir": str(place.seen / "empty"),
        "run_as_launching_user": "YES" if alone else "NO",
        "write_enable": "YES",
        "anon_upload_enable": "YES",
        "anon_mkdir_write_enable": "YES",
        "anon_other_write_enable": "YES",
        "anon_world_readable_only": "NO",
        "anon_umask": "022",
        "seccomp_sandbox": "NO",  # kills sessions over system calls that newer C libraries make
        "max_clients": str(server.max_clients or 0),
        "max_per_ip": "0",
        "xferlog_enable": "NO",
    }
    if place.address is not None:
        lines["listen_address6" if place.ipv6 else "listen_address"] = place.address
    if server.passive_range is not None:
        lines["pasv_min_port"], lines["pasv_max_port"] = map(str, server.passive_range)
    if place.certificate is not None:
        lines |= {
            "ssl_enable": "YES",
            "allow_anon_ssl": "YES",
            "force_anon_logins_ssl": "YES",
            "force_anon_data_ssl": "YES",
            "require_ssl_reuse": "YES",
            "ssl_ciphers": "HIGH",
            "rsa_cert_file": place.certificate,
        }
    lines |= server.settings
    configuration = "vsftpd.conf"
    text = "".join(f"{key}={value}\n" for key, value in lines.items())
    (place.folder / configuration).write_text(text, encoding="utf-8")
    return Recipe((str(program.path), str(place.seen / configuration)), program.environment())
