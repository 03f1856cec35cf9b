"""``ftpstorm probe``: what an FTP server is and offers, with a handful of commands and no load.

One control connection for greeting, FEAT, SYST, login and passive ports, a second for AUTH TLS. Passive ports are asked
for and not connected to, a few times: each may cost the server a listener until the session ends. Caps on sessions are
not tried, since finding one means filling it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, Final, Self

from ftpstorm.conduct.target import Resolver, check_addresses, parse_target_url, resolve
from ftpstorm.errors import EnvironmentUnavailableError, ExitCode, UsageError
from ftpstorm.ftp.commands import encode_command
from ftpstorm.ftp.endpoints import EndpointError, parse_epsv, parse_pasv
from ftpstorm.ftp.replies import ProtocolViolationError, Reply, ReplyParser

ASKS: Final = 5
ASKS_MAX: Final = 50
"""Some servers keep a listener for each PASV until the session ends."""
TIMEOUT_S: Final = 5.0
DEFAULT_PASSWORD: Final = "ftpstorm@"  # noqa: S105 - what anonymous logins are given
PASSWORD_KEY: Final = "FTPSTORM_PASSWORD"  # noqa: S105 - the name of a variable
PRODUCTS: Final[Sequence[tuple[str, str]]] = (
    (r"vsftpd", "vsftpd"),
    (r"proftpd", "ProFTPD"),
    (r"pure-?ftpd", "Pure-FTPd"),
    (r"pyftpdlib", "pyftpdlib"),
    (r"filezilla", "FileZilla Server"),
    (r"microsoft ftp service", "Microsoft IIS"),
    (r"serv-u", "Serv-U"),
    (r"sftpgo", "SFTPGo"),
    (r"wu-\d|wu-ftpd", "wu-ftpd"),
    (r"inetutils|\(gnu inetutils", "inetutils-ftpd"),
    (r"apache ftp|mina", "Apache FtpServer"),
    (r"aioftp", "aioftp"),
    (r"ftpstorm emulator", "ftpstorm's emulator"),
)
"""Patterns that show in greetings and FEAT, and whom they belong to."""


@dataclass(slots=True)
class TlsFound:
    """AUTH TLS and the handshake after it."""

    offered: bool
    reply: str | None = None
    version: str | None = None
    cipher: str | None = None
    trusted: bool | None = None
    """Whether this system's authorities vouch for certificate and name; None where that was not reached."""
    reason: str | None = None


@dataclass(slots=True)
class PassiveFound:
    """What a series of EPSV or PASV was answered with."""

    ports: list[int] = field(default_factory=list)
    """In the order they were offered."""
    address: str | None = None
    """Of a PASV reply where it is not the server's own: behind NAT, clients cannot use it as it is."""
    refusal: str | None = None

    @property
    def distinct(self) -> int:
        """Different ports among them."""
        return len(set(self.ports))

    def describe(self) -> str:
        """Return in words which ports there are and what they let one expect of the range."""
        if not self.ports:
            return self.refusal or "not answered"
        text = f"{len(self.ports)} replies, {self.distinct} different ports, {min(self.ports)} to {max(self.ports)}"
        low, high = estimate_range(self.ports)
        if self.distinct == 1 and len(self.ports) > 1:
            text += "; always the same within a session"
        elif all(later - port == 1 for port, later in pairwise(self.ports)):
            text += "; handed out in turn, so the range goes on"
        elif low is not None and high is not None:
            text += f"; if it draws at random, a range of about {low} to {high}"
        return text + (f"; names the address {self.address}" if self.address else "")


@dataclass(slots=True)
class Found:
    """Everything a probe saw; None for what was not reached."""

    host: str
    port: int
    address: str
    greeting: str | None = None
    product: str | None = None
    system: str | None = None
    features: list[str] | None = None
    login: str | None = None
    epsv: PassiveFound | None = None
    pasv: PassiveFound | None = None
    tls: TlsFound | None = None
    notes: list[str] = field(default_factory=list)


def estimate_range(ports: Sequence[int]) -> tuple[int | None, int | None]:
    """Return first and last port of the range that evenly drawn `ports` suggest, (None, None) for fewer than 3.

    The widths beyond the least and the greatest of n draws are each (greatest - least) / (n - 1) on average: of 10001,
    10005 and 10011 it is 9996 to 10016. A server that hands ports out in turn, or remembers them, is not described.
    """
    drawn = sorted(set(ports))
    if len(drawn) < 3:
        return None, None
    beyond = round((drawn[-1] - drawn[0]) / (len(drawn) - 1))
    return max(1, drawn[0] - beyond), min(65_535, drawn[-1] + beyond)


