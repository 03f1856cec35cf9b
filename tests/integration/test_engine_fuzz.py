"""Peers that misbehave at any moment: every session ends within its timeouts, with a class, and leaves nothing behind.

Hypothesis chooses flows, and for each session one misdeed and the moment of it: at any reply of a whole session, or at
any data connection. The server is otherwise polite. What must hold is the same for all: no traceback, no hang, no
descriptor left, books that balance, and a failure class that such a misdeed may have.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ftpstorm.engine.verification import LINE
from ftpstorm.records.schema import ABSENT
from support.engine_run import EngineRun, make_scenario, run_engine
from support.scripted_server import Peer, reset

TINY: Final = {"connect": "80ms", "greeting": "80ms", "reply": "80ms", "data": "80ms"}
WITHIN_S: Final = 30
"""A session of the longest flow with every step silent takes 2 s: beyond this it hangs."""

PAYLOAD: Final = (LINE * 47)[:3000]
FLOW_STEPS: Final[list[Any]] = [
    "list",
    {"retr": "f"},
    {"stor": "40KiB"},
    "noop",
    {"cwd": "/"},
    "pasv-only",
    "nlst",
    {"retr": {"file": "f", "offset": "1B", "verify": "pattern"}},
    {"stor": {"size": "40KiB", "verify": "size", "close": {"with": "half"}}},
    {"retr": {"file": "f", "close": {"first": "client", "with": "half"}}},
    {"abort": {"retr": "f", "after": "500B"}},
    {"abort": {"stor": "9KiB", "after": "10ms", "signal": "telnet"}},
]

CONTROL_DEEDS: Final = (
    "rst", "eof", "silence", "garbage", "421", "421-and-close", "split", "extra", "huge-line", "huge-reply",
    "flood", "odd-code", "other-code", "announce-for-ever", "telnet", "bare-lf", "not-utf8", "bad-endpoint", "half",
)  # fmt: skip
DATA_DEEDS: Final = (
    "no-listener", "never-accept", "rst-at-once", "rst-midway", "eof-midway", "silence", "too-much", "early-226",
    "no-150", "no-226", "425", "426-midway", "550", "never-closed",
)  # fmt: skip

LATE: Final = {"greeting-silent", "reply-timeout", "control-connect-timeout", "transfer-stalled"} | {
    "final-reply-timeout",
    "data-connect-timeout",
}
"""What a deadline may be called. A machine under load may add one to any session."""
LOST: Final = LATE | {"control-lost", "greeting-eof", "greeting-reset", "control-connect-reset"}
SERVER_SAID: Final = {"passive-exhausted", "file-error", "unsupported", "auth-failed", "data-not-established"} | {
    "transfer-aborted",
    "busy-at-greeting",
    "busy-at-login",
    "data-tls",
    "transfer-short",
    "transfer-corrupt",
}
MAY_BE: Final[dict[str, set[str]]] = {
    "rst": LOST | {"transfer-aborted"},
    "eof": LOST,
    "silence": LATE,
    "garbage": LOST | SERVER_SAID | {"protocol-error"},
    "421": LOST | {"busy-at-greeting", "busy-at-login", "passive-exhausted", "transfer-aborted"},
    "421-and-close": LOST | {"busy-at-greeting", "busy-at-login", "passive-exhausted"},
    "split": LATE,
    "telnet": LATE,
    "bare-lf": LATE,
    "not-utf8": LATE,
    "half": LOST,
    "huge-line": LOST | {"protocol-error"},
    "huge-reply": LOST | {"protocol-error"},
    "flood": LOST | {"protocol-error"},
    "announce-for-ever": LOST | {"protocol-error"},
    "bad-endpoint": LOST | SERVER_SAID | {"protocol-error"} | {"data-connect-refused", "data-connect-reset"},
    "no-listener": LATE | {"data-connect-refused"},
    "never-accept": LATE,
    "rst-at-once": LATE | {"data-connect-reset", "transfer-aborted"},
    "rst-midway": LATE | {"data-connect-reset", "transfer-aborted"},
    "eof-midway": LATE | {"transfer-short", "transfer-aborted"},
    "data-silence": LATE,
    "too-much": LATE | {"transfer-short", "transfer-aborted", "transfer-corrupt"},
    "early-226": LATE,
    "no-150": LATE | {"protocol-error", "transfer-short"},
    "no-226": LATE,
    "425": LATE | {"data-not-established"},
    "426-midway": LATE | {"transfer-aborted"},
    "550": LATE | {"file-error"},
    "never-closed": LATE,
}
"""Classes that a session with the misdeed may fail with. Extra and wrong replies shift all that follow: any class."""


@dataclass(frozen=True)
class Misdeed:
    """What a server does wrong, at its `at`-th reply or its `at`-th data connection."""

    where: str
    deed: str
    at: int
    junk: bytes = b""
    code: int = 200

    @property
    def may_be(self) -> set[str] | None:
        """Classes that it may lead to; None for any that is not the generator's."""
        return MAY_BE.get("data-silence" if (self.where, self.deed) == ("data", "silence") else self.deed)


