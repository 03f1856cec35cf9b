"""The server's side of FTPS for a scripted server: TLS as a codec, so that a test chooses every byte on the wire."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable

from support.scripted_server import Peer

READ_BYTES = 65_536

Read = Callable[[], Awaitable[bytes]]
Write = Callable[[bytes], Awaitable[None]]


class CutError(Exception):
    """The client's FIN came without close_notify."""


class TlsChannel:
    """One TLS connection, server side, on whatever reads and writes bytes."""

    def __init__(self, context: ssl.SSLContext, read: Read, write: Write) -> None:
        self._read = read
        self.write = write
        """Send bytes as they are, past TLS."""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def shake_hands(self, before_last: Callable[[], Awaitable[None]] | None = None) -> None:
        """Do the handshake. Raises ssl.SSLError for what the client's alert says, CutError at its FIN.

        `before_last` is awaited when this side has said all but what answers the client's last words.
        """
        while True:
            try:
                self.object.do_handshake()
            except ssl.SSLWantReadError:
                said = self._outgoing.pending > 0
                await self._flush()
                if said and before_last is not None:
                    await before_last()
                await self._feed()
            else:
                await self._flush()
                return

    async def send(self, plain: bytes, *, piece: int = 1 << 30) -> None:
        """Send `plain` encrypted, the ciphertext in pieces."""
        self.object.write(plain)
        ciphertext = self._outgoing.read()
        for at in range(0, len(ciphertext), piece):
            await self.write(ciphertext[at : at + piece])

    async def receive(self) -> bytes:
        """Return what came next, b"" at close_notify. Raises CutError at a FIN without it."""
        while True:
            try:
                return self.object.read(READ_BYTES)
            except ssl.SSLWantReadError:
                await self._feed()
            except ssl.SSLZeroReturnError:
                return b""

    async def close_notify(self) -> None:
        """End what this side says."""
        try:
            self.object.unwrap()
        except ssl.SSLWantReadError:
            await self._flush()
        else:
            await self._flush()

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self.write(self._outgoing.read())

    async def _feed(self) -> None:
        data = await self._read()
        if not data:
            raise CutError
        self._incoming.write(data)


class TlsPeer:
    """A scripted server's control connection that goes under TLS, and its data connections."""

    def __init__(self, peer: Peer, context: ssl.SSLContext) -> None:
        self.peer = peer
        self.context = context
        self.channel = TlsChannel(context, self._read, self._write)
        self._buffer = b""

    async def _read(self) -> bytes:
        return await self.peer.reader.read(READ_BYTES)

    async def _write(self, data: bytes) -> None:
        self.peer.writer.write(data)
        await self.peer.writer.drain()

    async def explicit(self, prot: str = "P") -> None:
        """Greet, take AUTH TLS and the handshake, then PBSZ and PROT."""
        await self.peer.send("220 ready")
        assert await self.peer.expect("AUTH") == "AUTH TLS"
        await self.peer.send("234 go on")
        await self.channel.shake_hands()
        await self.protection(prot)

    async def protection(self, prot: str = "P") -> None:
        """Take PBSZ 0 and PROT."""
        assert await self.command() == "PBSZ 0"
        await self.send("200 PBSZ=0")
        assert await self.command() == f"PROT {prot}"
        await self.send("200 protection")

    async def login(self) -> None:
        """Take USER, PASS and TYPE."""
        for verb, answer in (("USER", "331 password"), ("PASS", "230 in"), ("TYPE", "200 binary")):
            await self.expect(verb)
            await self.send(answer)

    async def send(self, *lines: str, piece: int = 1 << 30) -> None:
        """Send reply lines."""
        for line in lines:
            await self.channel.send(line.encode() + b"\r\n", piece=piece)

    async def command(self) -> str:
        """Return the next command line, "" at the end."""
        while b"\r\n" not in self._buffer:
            try:
                data = await self.channel.receive()
            except CutError:
                return ""
            if not data:
                return ""
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line.decode()

    async def expect(self, verb: str) -> str:
        """Return the next command line, which must begin with `verb`."""
        line = await self.command()
        assert line.split(" ")[0] == verb, f"expected {verb}, got {line!r}"
        return line

    async def passive(self) -> None:
        """Answer one EPSV with a port that listens."""
        await self.expect("EPSV")
        await self.send(f"229 ok (|||{self.peer.listen()}|)")

    async def quit(self) -> None:
        """Take QUIT, answer and end TLS."""
        await self.expect("QUIT")
        await self.send("221 bye")
        await self.channel.close_notify()

    def data(self, connection: socket.socket) -> TlsChannel:
        """Return the TLS side of an accepted data connection."""
        loop = asyncio.get_running_loop()

        async def read() -> bytes:
            return await loop.sock_recv(connection, READ_BYTES)

        async def write(data: bytes) -> None:
            await loop.sock_sendall(connection, data)

        return TlsChannel(self.context, read, write)