class Conversation:
    """One control connection, one command at a time, each answered within TIMEOUT_S."""

    def __init__(self, address: str, port: int, timeout_s: float = TIMEOUT_S) -> None:
        """Connect. Raises OSError."""
        self._sock: socket.socket = socket.create_connection((address, port), timeout_s)
        self._parser = ReplyParser()
        self._replies: list[Reply] = []

    def reply(self) -> Reply:
        """Return the next reply. Raises OSError, EOFError at the connection's end, ProtocolViolationError."""
        while not self._replies:
            data = self._sock.recv(4096)
            if not data:
                raise EOFError("the server closed the connection")
            self._replies += self._parser.feed(data)
        return self._replies.pop(0)

    def ask(self, verb: str, argument: str | None = None) -> Reply:
        """Send a command and return its final reply; 1yz before it is passed over."""
        self._sock.sendall(encode_command(verb, argument))
        while (reply := self.reply()).code < 200:
            pass
        return reply

    def start_tls(self, context: ssl.SSLContext, name: str) -> ssl.SSLSocket:
        """Begin TLS. Raises ssl.SSLError or OSError."""
        self._sock = context.wrap_socket(self._sock, server_hostname=name)
        return self._sock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()


def parse_place(text: str) -> tuple[str, int, str | None]:
    """Return host, port and user of ``HOST[:PORT]``, ``[IPV6]:PORT`` or an ftp:// URL. Raises UsageError."""
    if text.count(":") > 1 and not text.startswith(("[", "ftp:")):
        text = f"[{text}]"
    if "/" in text and not text.startswith("ftp:"):
        raise UsageError(f"{text}: no FTP server; write HOST, HOST:PORT or ftp://user@host:port")
    url = parse_target_url(text if text.startswith("ftp:") else f"ftp://{text}/")
    return url.host, url.port, url.user


def probe_server(
    place: str,
    *,
    asks: int = ASKS,
    user: str | None = None,
    allowed: Sequence[str] = (),
    environment: Mapping[str, str] = os.environ,
    resolver: Resolver = resolve,
) -> Found:
    """Look at the server at `place`, asking `asks` times for a passive port in each way.

    The password is FTPSTORM_PASSWORD of `environment`, if set. Raises UsageError for a bad place or number,
    TargetRefusedError for a place outside loopback that is not `allowed`, EnvironmentUnavailableError where nothing
    answers there as an FTP server.
    """
    if not 1 <= asks <= ASKS_MAX:
        raise UsageError(f"--asks {asks}: from 1 to {ASKS_MAX}, since each may cost the server a listener")
    host, port, named = parse_place(place)
    [address, *_] = check_addresses(host, port, allowed, resolver)
    found = Found(host, port, address)
    try:
        with Conversation(address, port) as control:
            _converse(control, found, user or named or "anonymous", environment.get(PASSWORD_KEY), asks)
    except (OSError, EOFError, ProtocolViolationError) as error:
        if found.greeting is None:
            raise EnvironmentUnavailableError(_silence(host, port, error)) from None
        found.notes.append(f"the session ended early: {_words(error)}")
    found.product = product_of(found)
    found.tls = _try_tls(host, address, port)
    return found


def product_of(found: Found) -> str | None:
    """Return the server's name where greeting, SYST or features betray it."""
    text = " ".join([found.greeting or "", found.system or "", *(found.features or ())]).lower()
    return next((name for pattern, name in PRODUCTS if re.search(pattern, text)), None)


def _converse(control: Conversation, found: Found, user: str, password: str | None, asks: int) -> None:
    greeting = control.reply()
    if greeting.code == 120:  # "service ready in nnn minutes" (RFC 959)
        greeting = control.reply()
    found.greeting = greeting.text
    if greeting.code != 220:
        found.notes.append("it refuses sessions now")
        return
    features = control.ask("FEAT")
    if features.code == 211:
        found.features = [line.strip() for line in features.text.splitlines()[1:-1]]
    login = control.ask("USER", user)
    if login.code == 331:
        login = control.ask("PASS", DEFAULT_PASSWORD if password is None else password)
    found.login = login.text.splitlines()[-1]
    system = control.ask("SYST")
    if system.code == 215:
        found.system = system.text
    if login.code not in (230, 232):
        found.notes.append(f"not logged in as {user}: passive ports cannot be asked for (--user, {PASSWORD_KEY})")
    else:
        found.epsv = _ask_passive(control, "EPSV", asks, found.address)
        found.pasv = _ask_passive(control, "PASV", asks, found.address) if ":" not in found.address else None
    with contextlib.suppress(OSError, EOFError, ProtocolViolationError):
        control.ask("QUIT")


