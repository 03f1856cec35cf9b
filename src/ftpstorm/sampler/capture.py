"""The process that keeps a run's packets: role `capture`, a child of the conductor on a client host.

hello, ready, start_at, finish, done (ARCHITECTURE.md, Messages); EOF on the channel ends it at once, with what it has
written. It writes only between two looks into the ring, never for each packet, so that it takes little from the load.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, Final

from ftpstorm.channel import Channel, Message
from ftpstorm.errors import EnvironmentUnavailableError, ExitCode
from ftpstorm.sampler.packetfilter import packet_filter
from ftpstorm.sampler.packets import HEADERS_MAX, PacketRing
from ftpstorm.sampler.pcap import PcapWriter
from ftpstorm.scenario.capture import Capture

LOOK_EVERY_S: Final = 0.1


def open_ring(capture: Capture, control_ports: list[int]) -> PacketRing:
    """Begin to take what `capture` wants. Raises EnvironmentUnavailableError where the system does not let us."""
    ports = control_ports if capture.connections == "control" else []
    program = packet_filter(ports=ports, one_in=capture.one_in, payload=capture.payload)
    try:
        return PacketRing(program, HEADERS_MAX + capture.payload)
    except OSError as error:
        raise EnvironmentUnavailableError(
            f"the system gives no packets ({error.strerror}): it takes a network namespace of the run's own "
            "(`ftpstorm doctor` says whether this host gives one) or CAP_NET_RAW; or leave `capture` out"
        ) from None


async def _obey(channel: Channel) -> bool:
    """Read messages until `finish` (True) or EOF (False)."""
    while (message := await channel.receive()) is not None:
        if message["type"] == "finish":
            return True
    return False


async def _keep(channel: Channel, hello: Message) -> dict[str, Any] | None:
    """Write packets until told to finish; return what was counted, None after EOF."""
    wanted = Capture.model_validate(hello["capture"])
    path = Path(hello["file"])
    with open_ring(wanted, list(hello["server_ports"])) as ring, path.open("wb") as file:  # noqa: ASYNC230 - own process
        writer = PcapWriter(file, HEADERS_MAX + wanted.payload, wanted.max_bytes)
        channel.send("ready", pid=os.getpid())
        orders = asyncio.ensure_future(_obey(channel))
        while not orders.done():
            await asyncio.wait((orders,), timeout=LOOK_EVERY_S)
            for packet in ring.take():
                writer.write(packet.at_ns, packet.kept, packet.length)
            file.flush()
        if not orders.result():
            return None
        return {
            "file": path.name,
            "packets": writer.packets,
            "bytes": writer.bytes,
            "left_out": writer.left_out,
            "lost": ring.lost(),
            "cpu_s": round(time.process_time(), 6),
        }


async def serve(channel: Channel) -> int:
    """Hold the whole conversation over `channel`; return the exit status, 0 also after EOF."""
    try:
        hello = await channel.receive()
        if hello is None:
            return ExitCode.PASS
        counts = await _keep(channel, hello)
        if counts is not None:
            channel.send("done", counts=counts)
    except EnvironmentUnavailableError as error:
        channel.send("error", message=str(error))
        return ExitCode.ENVIRONMENT
    except (OSError, ValueError, KeyError) as error:
        channel.send("error", message=f"{type(error).__name__}: {error}")
        return ExitCode.INTERNAL_ERROR
    finally:
        await channel.drain()
    return ExitCode.PASS


async def _main() -> int:
    channel = await Channel.inherited()
    try:
        return await serve(channel)
    finally:
        channel.close()


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(asyncio.run(_main()))
