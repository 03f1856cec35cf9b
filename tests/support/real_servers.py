"""Real FTP servers on loopback for a test: unpacked by scripts/fetch-servers, in the foreground, with their own files.

Each context manager writes a configuration, starts the server, waits until it greets, yields its `RealServer`, and ends
it by its process id. Nothing of the system is used but its list of users.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import trustme

ROOT = Path(__file__).resolve().parents[2]
GREETS_WITHIN_S = 30.0
ENDS_WITHIN_S = 10.0

USER = "storm"
PASSWORD = "secret"
PASSWORD_HASH = "$6$ftpstorm$qIQ3nXgmiiIR9v.CP2TdaTm63o3BtuFZqwoL//aDjug4DcREx5fFTDLbxrBZzfNg4O8NOuVNHVOel2hZKdPKe1"
"""crypt(3) of PASSWORD."""


def servers_folder() -> Path:
    """Return where scripts/fetch-servers unpacks."""
    return Path(os.environ.get("FTPSTORM_SERVERS") or ROOT / ".cache" / "servers")


def is_fetched(name: str) -> bool:
    """Tell whether server `name` is there."""
    return (servers_folder() / name / ".packages").is_file()


@dataclass(frozen=True)
class RealServer:
    """A server that greets."""

    port: int
    pid: int
    files: Path
    """What clients see as their root; `small.bin` (1 KiB) and `large.bin` (3 MiB) lie in it, `in/` takes uploads."""
    log: Path


@dataclass(frozen=True)
class Certificates:
    """An authority made for the test and a certificate of 127.0.0.1 and localhost."""

    ca_file: str
    chain_file: str
    key_file: str

    def server_context(self, maximum: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED) -> ssl.SSLContext:
        """Return the context of a server that has this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.maximum_version = maximum
        context.load_cert_chain(self.chain_file, self.key_file)
        return context


def make_certificates(folder: Path, *names: str) -> Certificates:
    """Write an authority and a certificate for `names` (127.0.0.1 and localhost) into `folder`."""
    authority = trustme.CA(key_type=trustme.KeyType.RSA)
    certificate = authority.issue_cert(*(names or ("127.0.0.1", "localhost")), key_type=trustme.KeyType.RSA)
    made = Certificates(str(folder / "ca.pem"), str(folder / "chain.pem"), str(folder / "key.pem"))
    authority.cert_pem.write_to_path(made.ca_file)
    for number, blob in enumerate(certificate.cert_chain_pems):
        blob.write_to_path(made.chain_file, append=number > 0)
    certificate.private_key_pem.write_to_path(made.key_file)
    Path(made.key_file).chmod(0o600)
    return made


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listened on a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def listening(port: int) -> Iterator[None]:
    """Keep `port` of every address taken."""
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", port))
        taken.listen()
        yield


def environment_of(name: str) -> dict[str, str]:
    """Return the environment in which the unpacked server finds its libraries."""
    libraries = (servers_folder() / name / ".library-path").read_text(encoding="utf-8").strip()
    return {**os.environ, "LD_LIBRARY_PATH": libraries, "LC_ALL": "C"}


def binary_of(name: str) -> str:
    """Return the path of the unpacked server's program."""
    return (servers_folder() / name / ".binary").read_text(encoding="utf-8").strip()


