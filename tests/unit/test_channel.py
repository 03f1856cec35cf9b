"""JSON lines between processes: whole messages or EOF, nothing between."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator

import pytest

from ftpstorm.channel import ENVIRONMENT_KEY, Channel

DEADLINE_S = 20


@pytest.fixture
async def ends() -> AsyncIterator[tuple[Channel, Channel]]:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    channels = (await Channel.open(left), await Channel.open(right))
    yield channels
    for channel in channels:
        channel.close()


@pytest.fixture
async def with_raw_peer() -> AsyncIterator[tuple[Channel, socket.socket]]:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    channel = await Channel.open(left)
    with right:
        yield channel, right
    channel.close()


async def test_messages_arrive_whole_and_in_order(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    ours.send("hello", role="worker-0", port=21, text="zwölf\nlines")
    ours.send("start_at", t_ns=1 << 62)
    async with asyncio.timeout(DEADLINE_S):
        assert await theirs.receive() == {"type": "hello", "role": "worker-0", "port": 21, "text": "zwölf\nlines"}
        assert await theirs.receive() == {"type": "start_at", "t_ns": 1 << 62}


async def test_both_directions_work_at_once(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    ours.send("stop", how="drain")
    theirs.send("progress", started=3)
    async with asyncio.timeout(DEADLINE_S):
        assert await ours.receive() == {"type": "progress", "started": 3}
        assert await theirs.receive() == {"type": "stop", "how": "drain"}


async def test_a_message_longer_than_the_socket_buffer_arrives(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    plan = ["x" * 1000] * 3000
    async with asyncio.timeout(DEADLINE_S):
        ours.send("hello", plan=plan)
        _, message = await asyncio.gather(ours.drain(), theirs.receive())
    assert message is not None
    assert message["plan"] == plan


async def test_the_peers_close_reads_as_eof(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    ours.send("done", counts={})
    await ours.drain()
    ours.close()
    async with asyncio.timeout(DEADLINE_S):
        assert await theirs.receive() == {"type": "done", "counts": {}}
        assert await theirs.receive() is None


async def test_sending_to_a_peer_that_is_gone_is_dropped_in_silence(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    theirs.close()
    async with asyncio.timeout(DEADLINE_S):
        assert await ours.receive() is None
        for _ in range(100):
            ours.send("progress", started=1)
            await ours.drain()
    ours.close()
    ours.send("progress", started=2)


async def test_a_line_cut_off_by_the_peers_death_is_eof(with_raw_peer: tuple[Channel, socket.socket]) -> None:
    channel, peer = with_raw_peer
    peer.sendall(b'{"type":"ready","pid":1}\n{"type":"prog')
    peer.close()
    async with asyncio.timeout(DEADLINE_S):
        assert await channel.receive() == {"type": "ready", "pid": 1}
        assert await channel.receive() is None


@pytest.mark.parametrize("line", [b"[1,2]\n", b'{"kind":"ready"}\n', b"5\n"])
async def test_a_line_that_is_no_message_is_refused(with_raw_peer: tuple[Channel, socket.socket], line: bytes) -> None:
    channel, peer = with_raw_peer
    peer.sendall(line)
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(ValueError, match="not a message"):
            await channel.receive()


async def test_a_child_opens_the_descriptor_that_its_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    monkeypatch.setenv(ENVIRONMENT_KEY, str(right.detach()))
    parent, child = await Channel.open(left), await Channel.inherited()
    child.send("ready", pid=5)
    async with asyncio.timeout(DEADLINE_S):
        assert await parent.receive() == {"type": "ready", "pid": 5}
    assert ENVIRONMENT_KEY not in os.environ, "a grandchild would inherit the number of a closed descriptor"
    parent.close()
    child.close()


async def test_without_a_parent_there_is_no_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT_KEY, raising=False)
    with pytest.raises(RuntimeError, match="started by the conductor"):
        await Channel.inherited()


async def test_the_last_words_of_a_peer_that_left_a_message_unread_are_heard(
    with_raw_peer: tuple[Channel, socket.socket],
) -> None:
    channel, peer = with_raw_peer
    channel.send("stop", how="now")
    await channel.drain()
    peer.sendall(b'{"type":"done"}\n')
    peer.close()  # with `stop` unread: the kernel resets
    async with asyncio.timeout(DEADLINE_S):
        while not channel._writer.is_closing():  # the reset is known before anybody reads
            await asyncio.sleep(0.01)
        assert await channel.receive() == {"type": "done"}
        assert await channel.receive() is None
