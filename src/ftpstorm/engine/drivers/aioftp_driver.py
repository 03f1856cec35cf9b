"""`driver: aioftp`: the same flows on aioftp.Client and asyncio, with the same records and failure classes.

A second implementation of the wire, written by others: where it and the engine disagree about a server, one of them is
wrong. It costs a task, streams and several times the CPU for each session. What it cannot do is refused before
(`ftpstorm.scenario.drivers`). Only a worker that was asked for it imports this module.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import aioftp

from ftpstorm.engine.classify import LOCAL
from ftpstorm.engine.data import CHUNK_BYTES, PAYLOAD
from ftpstorm.engine.drivers.aioftp_connections import AioftpControl, AioftpData, RecordingClient, errno_of
from ftpstorm.engine.failure import (
    StepFailedError,
    failed_by_deadline,
    failed_by_eof,
    failed_by_errno,
    failed_by_garbage,
    failed_by_reply,
)
from ftpstorm.engine.fiber import ON_HOLD, InterruptError
from ftpstorm.engine.filling import account_of, options_of
from ftpstorm.engine.session import CLOSE_GRACE_NS, Session
from ftpstorm.engine.work import LoadWork, Script, Work
from ftpstorm.ftp.endpoints import EndpointError, parse_epsv, parse_pasv
from ftpstorm.ftp.replies import Reply
from ftpstorm.plan.plan import HoldStep, PlannedStep
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import DataMode, FailureClass, Operation, Outcome, Phase

T = TypeVar("T")

_MODES: Final = {"EPSV": DataMode.EPSV, "PASV": DataMode.PASV}
_PASSIVE: Final = {"epsv": ("epsv",), "pasv": ("pasv",), "auto": ("epsv", "pasv")}
_DROP_WITHIN_S: Final = 0.05
"""How soon a held session notices that it may go."""


class AioftpSession(Session):
    """One session on aioftp. Script, retries and records are the engine's; what waits is asyncio's."""

    __slots__ = ("_client", "_interrupted", "_phase", "_task")

    def __init__(self, work: Work, load: LoadWork, number: int, intended_ns: int) -> None:
        super().__init__(work, load, number, intended_ns)
        source = work.sources[self.source].address
        self._client = RecordingClient(
            self, passive_commands=_PASSIVE[work.mode], **({} if source is None else {"local_addr": (source, 0)})
        )
        self._interrupted = False
        self._phase = Phase.CONTROL_CONNECT
        """Where a failure would belong."""
        self._task: asyncio.Task[None] | None = None

    def start(self, now: int) -> None:
        """Begin to connect, in a task of its own."""
        self.start_ns = self.now = now
        self.work.journal.counts.started += 1
        self._task = asyncio.get_running_loop().create_task(self._main())

    def expire(self, now: int) -> None:
        """Deadlines are asyncio's here."""

    def interrupt(self, now: int) -> None:
        """End the session as soon as its task runs; it counts as interrupted."""
        if self._task is not None and not self._interrupted:
            self._interrupted = True
            self._task.cancel()

    async def _main(self) -> None:
        try:
            try:
                await self._script()
            except asyncio.CancelledError:
                self.outcome = Outcome.INTERRUPTED
            self._stamp()
            self.ended()
        except BaseException as error:  # as in the reactor: a fault of the engine ends the run
            context = {"message": "a session of the driver aioftp broke", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
            raise
        finally:
            self._client.close()

    def _stamp(self) -> int:
        self.now = self.work.reactor.clock()
        return self.now

    # --- what the client reports --------------------------------------------------------------------------------------

    async def open_connection(
        self,
        connect: Callable[[str, int], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]],
        host: str,
        port: int,
        *,
        first: bool,
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open the control connection (`first`) or a data connection, within its deadline."""
        self._phase = Phase.CONTROL_CONNECT if first else Phase.DATA_CONNECT
        if not first:
            self.passive_ns = self._stamp()
            self.passive_port = port
        self.connects += 1
        try:
            async with asyncio.timeout(self.work.timeouts.connect / NS_PER_S):
                reader, writer = await connect(host, port)
        except OSError as error:
            if errno_of(error) in LOCAL:
                self.connects -= 1  # the kernel sent no SYN
            raise
        now = self._stamp()
        if first:
            self.connected_ns = now
            self.control = AioftpControl(writer)  # type: ignore[assignment]  # what is used of it is there
            self._phase = Phase.GREETING
        else:
            self.data = AioftpData(writer, now)  # type: ignore[assignment]
            self._phase = Phase.FIRST_BYTE
        return reader, writer

    async def command(
        self, command: str | None, send: Callable[[], Awaitable[tuple[Any, list[str]] | None]]
    ) -> tuple[Any, list[str]] | None:
        """Have a command sent and its reply read, within its deadline."""
        verb = (command or "").partition(" ")[0]
        if verb in _MODES:
            self._phase = Phase.PASSIVE
            self.data_mode = _MODES[verb]
        timeouts = self.work.timeouts
        patience = timeouts.greeting if self._phase is Phase.GREETING else timeouts.reply
        if self._phase in (Phase.FIRST_BYTE, Phase.TRANSFER, Phase.FINAL_REPLY):
            patience = timeouts.data
        try:
            async with asyncio.timeout(patience / NS_PER_S):
                reply = await send()
        except aioftp.StatusCodeError:
            self.replies_read += 1
            raise
        except TimeoutError:
            self._break()  # an answer that comes later could be taken for the next command's
            raise
        finally:
            self._stamp()
        if reply is not None:
            self.replies_read += 1
            self.reply_code = int(reply[0])
        return reply

    def _break(self) -> None:
        if self.control is not None:
            self.control.close()

    # --- the script, where it waits -----------------------------------------------------------------------------------

    async def _connect(self) -> None:
        host, port = self.work.targets[self.target]
        # Client.connect would read the greeting as well, and the two have phases and deadlines of their own.
        await self._named(aioftp.BaseClient.connect(self._client, host, port))

    async def _greet(self) -> None:
        await self._named(self._client.command(None, "220", "120"))
        self.greeting_ns = self.now
        self.work.journal.counts.unreachable_streak = 0

    async def _named(self, acting: Awaitable[T]) -> T:
        """Await; raise what goes wrong as StepFailedError, named by the phase and classified as the engine does."""
        try:
            return await acting
        except aioftp.StatusCodeError as error:
            raise self._refused(error) from None
        except TimeoutError as error:
            if error.errno:  # the kernel's ETIMEDOUT
                raise failed_by_errno(self._phase, error.errno) from None
            raise failed_by_deadline(self._phase) from None
        except OSError as error:
            raise self._broken(errno_of(error)) from None
        except (ValueError, IndexError, TypeError, EndpointError, aioftp.AIOFTPException) as error:
            self._break()
            raise failed_by_garbage(self._phase, str(error).encode()) from None
        except asyncio.CancelledError:
            raise InterruptError from None

    def _refused(self, error: aioftp.StatusCodeError) -> StepFailedError:
        code = error.received_codes[-1]
        lines = [error.info] if isinstance(error.info, str) else error.info
        if not code.isdigit():
            self._break()
            return failed_by_garbage(self._phase, "\n".join(lines).encode())
        reply = Reply(int(code), "\r\n".join(f"{code}{line}" for line in lines).encode())
        self.reply_code = reply.code
        if reply.code == 421 and self._phase is not Phase.PASSIVE:
            self._break()
        return failed_by_reply(self._phase, reply)

    def _broken(self, number: int) -> StepFailedError:
        """Name a broken connection; aioftp tells the end of the stream by a ConnectionResetError without errno."""
        if self._phase not in (Phase.CONTROL_CONNECT, Phase.DATA_CONNECT):
            self._break()
        return failed_by_errno(self._phase, number) if number else failed_by_eof(self._phase)

    async def sleep_until(self, instant_ns: int) -> None:  # type: ignore[override]  # awaited in the same way
        """Suspend until `instant_ns`. Raises InterruptError."""
        try:
            await asyncio.sleep(max(0, instant_ns - self.work.reactor.clock()) / NS_PER_S)
        except asyncio.CancelledError:
            raise InterruptError from None
        self._stamp()

    async def _await_close(self) -> None:
        grace_s = (self.quit_ns + CLOSE_GRACE_NS - self._stamp()) / NS_PER_S
        with contextlib.suppress(TimeoutError, OSError, asyncio.CancelledError):
            async with asyncio.timeout(grace_s):
                while await self._client.stream.read(512):
                    pass

    # --- steps --------------------------------------------------------------------------------------------------------

    @classmethod
    def make_script(cls, work: Work, steps: tuple[PlannedStep, ...]) -> Script:
        """Return a flow's steps as sessions of this class run them."""
        return tuple((step.operation, cls._execute, step) for step in steps)

    async def _execute(self, step: PlannedStep) -> None:
        """Execute one step once."""
        self._phase = Phase.LOGIN if step.operation is Operation.LOGIN else Phase.COMMAND
        options = options_of(self, step) if step.varies else step.options
        try:
            await self._named(STEPS[step.operation](self, options))
        except (StepFailedError, InterruptError):
            self._close_data()
            raise
        finally:
            self._stamp()

    def _close_data(self) -> None:
        if self.data is not None:
            self.data.close()

    async def login(self, options: Any) -> None:
        """Log in; aioftp sets the type before each transfer."""
        await self._client.login(*account_of(self))
        self.login_ns = self.now

    async def transfer(self, command: str, options: Any, *, upload: int | None, size: int | None) -> None:
        """Open a data connection, move the payload, and read the final reply."""
        commands = _PASSIVE[options.mode or self.work.mode]
        reader, writer = await self._client.get_passive_connection("I", commands)
        await self._client.command(command, "1xx")
        stream = aioftp.DataConnectionThrottleStreamIO(self._client, reader, writer, throttles={})
        data: Any = self.data
        try:
            await (self._download(stream, data) if upload is None else self._upload(stream, data, upload))
        except OSError as error:
            # Name it by the data connection, then read the server's word on it as the engine does.
            number = errno_of(error)
            silent = isinstance(error, TimeoutError) and not number
            failure = failed_by_deadline(self._phase) if silent else failed_by_errno(self._phase, number)
            data.close()
            with contextlib.suppress(aioftp.StatusCodeError, OSError, ValueError):
                await self._client.command(None, "2xx", "1xx")
            raise failure from None
        data.end_ns = self._stamp()
        self._phase = Phase.FINAL_REPLY
        await stream.finish()
        if size is not None and data.bytes != size:
            raise StepFailedError(FailureClass.TRANSFER_SHORT, Phase.TRANSFER, code=self.reply_code)
        declared = self.work.passive_range
        if declared is not None and not declared[0] <= self.passive_port <= declared[1]:
            raise StepFailedError(FailureClass.PASSIVE_OUT_OF_RANGE, Phase.PASSIVE)

    async def _download(self, stream: aioftp.DataConnectionThrottleStreamIO, data: AioftpData) -> None:
        while True:
            async with asyncio.timeout(self.work.timeouts.data / NS_PER_S):
                chunk = await stream.read(CHUNK_BYTES)
            if not chunk:
                return
            data.count(len(chunk), self._stamp())
            self._phase = Phase.TRANSFER

    async def _upload(self, stream: aioftp.DataConnectionThrottleStreamIO, data: AioftpData, size: int) -> None:
        while data.bytes < size:
            chunk = PAYLOAD[: size - data.bytes]
            async with asyncio.timeout(self.work.timeouts.data / NS_PER_S):
                await stream.write(bytes(chunk))
            data.count(len(chunk), self._stamp())
            self._phase = Phase.TRANSFER

    async def pasv_only(self, options: Any) -> None:
        """Ask for a passive port and never connect; aioftp's own way of asking connects at once."""
        commands = _PASSIVE[options.mode or self.work.mode]
        for place, name in enumerate(commands, 1):
            try:
                reply = await self._client.command(name.upper(), "229" if name == "epsv" else "227")
            except aioftp.StatusCodeError as error:
                if place == len(commands) or not error.received_codes[-1].matches("50x"):
                    raise
                continue
            assert reply is not None
            raw = f"{reply[0]}{reply[1][-1]}".encode()
            self.passive_port = parse_epsv(raw) if name == "epsv" else parse_pasv(raw)[1]
            self.passive_ns = self.now
            return

    async def hold(self, options: HoldStep) -> None:
        """Stay logged in until the load's end or a drain; notice when the server ends the session."""
        until_ns = self.work.journal.origin_ns + options.until_ns
        quiet_ns = self._stamp()
        self.waiting = ON_HOLD
        try:
            while self._stamp() < until_ns and not self.load.released:
                wait_s = min(_DROP_WITHIN_S, (until_ns - self.now) / NS_PER_S)
                try:
                    async with asyncio.timeout(wait_s):
                        code, lines = await self._client.parse_response()
                except TimeoutError:
                    if options.noop_every_ns is not None and self._stamp() - quiet_ns >= options.noop_every_ns:
                        quiet_ns = self.now
                        await self._client.command("NOOP", "2xx")
                    continue
                if code == "421":
                    self._break()
                    raw = "\r\n".join(f"{code}{line}" for line in lines).encode()
                    raise failed_by_reply(Phase.COMMAND, Reply(421, raw), FailureClass.CONTROL_LOST)
        finally:
            self.waiting = 0

    async def quit(self, options: Any) -> None:
        """Send QUIT; the session then waits for the server's close."""
        await self._client.command("QUIT", "2xx")
        self.quit_ns = self.now


async def _retr(session: AioftpSession, options: Any) -> None:
    size = session.work.file_sizes.get(options.file)
    await session.transfer(f"RETR {options.file}", options, upload=None, size=size)


def _uploading(verb: str) -> Step:
    async def upload(session: AioftpSession, options: Any) -> None:
        await session.transfer(f"{verb} {options.file}", options, upload=options.size, size=options.size)

    return upload


def _listing(verb: str) -> Step:
    async def listing(session: AioftpSession, options: Any) -> None:
        command = verb if options.path is None else f"{verb} {options.path}"
        await session.transfer(command, options, upload=None, size=None)

    return listing


def _plain(verb: str, argument: str | None = None) -> Step:
    async def plain(session: AioftpSession, options: Any) -> None:
        command = verb if argument is None else f"{verb} {getattr(options, argument)}"
        await session._client.command(command, "2xx")

    return plain


async def _think(session: AioftpSession, options: Any) -> None:
    await session.sleep_until(session.now + options.duration)


Step = Callable[[AioftpSession, Any], Awaitable[None]]

STEPS: Final[dict[Operation, Step]] = {
    Operation.LOGIN: AioftpSession.login,
    Operation.RETR: _retr,
    Operation.STOR: _uploading("STOR"),
    Operation.APPE: _uploading("APPE"),
    Operation.LIST: _listing("LIST"),
    Operation.NLST: _listing("NLST"),
    Operation.MLSD: _listing("MLSD"),
    Operation.PASV_ONLY: AioftpSession.pasv_only,
    Operation.CWD: _plain("CWD", "path"),
    Operation.SIZE: _plain("SIZE", "file"),
    Operation.MKD: _plain("MKD", "path"),
    Operation.DELE: _plain("DELE", "file"),
    Operation.NOOP: _plain("NOOP"),
    Operation.THINK: _think,
    Operation.HOLD: AioftpSession.hold,
    Operation.QUIT: AioftpSession.quit,
}
"""The script of each operation that this driver has."""