WIRES: Final[dict[str, Callable[[Misdeed, bytes], bytes]]] = {
    "eof": lambda misdeed, wire: b"",
    "half": lambda misdeed, wire: wire[: len(wire) // 2],
    "garbage": lambda misdeed, wire: misdeed.junk + b"\r\n",
    "421": lambda misdeed, wire: b"421 Service not available.\r\n",
    "421-and-close": lambda misdeed, wire: b"421 Service not available.\r\n",
    "extra": lambda misdeed, wire: wire + b"%d stray\r\n" % misdeed.code,
    "huge-line": lambda misdeed, wire: wire[:4] + b"x" * 20_000 + b"\r\n",
    "huge-reply": lambda misdeed, wire: wire[:3] + b"-first\r\n" + b" more and more and more\r\n" * 5_000 + wire,
    "odd-code": lambda misdeed, wire: b"%03d odd\r\n" % (misdeed.code % 100),
    "other-code": lambda misdeed, wire: b"%d other\r\n" % misdeed.code,
    "telnet": lambda misdeed, wire: wire[:2] + b"\xff\xf1" + wire[2:6] + b"\xff\xfb\x01" + wire[6:],
    "bare-lf": lambda misdeed, wire: wire.replace(b"\r\n", b"\n"),
    "not-utf8": lambda misdeed, wire: wire if wire[:3] == b"213" else wire[:-2] + b" \xe9\xfe\x80" + wire[-2:],
    "bad-endpoint": lambda misdeed, wire: misdeed.junk if wire[:3] in (b"227", b"229") else wire,
}
"""What is sent in place of a reply, for misdeeds that are no more than that."""


class EndedError(Exception):
    """The misdeed was the session's last act."""


class MoodyPeer(Peer):
    """A polite server, but for one misdeed."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, misdeed: Misdeed) -> None:
        super().__init__(reader, writer)
        self.misdeed = misdeed
        self.replies = self.transfers = self.offset = 0
        self.active = ""

    async def say(self, line: str) -> None:
        """Send one reply, or do the misdeed whose moment it is."""
        misdeed = self.misdeed
        due = misdeed.where == "control" and self.replies == misdeed.at
        self.replies += 1
        if not due:
            await self.send(line)
            return
        wire = line.encode() + b"\r\n"
        match misdeed.deed:
            case "rst":
                self.reset()
                raise EndedError
            case "split":
                for byte in wire:
                    await self.send(bytes([byte]))
                    await asyncio.sleep(0)
            case "announce-for-ever":
                while True:
                    await self.send("120 soon" if line.startswith("220") else "150 soon")
                    await asyncio.sleep(0.01)
            case "silence" | "flood":
                await self.send(b"200 ok\r\n" * 20_000 if misdeed.deed == "flood" else b"")
                await self.wait_for_eof()
            case deed:
                await self.send(WIRES[deed](misdeed, wire))
                if deed in ("eof", "half", "421-and-close"):
                    raise EndedError

    async def command(self) -> str:
        """Return the next command, without the Telnet signals before an ABOR."""
        line = (await self.reader.readline()).rstrip(b"\r\n")
        return line.removeprefix(b"\xff\xf4").removeprefix(b"\xf2").decode()

    async def wait_for_eof(self) -> None:
        while await self.reader.read(4096):
            pass
        raise EndedError

    async def serve(self) -> None:
        await self.say("220 ready")
        while line := await self.command():
            verb = line.split(" ")[0]
            match verb:
                case "USER":
                    await self.say("331 password")
                case "PASS":
                    await self.say("230 in")
                case "EPSV":
                    await self.say(f"229 ok (|||{self.open_port()}|)")
                case "PASV":
                    port = self.open_port()
                    await self.say(f"227 ok (127,0,0,1,{port >> 8},{port & 255})")
                case "RETR" | "LIST" | "NLST" | "STOR":
                    await self.transfer(verb)
                case "PORT" | "EPRT":
                    self.active = line
                    await self.say("200 noted")
                case "REST":
                    self.offset = int(line.split(" ")[1])
                    await self.say("350 from there")
                case "SIZE":
                    await self.say(f"213 {40 << 10}")
                case "QUIT":
                    await self.say("221 bye")
                    return
                case _:
                    await self.say("200 ok")

    def open_port(self) -> int:
        port = self.listen()
        if self.due_on_data("no-listener"):
            assert self._listener is not None
            self._listener.close()
        return port

    def due_on_data(self, *deeds: str) -> bool:
        misdeed = self.misdeed
        return misdeed.where == "data" and misdeed.at == self.transfers and misdeed.deed in deeds

    async def transfer(self, verb: str) -> None:  # noqa: C901 - a line or two for each misdeed
        loop = asyncio.get_running_loop()
        deed = self.misdeed.deed if self.due_on_data(*DATA_DEEDS) else ""
        self.transfers += 1
        payload, self.offset = PAYLOAD[self.offset :], 0
        if deed == "never-accept" or (deed == "no-listener" and self.active):
            await self.wait_for_eof()
        data = await (self.connect_back(self.active) if self.active else self.accept())
        with contextlib.closing(data):
            if deed == "rst-at-once":
                reset(data)
                await self.say("426 gone")
                return
            if deed in ("425", "550"):
                await self.say(f"{deed} no")
                return
            if deed == "silence":
                await self.wait_for_eof()
            if deed != "no-150":
                await self.say("150 go")
            if deed == "early-226":
                await self.say("226 done already")
            if verb == "STOR":
                if deed in ("rst-midway", "eof-midway", "426-midway"):
                    await loop.sock_recv(data, 1000)
                elif deed != "never-closed":
                    while await loop.sock_recv(data, 65_536):
                        pass
            else:
                await loop.sock_sendall(data, payload[:1000] if deed.endswith("midway") else payload)
                if deed == "too-much":
                    await loop.sock_sendall(data, payload)
            if deed == "rst-midway":
                reset(data)
            if deed in ("rst-midway", "426-midway"):
                await self.say("426 aborted")
                return
            if deed == "never-closed":
                await self.wait_for_eof()
        if deed == "no-226":
            await self.wait_for_eof()
        if deed != "early-226":
            await self.say("226 done")


@contextlib.asynccontextmanager
async def moody_server(misdeeds: list[Misdeed]) -> AsyncIterator[int]:
    """Serve one misdeed a session, in the order of their arrival; yields the port. A fault of the server is raised."""
    left = deque(misdeeds)
    tasks: set[asyncio.Task[None]] = set()
    errors: list[BaseException] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        peer = MoodyPeer(reader, writer, left.popleft())
        try:
            await peer.serve()
        except (EndedError, OSError, asyncio.CancelledError):
            pass
        except BaseException as error:
            errors.append(error)
        finally:
            if peer._listener is not None:
                peer._listener.close()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
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


async def drive(misdeeds: list[Misdeed], steps: list[Any], mode: str, folder: Path) -> EngineRun:
    async with moody_server(misdeeds) as port:
        scenario = make_scenario(
            port,
            ["login", *steps, "quit"],
            {"sessions": len(misdeeds), "graceful_stop": "10m"},
            client={"mode": mode, "timeouts": TINY},
            files={"f": f"{len(PAYLOAD)}B"},
        )
        return await run_engine(scenario, folder, within_s=WITHIN_S)


JUNK: Final = st.one_of(
    st.sampled_from(
        [
            b"227 ok (127,0,0,1,0,0)\r\n",
            b"227 ok (127,0,0,1,999,1)\r\n",
            b"227 ok (10,0,0,9,4,1)\r\n",
            b"227 ok 0,0,0,0,4,1\r\n",
            b"227 nothing\r\n",
            b"229 (|||0|)\r\n",
            b"229 (|||99999|)\r\n",
            b"229 (||||)\r\n",
            b"229 ok (|1|10.0.0.9|4000|)\r\n",
        ]
    ),
    st.binary(min_size=1, max_size=300).map(lambda junk: junk + b"\r\n"),
)
CODES: Final = st.one_of(
    st.sampled_from([125, 150, 200, 226, 227, 229, 331, 421, 425, 426, 500, 522, 530]), st.integers(100, 659)
)
CONTROL_MISDEEDS: Final = st.builds(
    Misdeed, st.just("control"), st.sampled_from(CONTROL_DEEDS), st.integers(0, 24), JUNK, CODES
)
DATA_MISDEEDS: Final = st.builds(Misdeed, st.just("data"), st.sampled_from(DATA_DEEDS), st.integers(0, 2))
FLOWS: Final = st.lists(st.sampled_from(FLOW_STEPS), min_size=1, max_size=6)


@settings(max_examples=max(150, settings().max_examples))
@given(
    misdeeds=st.lists(st.one_of(CONTROL_MISDEEDS, DATA_MISDEEDS), min_size=1, max_size=8),
    steps=FLOWS,
    mode=st.sampled_from(["epsv", "pasv", "auto", "active", "eprt"]),
)
@example([Misdeed("control", "announce-for-ever", at) for at in range(12)], FLOW_STEPS[:3], "epsv")
@example([Misdeed("control", "rst", at) for at in range(20)], FLOW_STEPS, "auto")
@example([Misdeed("control", "421", at, code=421) for at in range(20)], FLOW_STEPS, "pasv")
@example([Misdeed("data", deed, 0) for deed in DATA_DEEDS], [{"retr": "f"}, {"retr": "f"}], "epsv")
@example([Misdeed("data", deed, 0) for deed in DATA_DEEDS], [{"stor": "400KiB"}, "noop"], "pasv")
@example([Misdeed("data", deed, 1) for deed in DATA_DEEDS], [*FLOW_STEPS[1:3], "noop"], "active")
@example([Misdeed("data", deed, 0) for deed in DATA_DEEDS], [*FLOW_STEPS[-2:], "noop"], "eprt")
@example([Misdeed("control", "421", at) for at in range(20)], FLOW_STEPS[-5:], "active")
@example([Misdeed("control", "half", at) for at in range(8)], ["list"], "epsv")
@example(
    [Misdeed("control", deed, 7) for deed in ("half", "not-utf8")],
    [{"stor": {"size": "40KiB", "verify": "size"}}],
    "epsv",
)
def test_no_misdeed_of_a_peer_hangs_breaks_or_leaks(misdeeds: list[Misdeed], steps: list[Any], mode: str) -> None:
    files = len(list(Path("/proc/self/fd").iterdir()))
    with tempfile.TemporaryDirectory() as folder:
        run = asyncio.run(drive(misdeeds, steps, mode, Path(folder)))
    assert len(list(Path("/proc/self/fd").iterdir())) == files
    check_books(run, len(misdeeds))
    allowed = [misdeed.may_be for misdeed in misdeeds]
    if None not in allowed:
        known: set[str] = set().union(*(classes for classes in allowed if classes is not None))
        seen = {session["class"] for session in run.sessions} | set(run.classes())
        assert seen <= known | {"none"}


def check_books(run: EngineRun, planned: int) -> None:
    """Assert what holds of every run that nobody stopped."""
    counts = run.counts
    assert run.watched_left == run.sessions_left == run.not_due == 0
    assert run.planned == planned == counts.started
    assert counts.dropped == counts.interrupted == 0
    assert counts.succeeded + counts.failed == counts.started == len(run.sessions)
    assert counts.connects == sum(session["connects"] for session in run.sessions)
    assert counts.operations == len(run.operations) == sum(session["operations"] for session in run.sessions)
    failed = [operation for operation in run.operations if operation["outcome"] == "failed"]
    assert sum(session["operations_failed"] for session in run.sessions) == len(failed)
    for row in (*run.sessions, *run.operations):
        assert (row["class"] == "none") == (row["outcome"] == "succeeded")
        assert not row["class"].startswith("local-")
        assert (row["control_survived"] == -1) == (row["outcome"] == "succeeded")
        assert row["end_ns"] != ABSENT
        assert row["end_ns"] >= row["start_ns"]
