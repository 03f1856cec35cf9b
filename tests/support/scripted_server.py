"""An FTP server whose every byte is chosen by a test: for peers that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

Script = Callable[["Peer"], Awaitable[None]]


class Peer:
    """The server's side of one control connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.commands: list[str] = []
        self._listener: socket.socket | None = None

    async def send(self, *lines: bytes | str) -> None:
        for line in lines:
            self.writer.write(line if isinstance(line, bytes) else line.encode() + b"\r\n")
        await self.writer.drain()

    async def command(self) -> str:
        """Return the next command line, "" at EOF."""
        line = (await self.reader.readline()).decode().rstrip("\r\n")
        self.commands.append(line)
        return line

    async def expect(self, verb: str) -> str:
        line = await self.command()
        assert line.split(" ")[0] == verb, f"expected {verb}, got {line!r}"
        return line

    async def login(self) -> None:
        await self.send("220 ready")
        await self.expect("USER")
        await self.send("331 password")
        await self.expect("PASS")
        await self.send("230 in")
        await self.expect("TYPE")
        await self.send("200 binary")

    def listen(self) -> int:
        """Open a passive port of this connection, closing an earlier one; return it."""
        if self._listener is not None:
            self._listener.close()
        host = self.writer.get_extra_info("sockname")[0]
        self._listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._listener.setblocking(False)
        return int(self._listener.getsockname()[1])

    async def passive(self) -> None:
        """Answer one EPSV with a port that listens."""
        await self.expect("EPSV")
        await self.send(f"229 ok (|||{self.listen()}|)")

    async def accept(self) -> socket.socket:
        """Accept the data connection."""
        assert self._listener is not None
        connection, _ = await asyncio.get_running_loop().sock_accept(self._listener)
        self._listener.close()
        connection.setblocking(False)
        return connection

    async def connect_back(self, line: str) -> socket.socket:
        """Make the data connection that a PORT or EPRT line asks for."""
        verb, argument = line.split(" ")
        if verb == "PORT":
            numbers = argument.split(",")
            host, port = ".".join(numbers[:4]), int(numbers[4]) << 8 | int(numbers[5])
        else:
            _, _, host, text, _ = argument.split("|")
            port = int(text)
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (host, port))
        return sock

    async def quit(self) -> None:
        await self.expect("QUIT")
        await self.send("221 bye")

    def reset(self) -> None:
        """Close control with RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.close()


def reset(connection: socket.socket) -> None:
    """Close a data connection with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@contextlib.asynccontextmanager
async def scripted_server(script: Script, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """Serve `script` on a port of `host`; yields the port. A failing script fails the test."""
    errors: list[BaseException] = []
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await script(peer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        except BaseException as error:
            errors.append(error)
        finally:
            if peer._listener is not None:
                peer._listener.close()
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            tasks.discard(task)

    server = await asyncio.start_server(serve, host, 0, backlog=4096)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
    if errors:
        raise errors[0]
