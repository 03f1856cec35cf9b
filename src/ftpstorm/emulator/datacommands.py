"""The commands that need a data connection: PASV and EPSV, and the transfers RETR, STOR, APPE, LIST, NLST and MLSD.

Each transfer runs in a task of its own, so that ABOR and the loss of the control connection can end it. The ports
themselves belong to `ftpstorm.emulator.dataport`, the moving of bytes to `ftpstorm.emulator.transfers`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final

import aioftp

from ftpstorm.clock import Clock, monotonic_ns
from ftpstorm.emulator.backend import BackEnd
from ftpstorm.emulator.counts import Counts
from ftpstorm.emulator.dataport import DataPort, DataPorts
from ftpstorm.emulator.files import Catalogue, content_blocks
from ftpstorm.emulator.session import Session
from ftpstorm.emulator.transfers import receive, send
from ftpstorm.scenario.behind import Leak

Move = Callable[[socket.socket], Awaitable[None]]
"""Moves the bytes of one transfer over its data connection; raises OSError when the client is gone."""

_logger = logging.getLogger(__name__)


class DataCommands:
    """Carries out data commands for all sessions of a server. Handlers return True: the session goes on."""

    def __init__(
        self,
        server: aioftp.Server,
        catalogue: Catalogue,
        ports: DataPorts,
        counts: Counts,
        refusal: str,
        *,
        back_end: BackEnd | None = None,
        leak: Leak | None = None,
        session_hold_ns: int = 0,
        clock: Clock = monotonic_ns,
    ) -> None:
        """Take the server for its paths and listing formats, and the whole reply line of an exhausted pool.

        `back_end` is asked before each transfer; `leak` says which data connections are never closed. For
        `session_hold_ns` after the end of one, by `clock`, a session's next transfer is refused.
        """
        self._server = server
        self._catalogue = catalogue
        self._ports = ports
        self._counts = counts
        self._refusal = refusal
        self._back_end = back_end
        self._leak_every = 0 if leak is None else leak.every
        self._leak_chances = 0
        self._session_hold_ns = session_hold_ns
        self._clock = clock
        self._listings: dict[tuple[str, PurePosixPath], bytes] = {}
        self.transfers: Final[set[asyncio.Task[None]]] = set()
        """Transfers under way."""
        self.handlers: Final[dict[str, Callable[[Session, str], bool]]] = {
            "appe": self._store,
            "epsv": self._extended_passive,
            "list": partial(self._list, "list"),
            "mlsd": partial(self._list, "mlsd"),
            "nlst": partial(self._list, "nlst"),
            "pasv": self._passive,
            "retr": self._retrieve,
            "stor": self._store,
        }

    # --- passive ports ------------------------------------------------------------------------------------------------

    def _passive(self, session: Session, argument: str) -> bool:
        if session.family != socket.AF_INET:
            session.reply("522", "PASV knows IPv4 alone, use EPSV. (2)")
            return True
        port = self._open_data_port(session)
        if port is not None:
            numbers = (*session.address.split("."), str(port.number >> 8), str(port.number & 0xFF))
            session.reply("227", f"Entering Passive Mode ({','.join(numbers)}).")
        return True

    def _extended_passive(self, session: Session, argument: str) -> bool:
        own = "1" if session.family == socket.AF_INET else "2"  # address families of RFC 2428, 2
        if argument.upper() == "ALL":
            session.reply("504", "EPSV ALL is not implemented.")
        elif argument not in ("", own):
            session.reply("522", f"Network protocol not supported, use ({own})")
        else:
            port = self._open_data_port(session)
            if port is not None:
                session.reply("229", f"Entering Extended Passive Mode (|||{port.number}|)")
        return True

    def _open_data_port(self, session: Session) -> DataPort | None:
        session.drop_data_port()
        try:
            port = self._ports.open(session.family, session.address)
        except OSError as error:
            self._counts.passive_refused += 1
            session.reply("425", f"Can't open passive connection: {error.strerror}.")
            return None
        if port is None:
            self._counts.passive_refused += 1
            code, _, text = self._refusal.partition(" ")
            session.reply(code, text)
        else:
            self._counts.passive_replies += 1
            session.data_port = port
        return port

    # --- transfers ----------------------------------------------------------------------------------------------------

    def _retrieve(self, session: Session, argument: str) -> bool:
        path = session.path(argument)
        size = self._catalogue.size(path)
        if size is None:
            return self._refuse_transfer(session, "No such file.")
        offset = session.take_restart_offset()
        return self._start_transfer(
            session,
            f"Opening data connection for {path.name} ({max(0, size - offset)} bytes).",
            lambda sock: send(sock, content_blocks(size, offset), self._counts),
        )

    def _store(self, session: Session, argument: str) -> bool:
        path = session.path(argument)
        if self._catalogue.is_directory(path) or not self._catalogue.is_directory(path.parent):
            return self._refuse_transfer(session, "No such directory, or a directory itself.")
        session.take_restart_offset()
        return self._start_transfer(session, "Ok to send data.", lambda sock: receive(sock, self._counts))

    def _list(self, kind: str, session: Session, argument: str) -> bool:
        session.take_restart_offset()
        rest = argument.lstrip()
        while rest.startswith("-"):  # LIST -a -l, as to ls(1)
            rest = rest.partition(" ")[2].lstrip()
        path = session.path(rest.rstrip())
        if self._catalogue.size(path) is not None and kind == "mlsd":
            return self._refuse_transfer(session, "Not a directory.", "501")
        if self._catalogue.size(path) is None and not self._catalogue.is_directory(path):
            return self._refuse_transfer(session, "No such file or directory.")

        async def move(sock: socket.socket) -> None:
            await send(sock, (await self._listing(session, kind, path),), self._counts)

        return self._start_transfer(session, "Here comes the directory listing.", move)

    async def _listing(self, session: Session, kind: str, path: PurePosixPath) -> bytes:
        known = self._listings.get((kind, path))
        if known is not None:
            return known
        names = self._catalogue.names(path) if self._catalogue.is_directory(path) else None
        lines = []
        for entry in (path,) if names is None else (path / name for name in names):
            if kind == "list":
                lines.append(await self._server.build_list_string(session.connection, entry))
            elif kind == "mlsd":
                lines.append(await self._server.build_mlsx_string(session.connection, Path(entry)))
            else:
                lines.append(entry.name)
        # The catalogue never changes, so a directory is written out once.
        listing = "".join(f"{line}\r\n" for line in lines).encode(self._server.encoding)
        self._listings[kind, path] = listing
        return listing

    def _refuse_transfer(self, session: Session, text: str, code: str = "550") -> bool:
        session.drop_data_port()
        session.take_restart_offset()
        session.reply(code, text)
        return True

    def _start_transfer(self, session: Session, text: str, move: Move) -> bool:
        port = session.take_data_port()
        if port is None:
            session.reply("425", "Use PASV or EPSV first.")
            return True
        if self._session_hold_ns and self._clock() < session.held_until_ns:
            port.close()
            self._counts.transfers_failed += 1
            code, _, refusal = self._refusal.partition(" ")
            session.reply(code, refusal)
            return True
        if self._back_end is None:
            # Before the data connection is there, since a client may open it only when it has read this reply.
            session.reply("150", text)
            task = asyncio.create_task(self._transfer(session, port, move))
        else:
            task = asyncio.create_task(self._ask_and_transfer(self._back_end, session, port, text, move))
        session.transfer = task
        self.transfers.add(task)
        task.add_done_callback(partial(self._transfer_ended, session, port))
        return True

    async def _ask_and_transfer(
        self, back_end: BackEnd, session: Session, port: DataPort, text: str, move: Move
    ) -> None:
        try:
            await back_end.ask()
        except OSError as error:
            port.close()
            session.reply("451", f"Local error, no connection to the back end: {error.strerror}.")
            return
        session.reply("150", text)
        await self._transfer(session, port, move)

    async def _transfer(self, session: Session, port: DataPort, move: Move) -> None:
        sock = None
        try:
            sock = await port.connection()
            if sock is None:
                code, text = "425", "Can't open data connection."
            else:
                await move(sock)
                code, text = "226", "Transfer complete."
        except OSError as error:
            code, text = "426", f"Connection closed, transfer aborted: {error.strerror}."
        finally:
            if sock is not None:  # also where ABOR cancels this task
                session.held_until_ns = self._clock() + self._session_hold_ns
        if code == "226" and self._leak_every:
            self._leak(port)
        port.close()  # before the reply: a client that reads it may count on the pool having it back
        self._counts.transfers_completed += code == "226"
        self._counts.transfers_failed += code != "226"
        session.reply(code, text)

    def _leak(self, port: DataPort) -> None:
        if not port.client_closed:
            return
        self._leak_chances += 1
        if self._leak_chances % self._leak_every == 0:
            port.leak()
            self._counts.leaked += 1

    def _transfer_ended(self, session: Session, port: DataPort, task: asyncio.Task[None]) -> None:
        self.transfers.discard(task)
        port.close()  # for a task that was cancelled, perhaps before its first step
        if session.transfer is task:
            session.transfer = None
        if task.cancelled():
            self._counts.transfers_failed += 1
        elif task.exception() is not None:
            self._counts.transfers_failed += 1
            _logger.error("a transfer broke", exc_info=task.exception())
            session.writer.transport.abort()

    async def abort(self, session: Session) -> bool:
        """End the transfer under way and say so, as RFC 959, 4.1.3 has it: 426 for the transfer, 226 for ABOR."""
        transfer = session.transfer
        assert transfer is not None
        transfer.cancel()
        await asyncio.wait((transfer,))
        session.transfer = None
        if transfer.cancelled():
            session.reply("426", "Transfer aborted.")
        session.reply("226", "Abort done.")
        return True
