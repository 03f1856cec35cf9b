"""TLS as a codec (sans-IO): ciphertext in, plain text out, and back. Sockets belong to control.py and secure.py.

One context serves all connections of a worker: to make one reads the authorities of the system, about 17 ms. A failure
of TLS is no exception here: it is noted in `failure`, and the owner of the connection ends it.
"""

from __future__ import annotations

import contextlib
import re
import ssl
from dataclasses import dataclass
from typing import Final

from ftpstorm.ftp.replies import LINE_MAX_BYTES, ProtocolViolationError, Reply, ReplyParser
from ftpstorm.scenario.target import Target

RECORD_BYTES: Final = 16_384
"""Most plain text in one TLS record (RFC 8446 section 5.1)."""

PLAIN_BUFFER: Final = memoryview(bytearray(RECORD_BYTES))
"""Where plain text is decrypted to; downloads are counted and discarded, so one serves every connection."""

_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

_PLAIN_REPLY: Final = re.compile(rb"[1-6][0-9]{2}[ -][\t\r\n\x20-\x7e]*\Z")
"""The end of a byte stream when it is an FTP reply that nobody encrypted."""


@dataclass(frozen=True, slots=True)
class Tls:
    """How the connections of a worker use TLS."""

    context: ssl.SSLContext
    server_name: str
    implicit: bool
    """TLS begins before the greeting."""
    protect: bool
    """Data connections use it too (PROT P)."""
    reuse: bool
    """Data connections resume the control connection's session."""

    def open(self) -> TlsStream:
        """Return the stream of a control connection."""
        return TlsStream(self.context, self.server_name, None)

    def open_data(self, control: TlsStream) -> TlsStream:
        """Return the stream of a data connection.

        The session is read anew for each: on TLS 1.3 the tickets come after the handshake, and what the session holds
        before them is refused.
        """
        return TlsStream(self.context, self.server_name, control.session if self.reuse else None)


def make_tls(target: Target) -> Tls | None:
    """Return how connections to `target` use TLS, None where they do not.

    Raises OSError (ssl.SSLError is one) where `ca_file` cannot be read or holds no certificate, ValueError where the
    server's name can be no host name.
    """
    tls = target.tls
    if tls.mode == "none":
        return None
    context = ssl.create_default_context(cafile=tls.ca_file)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.min_version is not None:
        context.minimum_version = _VERSIONS[tls.min_version]
    if tls.max_version is not None:
        context.maximum_version = _VERSIONS[tls.max_version]
    name = tls.server_name or target.host or ""
    made = Tls(context, name, tls.mode == "implicit", tls.prot == "P", tls.session_reuse)
    made.open()  # the library checks the name only here
    return made


class TlsStream:
    """The client's side of one TLS connection."""

    __slots__ = (
        "_incoming",
        "_object",
        "_outgoing",
        "_understood",
        "_undigested",
        "closed",
        "established",
        "failure",
        "fin_seen",
        "plain_reply",
    )

    def __init__(self, context: ssl.SSLContext, server_name: str, session: ssl.SSLSession | None) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name, session=session)
        self._undigested = b""
        """What came since the last time that something was understood: to tell what it was if nothing will be."""
        self._understood = True
        self.established = False
        self.closed = False
        """The peer has said close_notify: what came before it is all there is (RFC 8446 section 6.1)."""
        self.fin_seen = False
        """The peer's FIN has come; set by who owns the socket."""
        self.failure: str | None = None
        """Why nothing more can be understood or said."""
        self.plain_reply: Reply | None = None
        """The FTP reply in plain text that came where TLS should have been."""

    @property
    def session(self) -> ssl.SSLSession | None:
        """The session as it is now, for another connection to resume."""
        return self._object.session

    @property
    def resumed(self) -> bool:
        """Whether the server resumed the session it was given; meaningful once established."""
        return bool(self._object.session_reused)

    @property
    def version(self) -> str | None:
        """Such as ``TLSv1.3``; None before the handshake."""
        return self._object.version()

    def begin(self) -> None:
        """Begin the handshake: `outgoing` then has the first flight."""
        self._shake_hands()

    def outgoing(self) -> bytes:
        """Return the ciphertext to send, b"" for none; it is forgotten here."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def receive(self, ciphertext: bytes) -> bytes:
        """Take ciphertext; return the plain text that it completes."""
        if not self.feed(ciphertext):
            return b""
        parts = []
        while size := self.read_into(PLAIN_BUFFER):
            parts.append(bytes(PLAIN_BUFFER[:size]))
        return b"".join(parts)

    def feed(self, ciphertext: bytes | memoryview) -> bool:
        """Take ciphertext, go on with the handshake if it is not done; tell whether plain text can be read."""
        tail = bytes(ciphertext[-LINE_MAX_BYTES:])
        self._undigested = tail if self._understood else (self._undigested + tail)[-LINE_MAX_BYTES:]
        self._understood = False
        if self.failure is not None:
            self._look_for_reply()
            return False
        self._incoming.write(ciphertext)
        return self.established or self._shake_hands()

    @property
    def unfinished(self) -> bool:
        """Whether it has failed over a reply in plain text of which more may come."""
        return self.plain_reply is not None and not self._undigested.endswith(b"\n")

    def feed_end(self) -> None:
        """Take the peer's FIN: an end that no close_notify announced before the handshake was done is a failure."""
        if not self.established and self.failure is None:
            self.failure = "the server closed during the TLS handshake"

    def read_into(self, buffer: memoryview) -> int:
        """Decrypt at most one record into `buffer`; return its bytes, 0 when there is none (yet)."""
        if self.failure is not None or self.closed:
            return 0
        try:
            size = int(self._object.read(len(buffer), buffer))
        except ssl.SSLWantReadError:
            return 0
        except ssl.SSLZeroReturnError:
            size = 0
        except ssl.SSLError as error:
            self._fail(error)
            return 0
        self._understood = True
        self.closed = not size
        return size

    def encrypt(self, plain: bytes | memoryview) -> bytes:
        """Return the ciphertext that says `plain`, with what else was to be sent; b"" after a failure."""
        if self.failure is None:
            try:
                self._object.write(plain)
            except ssl.SSLError as error:
                self._fail(error)
                return b""
            return self._outgoing.read()
        return b""

    def close_notify(self) -> bytes:
        """Return the ciphertext that ends what this side says; b"" where there was nothing to end."""
        if self.established and self.failure is None:
            with contextlib.suppress(ssl.SSLError):  # it wants the peer's close_notify as well, which may come or not
                self._object.unwrap()
        return self.outgoing()

    def _shake_hands(self) -> bool:
        if self.failure is not None:
            return False
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            self._fail(error)
            return False
        self.established = self._understood = True
        return True

    def _fail(self, error: ssl.SSLError) -> None:
        self.failure = _words(error)
        self._look_for_reply()

    def _look_for_reply(self) -> None:
        found = _PLAIN_REPLY.search(self._undigested)
        if found is not None:
            try:
                replies = ReplyParser().feed(found[0] if found[0].endswith(b"\n") else found[0] + b"\r\n")
            except ProtocolViolationError:
                return
            self.plain_reply = replies[0] if replies else None


def _words(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}"
    reason = getattr(error, "reason", None)
    return str(reason).lower().replace("_", " ") if reason else str(error)