def _someone() -> pwd.struct_passwd:
    """Return whom a server becomes: us, or for root a system user whose home anybody can enter (vsftpd enters it)."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    for user in pwd.getpwall():
        home = Path(user.pw_dir)
        if user.pw_uid != 0 and home.is_dir() and home.stat().st_mode & 0o005 == 0o005:
            return user
    raise RuntimeError("no system user has a home that anybody can enter")


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """Give a folder that an unprivileged user can enter, unlike pytest's own: servers drop root's rights."""
    with tempfile.TemporaryDirectory(prefix="ftpstorm-server-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        files = folder / "files"
        files.mkdir()
        (files / "small.bin").write_bytes(bytes(1024))
        (files / "large.bin").write_bytes(os.urandom(3 << 20))
        (files / "in").mkdir()
        if os.geteuid() == 0:
            someone = _someone()
            os.chown(files / "in", someone.pw_uid, someone.pw_gid)
        yield folder


@contextlib.contextmanager
def _running(
    command: list[str], port: int, folder: Path, environment: Mapping[str, str] | None = None, *, tls: bool = False
) -> Iterator[RealServer]:
    log = folder / "server.log"
    with log.open("w+b") as output:
        # vsftpd says what went wrong to descriptor 0, where a client would be
        process = subprocess.Popen(command, stdin=output, stdout=output, stderr=output, env=environment)
        try:
            _await_greeting(process, port, log, tls=tls)
            yield RealServer(port, process.pid, folder / "files", log)
        finally:
            process.terminate()
            try:
                process.wait(ENDS_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await_greeting(process: subprocess.Popen[bytes], port: int, log: Path, *, tls: bool) -> None:
    deadline = time.monotonic() + GREETS_WITHIN_S
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}: {log.read_text(errors='replace')[-2000:]}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as probe:
            if tls or probe.recv(3) == b"220":
                return
        if time.monotonic() > deadline:
            raise RuntimeError(f"no greeting within {GREETS_WITHIN_S} s: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.02)


@contextlib.contextmanager
def vsftpd(
    certificates: Certificates | None = None, *, reuse: bool = True, passive: str = "21000-21999", **settings: str
) -> Iterator[RealServer]:
    """Run vsftpd for anonymous users; with `certificates` TLS is demanded on control and data.

    `reuse`: require_ssl_reuse. `settings` are further lines of vsftpd.conf.
    """
    with _folder() as folder:
        port = free_port()
        first, last = passive.split("-")
        lines = {
            "listen": "YES",
            "listen_address": "127.0.0.1",
            "listen_port": str(port),
            "background": "NO",
            "anonymous_enable": "YES",
            "no_anon_password": "NO",
            "anon_root": str(folder / "files"),
            "ftp_username": _someone().pw_name,
            "run_as_launching_user": "NO" if os.geteuid() == 0 else "YES",
            "nopriv_user": "nobody",
            "secure_chroot_dir": str(folder / "empty"),
            "write_enable": "YES",
            "anon_upload_enable": "YES",
            "anon_umask": "022",
            "pasv_min_port": first,
            "pasv_max_port": last,
            "seccomp_sandbox": "NO",
            "max_clients": "0",
            "xferlog_enable": "NO",
        }
        (folder / "empty").mkdir()
        if certificates is not None:
            lines |= {
                "ssl_enable": "YES",
                "allow_anon_ssl": "YES",
                "force_anon_logins_ssl": "YES",
                "force_anon_data_ssl": "YES",
                "require_ssl_reuse": "YES" if reuse else "NO",
                "ssl_ciphers": "HIGH",
                "rsa_cert_file": certificates.chain_file,
                "rsa_private_key_file": certificates.key_file,
            }
        lines |= settings
        configuration = folder / "vsftpd.conf"
        configuration.write_text("".join(f"{key}={value}\n" for key, value in lines.items()), encoding="utf-8")
        implicit = lines.get("implicit_ssl") == "YES"
        command = [binary_of("vsftpd"), str(configuration)]
        with _running(command, port, folder, environment_of("vsftpd"), tls=implicit) as server:
            yield server


@contextlib.contextmanager
def proftpd(
    certificates: Certificates | None = None, *, options: str = "", passive: str = "22000-22999", more: str = ""
) -> Iterator[RealServer]:
    """Run proftpd for USER; with `certificates` TLS is demanded on control and data, session reuse included.

    `options` are TLSOptions such as ``NoSessionReuseRequired``, `more` further lines of the configuration.
    """
    with _folder() as folder:
        port = free_port()
        first, last = passive.split("-")
        someone = _someone()
        users = folder / "users"
        users.write_text(
            f"{USER}:{PASSWORD_HASH}:{someone.pw_uid}:{someone.pw_gid}::{folder / 'files'}:/bin/sh\n", encoding="utf-8"
        )
        users.chmod(0o600)
        os.chown(users, someone.pw_uid, someone.pw_gid)
        lines = f"""
            ModulePath {servers_folder() / "proftpd/usr/lib/proftpd"}
            ServerType standalone
            DefaultServer on
            Port {port}
            DefaultAddress 127.0.0.1
            UseIPv6 off
            User {someone.pw_name}
            Group {grp.getgrgid(someone.pw_gid).gr_name}
            PidFile {folder / "pid"}
            ScoreboardFile {folder / "scoreboard"}
            DelayEngine off
            UseReverseDNS off
            WtmpLog off
            TransferLog none
            SystemLog {folder / "proftpd.log"}
            AuthOrder mod_auth_file.c
            AuthUserFile {users}
            RequireValidShell off
            AllowOverwrite on
            PassivePorts {first} {last}
            MaxInstances 400
            {more}
        """
        if certificates is not None:
            lines += f"""
                LoadModule mod_tls.c
                TLSEngine on
                TLSLog {folder / "tls.log"}
                TLSRSACertificateFile {certificates.chain_file}
                TLSRSACertificateKeyFile {certificates.key_file}
                TLSVerifyClient off
                TLSRequired on
                {f"TLSOptions {options}" if options else ""}
            """
        configuration = folder / "proftpd.conf"
        configuration.write_text("\n".join(line.strip() for line in lines.splitlines()), encoding="utf-8")
        command = [binary_of("proftpd"), "-n", "-q", "-c", str(configuration)]
        implicit = "UseImplicitSSL" in options
        with _running(command, port, folder, environment_of("proftpd"), tls=implicit) as server:
            yield server


@contextlib.contextmanager
def pyftpdlib(certificates: Certificates | None = None, *, passive: str = "23000-23999") -> Iterator[RealServer]:
    """Run pyftpdlib for USER; with `certificates` TLS is demanded on control and data."""
    with _folder() as folder:
        port = free_port()
        script = Path(__file__).with_name("pyftpdlib_server.py")
        command = [sys.executable, "-W", "ignore", str(script), str(port), passive, str(folder / "files")]
        if certificates is not None:
            command += [certificates.chain_file, certificates.key_file]
        with _running(command, port, folder) as server:
            yield server
