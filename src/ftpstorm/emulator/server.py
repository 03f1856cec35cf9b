"""The server: aioftp's, with a passive pool of its own, faults on demand, and one task for each control connection.

Inherited from aioftp are users, paths, listing formats and commands that touch no data connection (CWD, CDUP, PWD,
MLST, SYST, USER). Replaced are its dispatcher, which spends three tasks on each command, and everything
around data connections, which aioftp gives one port for each control connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import aioftp
from aioftp.common import Connection, ThrottleStreamIO

from ftpstorm.clock import Clock, monotonic_ns
from ftpstorm.emulator.admission import AcceptLoop, Pace
from ftpstorm.emulator.backend import BackEnd
from ftpstorm.emulator.counts import Counts
from ftpstorm.emulator.datacommands import DataCommands
from ftpstorm.emulator.dataport import DATA_WAIT_NS, DataPorts
from ftpstorm.emulator.files import Catalogue, CataloguePathIO
from ftpstorm.emulator.listeners import accept_queue, read_ephemeral_range
from ftpstorm.emulator.pool import PassivePool
from ftpstorm.emulator.session import Session
from ftpstorm.scenario.target import ConnectionCap, Emulator
from ftpstorm.units import NS_PER_S

LINE_BYTES: Final = 8192
"""Longest command line; a longer one ends the session."""
OFFSET_DIGITS: Final = 18
"""Most digits of an offset that REST takes: below 2^63, as a file's size."""

EXPIRE_EVERY_S: Final = 0.25
"""How often passive ports are looked through for those that nobody connected to in time."""

FEATURES: Final = ("EPSV", "MLST type*;size*;modify*;create*;", "PASV", "REST STREAM", "SIZE", "UTF8")

_INHERITED: Final = frozenset({"cdup", "cwd", "mlst", "pwd", "syst", "user"})
_WITHOUT_LOGIN: Final = frozenset({"user", "pass", "quit", "feat", "syst", "noop", "opts"})
_TELNET: Final = bytes(range(240, 256))  # IAC, IP, DM ... that clients send ahead of ABOR (RFC 959, 4.1.3)
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close(2) sends RST
_logger = logging.getLogger(__name__)


class OpenUsers(aioftp.AbstractUserManager):
    """Lets everybody in: any user name is asked for a password, and any password will do."""

    def __init__(self) -> None:
        super().__init__()
        self._everybody = aioftp.User(base_path=Path("/"))

    async def get_user(self, login: str) -> tuple[Any, aioftp.User | None, str]:
        """Ask for a password, whoever it is."""
        return aioftp.AbstractUserManager.GetUserResponse.PASSWORD_REQUIRED, self._everybody, "Any password will do."

    async def authenticate(self, user: aioftp.User, password: str) -> bool:
        """Accept."""
        return True