def _ask_passive(control: Conversation, verb: str, asks: int, own: str) -> PassiveFound:
    """Ask for passive ports without connecting, until the server has none."""
    passive = PassiveFound()
    parse: Callable[[bytes], tuple[str, int]] = parse_pasv if verb == "PASV" else lambda raw: (own, parse_epsv(raw))
    for _ in range(asks):
        reply = control.ask(verb)
        try:
            if reply.code not in (227, 229):
                raise EndpointError(reply.text)
            address, port = parse(reply.raw)
        except EndpointError as error:
            passive.refusal = str(error)
            break
        passive.ports.append(port)
        if address not in (own, "0.0.0.0"):
            passive.address = address
    return passive


def _try_tls(host: str, address: str, port: int) -> TlsFound:
    """Ask for AUTH TLS on a connection of its own; where the certificate is not trusted, look at TLS without it."""
    found = TlsFound(offered=False)
    for verify in (True, False):
        context = ssl.create_default_context()
        if not verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with Conversation(address, port) as control:
                control.reply()
                reply = control.ask("AUTH", "TLS")
                found.reply, found.offered = reply.text, reply.code == 234
                if not found.offered:
                    return found
                secured = control.start_tls(context, host)
                found.version = secured.version()
                cipher = secured.cipher()
                found.cipher = cipher[0] if cipher else None
                found.trusted = verify
                return found
        except ssl.SSLCertVerificationError as error:
            found.reason = error.verify_message or str(error)
        except (OSError, EOFError, ProtocolViolationError) as error:
            found.reason = _words(error)
            return found
    return found


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT_S:g} s"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _silence(host: str, port: int, error: BaseException) -> str:
    what = f"{host}:{port}: {_words(error)}"
    if isinstance(error, ConnectionRefusedError):
        return f"{what}: nothing listens there; is the port right? (FTP's is 21, ftps' 990)"
    if isinstance(error, ProtocolViolationError):
        return f"{what}: {error.seen[:60]!r} is no FTP greeting"
    if isinstance(error, TimeoutError):
        return f"{what}: it is filtered, or accepts without greeting (a full backlog, implicit TLS on port 990)"
    return what


def print_probe(place: str, *, asks: int, user: str | None, allowed: Sequence[str], as_json: bool) -> int:
    """Probe `place` and print what was found, for people or as JSON; return the exit code."""
    found = probe_server(place, asks=asks, user=user, allowed=allowed)
    if as_json:
        print(json.dumps(asdict(found), indent=2))
    else:
        for line in describe(found):
            print(line)
    return ExitCode.PASS


def describe(found: Found) -> list[str]:
    """Return the lines that a person reads."""
    rows: list[tuple[str, Any]] = [
        ("server", found.product or "not known by its words"),
        ("greeting", found.greeting),
        ("system", found.system or "not said"),
        ("features", "not said" if found.features is None else ", ".join(found.features) or "none"),
        ("login", found.login or "not reached"),
        ("EPSV", found.epsv.describe() if found.epsv else "not asked"),
        ("PASV", found.pasv.describe() if found.pasv else "not asked"),
        ("TLS", _tls_words(found.tls)),
        ("session cap", "not tested: finding one means filling it"),
    ]
    lines = [f"{found.host}:{found.port}" + (f" ({found.address})" if found.address != found.host else "")]
    for name, value in rows:
        first, *more = str(value).splitlines() or [""]
        lines += [f"  {name:<12}{first}", *(f"  {'':<12}{line}" for line in more)]
    return [*lines, *(f"  note: {note}" for note in found.notes)]


def _tls_words(tls: TlsFound | None) -> str:
    if tls is None or not tls.offered:
        return f"not offered ({(tls.reply or tls.reason) if tls else 'not asked'})"
    if tls.version is None:
        return f"AUTH TLS accepted, but the handshake failed: {tls.reason}"
    trust = "certificate trusted" if tls.trusted else f"certificate not trusted ({tls.reason})"
    return f"AUTH TLS, {tls.version}, {tls.cipher}, {trust}"
