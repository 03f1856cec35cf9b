"""The sink for FTPS: `python -m bench.tls_sink --pair FILE -r FIRST-LAST`, explicit TLS (RFC 4217) on asyncio.

It does what the C sink does (in-memory files, EPSV, LIST, RETR, STOR), with Python's ssl, and speaks of itself as that
one does: a line with its port, and at SIGTERM a line with its counts. It is far slower than the C sink and may be: what
is measured of FTPS is the client's CPU, of which only how many events come in one batch depends on the server.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import resource
import signal
import ssl
from collections.abc import Iterator
from typing import Final

import uvloop

from bench.job import HOST

BACKLOG: Final = 65_535
BLOCK: Final = bytes(262_144)
NEVER_PAUSED: Final = 1 << 28
"""Bytes that a data connection may have unread. Reading must not pause: where it does, the loop's TLS loses what it has
not decrypted yet when the client closes, and an upload arrives short."""

LISTING: Final = b"-rw-r--r-- 1 ftp ftp 1024 Jan 01 00:00 f1024\r\n"
ANSWERS: Final = {
    "USER": "331 Password, please.",
    "PASS": "230 Logged in.",
    "TYPE": "200 Type set.",
    "PBSZ": "200 PBSZ=0",
    "PROT": "200 Protection level set.",
    "PWD": '257 "/"',
}

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def size_in(name: str) -> int:
    """Return the size that a file's name begins with after its letters: 1024 of ``f1024``."""
    digits = "".join(letter for letter in name if letter.isdigit())
    return int(digits or 1024)


class TlsSink:
    """The server and what it counted."""

    def __init__(self, context: ssl.SSLContext, passive: range) -> None:
        self._context = context
        self._ports: Iterator[int] = iter(passive)
        self._idle: list[Passive] = []
        self.sessions = self.transfers = self.sent = self.received = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one control connection to its end."""
        self.sessions += 1
        passive: Passive | None = None
        with contextlib.suppress(ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
            writer.write(b"220 Ready.\r\n")
            while line := (await reader.readline()).decode().rstrip("\r\n"):
                verb, _, argument = line.partition(" ")
                if verb == "AUTH":
                    writer.write(b"234 Go on.\r\n")
                    await writer.start_tls(self._context)
                elif verb == "EPSV":
                    passive = passive or await self._borrow()
                    writer.write(f"229 Entering Extended Passive Mode (|||{passive.port}|)\r\n".encode())
                elif verb in ("RETR", "LIST", "STOR") and passive is not None:
                    # Only when a client has read it does it begin the handshake on the data connection.
                    writer.write(b"150 Here it comes.\r\n")
                    await self._move(verb, argument, await passive.connected.get())
                    self.transfers += 1
                    writer.write(b"226 Transfer complete.\r\n")
                elif verb == "QUIT":
                    writer.write(b"221 Goodbye.\r\n")
                    break
                else:
                    writer.write(f"{ANSWERS.get(verb, '502 Not implemented.')}\r\n".encode())
        if passive is not None:
            self._idle.append(passive)
        writer.close()

    async def _borrow(self) -> Passive:
        return self._idle.pop() if self._idle else await Passive.open(next(self._ports), self._context)

    async def _move(self, verb: str, argument: str, data: Streams) -> None:
        reader, writer = data
        if verb == "STOR":
            while block := await reader.read(len(BLOCK)):
                self.received += len(block)
        elif verb == "LIST":
            writer.write(LISTING)
            self.sent += len(LISTING)
        else:
            left = size_in(argument)
            self.sent += left
            while left:
                writer.write(BLOCK[:left])
                left -= min(left, len(BLOCK))
                await writer.drain()
        writer.close()


class Passive:
    """One passive port, of one session at a time; each data connection comes out of `connected` once it has TLS."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connected: asyncio.Queue[Streams] = asyncio.Queue()

    @classmethod
    async def open(cls, port: int, context: ssl.SSLContext) -> Passive:
        """Listen on `port`."""
        passive = cls(port)
        await asyncio.start_server(passive._accept, HOST, port, ssl=context, limit=NEVER_PAUSED)
        return passive

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected.put_nowait((reader, writer))


async def run(context: ssl.SSLContext, passive: range) -> None:
    """Serve until SIGTERM; print the port before and the counts after."""
    sink = TlsSink(context, passive)
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    server = await asyncio.start_server(sink.serve, HOST, 0, backlog=BACKLOG)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await over.wait()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    counts = {name: getattr(sink, name) for name in ("sessions", "transfers", "sent", "received")}
    print(json.dumps(counts | {"cpu_s": usage.ru_utime + usage.ru_stime}), flush=True)


def main() -> None:
    """Read the options and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pair", required=True, help="PEM file of key and certificate")
    parser.add_argument("-r", dest="passive", default="2200-15999", help="passive ports, first-last")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.pair)
    first, _, last = options.passive.partition("-")
    uvloop.run(run(context, range(int(first), int(last) + 1)))


if __name__ == "__main__":
    main()