class EmulatorServer(aioftp.Server):
    """The embedded FTP server. Serves between `start` and `close`, on one event loop; `counts` and `pool` can be read
    at any time."""

    def __init__(
        self,
        emulator: Emulator,
        catalogue: Catalogue,
        listener: socket.socket,
        passive_ports: Sequence[int],
        *,
        clock: Clock = monotonic_ns,
        data_wait_ns: int = DATA_WAIT_NS,
    ) -> None:
        """Take the faults to show, the files to offer, and a listening socket, which the server closes.

        `passive_ports` are the ports of the pool; `data_wait_ns` is how long one waits for its data connection.
        """
        super().__init__(OpenUsers(), welcome_message="ftpstorm emulator ready.")
        self.counts: Final = Counts()
        self.pool: Final = PassivePool(passive_ports, hold_ns=emulator.hold.for_, rule=emulator.hold.after)
        self._emulator = emulator
        self._delay_s = emulator.delay / NS_PER_S
        self._catalogue = catalogue
        self.clock: Final = clock
        """The clock that the pool is told the time from."""
        self._data_wait_ns = data_wait_ns
        self._listener = listener
        self._path_io = CataloguePathIO(catalogue)
        self._control: set[socket.socket] = set()
        self._sessions: set[asyncio.Task[None]] = set()
        self._inherited: dict[str, Callable[[Connection, str], Awaitable[bool]]] = {
            name: handler for name, handler in self.commands_mapping.items() if name in _INHERITED
        }
        self._commands: dict[str, Callable[[Session, str], bool]] = {
            "abor": partial(self._answer, "226", "Nothing to abort."),
            "allo": partial(self._answer, "202", "No storage allocation necessary."),
            "feat": self._features,
            "mode": partial(self._accept_only, "S"),
            "noop": partial(self._answer, "200", "Noop ok."),
            "opts": self._options,
            "pass": self._password,
            "quit": self._quit,
            "rest": self._restart,
            "size": self._size,
            "stru": partial(self._accept_only, "F"),
            "type": self._type,
        }

    # --- life ---------------------------------------------------------------------------------------------------------

    async def start(self, *_: Any, **__: Any) -> None:
        """Begin to accept. The listener given to the constructor takes the place of aioftp's host and port."""
        self.server_host, self.server_port = self._listener.getsockname()[:2]
        self.connections = {}
        # Accepted sockets inherit both. ABOR may arrive as urgent data (RFC 959, 4.1.3), which must stay in the stream.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._data_ports = DataPorts(self.pool, self.clock, self.counts, self._data_wait_ns)
        self._back_end: BackEnd | None = None
        if self._emulator.backend is not None:
            back_end = BackEnd(self._emulator.backend, self.server_host, self.counts, read_ephemeral_range())
            self._back_end = await back_end.__aenter__()
        self._data = DataCommands(
            self,
            self._catalogue,
            self._data_ports,
            self.counts,
            self._emulator.reply,
            back_end=self._back_end,
            leak=self._emulator.leak,
            session_hold_ns=self._emulator.session_hold,
            clock=self.clock,
        )
        self._commands.update(self._data.handlers)
        self._accept_loop = AcceptLoop(self._listener, Pace(self._emulator.accept_rate), self.clock, self._admit)
        self._expiry = asyncio.create_task(self._expire_data_ports())

    async def serve_forever(self) -> None:
        """Wait until cancelled."""
        await asyncio.get_running_loop().create_future()

    async def close(self) -> None:
        """Stop accepting, end every session and transfer, and wait until nothing of them is left."""
        self._accept_loop.close()
        self._expiry.cancel()
        await asyncio.wait([self._expiry])
        while self._sessions or self._data.transfers:
            tasks = [*self._sessions, *self._data.transfers]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        self._data_ports.close()
        if self._back_end is not None:
            await self._back_end.__aexit__()

    async def __aenter__(self) -> EmulatorServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def sessions(self) -> int:
        """Control connections open now, logged in or not."""
        return len(self._control)

    @property
    def transfers(self) -> int:
        """Transfers under way."""
        return len(self._data.transfers)

    @property
    def accept_queue(self) -> int | None:
        """Control connections that the kernel completed and we did not accept yet; None where it does not say."""
        return accept_queue(self._listener)

    async def _expire_data_ports(self) -> None:
        while True:
            await asyncio.sleep(EXPIRE_EVERY_S)
            self._data_ports.expire()

    # --- control connections ------------------------------------------------------------------------------------------

    def _admit(self, sock: socket.socket) -> None:
        self.counts.accepted += 1
        cap = self._emulator.max_connections
        if cap is not None and len(self._control) >= cap.count:
            self.counts.refused_connections += 1
            _turn_away(sock, cap)
            return
        self._control.add(sock)
        task = asyncio.create_task(self._serve(sock))
        self._sessions.add(task)
        task.add_done_callback(partial(self._session_ended, sock))

    def _session_ended(self, sock: socket.socket, task: asyncio.Task[None]) -> None:
        self._sessions.discard(task)
        if sock in self._control:  # cancelled before its first step, so nobody else has closed it
            self._control.discard(sock)
            sock.close()

    async def _serve(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(LINE_BYTES, loop)
        protocol = _ControlProtocol(reader, loop=loop)
        try:
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, sock)
            await self.dispatcher(reader, asyncio.StreamWriter(transport, protocol, reader, loop))
        except OSError:
            sock.close()  # the client was gone before its session began
        finally:
            protocol.abandon()
            # No await between the last reply and here: a client that reads 221 finds its place under the cap free.
            self._control.discard(sock)

    async def dispatcher(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Greet one client and carry out its commands, one after the other, until QUIT or the end of the connection."""
        stream = ThrottleStreamIO(reader, writer, throttles={})
        connection = Connection(command_connection=stream, path_io=self._path_io, restart_offset=0)
        session = Session(reader, writer, connection)
        try:
            if self._delay_s:
                await asyncio.sleep(self._delay_s)
            session.reply("220", self.welcome_message)
            while await self._next_command(session):
                pass
            writer.close()
        except OSError:
            pass  # the client is gone
        except Exception:
            _logger.exception("a session broke")
        finally:
            session.drop_data_port()
            if session.transfer is not None:
                session.transfer.cancel()

    async def _next_command(self, session: Session) -> bool:
        try:
            line = await session.reader.readline()
        except ValueError:  # above the reader's limit
            session.reply("500", "Command line too long.")
            return False
        if not line.endswith(b"\n"):
            return False
        try:
            command, _, argument = line.lstrip(_TELNET).decode(self.encoding).rstrip("\r\n").partition(" ")
        except UnicodeDecodeError:
            session.reply("501", "Not UTF-8.")
            return True
        command = command.lower()
        if self._delay_s:
            await asyncio.sleep(self._delay_s)
        if session.transfer is not None:
            if command == "abor":
                return await self._data.abort(session)
            await asyncio.wait((session.transfer,))  # RFC 959, 4.1.3: all but ABOR wait for the end of a transfer
            session.transfer = None
        await session.writer.drain()
        if not session.logged_in and command not in _WITHOUT_LOGIN:
            session.reply("530", "Log in with USER and PASS.")
        elif command in self._commands:
            return self._commands[command](session, argument)
        elif command in self._inherited:
            return await self._inherited[command](session.connection, argument)
        else:
            session.reply("502", f"{command.upper()!r} is not implemented.")
        return True

    # --- commands without a data connection ---------------------------------------------------------------------------

    def _answer(self, code: str, text: str, session: Session, argument: str) -> bool:
        session.reply(code, text)
        return True

    def _accept_only(self, known: str, session: Session, argument: str) -> bool:
        if argument.upper() == known:
            session.reply("200", f"{known} it is.")
        else:
            session.reply("504", f"Only {known} is implemented.")
        return True

    def _password(self, session: Session, argument: str) -> bool:
        if not session.user_known:
            session.reply("503", "Send USER first.")
        elif session.logged_in:
            session.reply("230", "Already logged in.")
        else:
            session.connection.logged = True
            self.counts.logins += 1
            session.reply("230", "Logged in.")
        return True

    def _features(self, session: Session, argument: str) -> bool:
        session.reply("211", ("Features:", *FEATURES, "End"), True)
        return True

    def _options(self, session: Session, argument: str) -> bool:
        if argument.upper() in ("UTF8 ON", "UTF8"):
            session.reply("200", "UTF-8 is on.")
        else:
            session.reply("501", "No such option.")
        return True

    def _type(self, session: Session, argument: str) -> bool:
        if argument.upper() in ("A", "A N", "I", "L 8"):
            session.reply("200", f"Type set to {argument.upper()}.")
        else:
            session.reply("504", "Types are A and I.")
        return True

    def _size(self, session: Session, argument: str) -> bool:
        size = self._catalogue.size(session.path(argument))
        if size is None:
            session.reply("550", "No such file.")
        else:
            session.reply("213", str(size))
        return True

    def _restart(self, session: Session, argument: str) -> bool:
        if argument.isascii() and argument.isdigit() and len(argument) <= OFFSET_DIGITS:
            session.connection.restart_offset = int(argument)
            session.reply("350", f"Restarting at {argument}.")
        else:
            session.take_restart_offset()
            session.reply("501", "REST needs a number of bytes.")
        return True

    def _quit(self, session: Session, argument: str) -> bool:
        session.reply("221", "Goodbye.")
        return False


class _ControlProtocol(asyncio.StreamReaderProtocol):
    """Ends its transport when the session is over, also one that is connected only after that."""

    _made: asyncio.Transport | None = None
    _abandoned = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._made = transport
        if self._abandoned:
            transport.abort()

    def abandon(self) -> None:
        """Abort the connection unless it is closing already, in which case what is queued is still sent."""
        self._abandoned = True
        if self._made is not None and not self._made.is_closing():
            self._made.abort()


def _turn_away(sock: socket.socket, cap: ConnectionCap) -> None:
    with sock:
        if cap.answer == "421":
            with contextlib.suppress(OSError):
                sock.send(f"421 {' '.join(cap.text.splitlines())}\r\n".encode())
        elif cap.answer == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
