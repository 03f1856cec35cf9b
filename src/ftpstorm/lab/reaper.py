"""The process that gives a run's hosts a shorter TIME_WAIT: role `time-wait`, a child of the conductor.

hello, ready, start_at, finish, done (ARCHITECTURE.md, Messages); EOF on the channel ends it at once. What it does to a
host is `ftpstorm.lab.timewait`; here is only the pace: as seldom as it can, as often as it must.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

from ftpstorm.channel import Channel
from ftpstorm.clock import monotonic_ns
from ftpstorm.errors import EnvironmentUnavailableError, ExitCode
from ftpstorm.lab.timewait import Reaper, require_support
from ftpstorm.sampler.netns import call_inside
from ftpstorm.sampler.sockdiag import open_socket
from ftpstorm.units import NS_PER_MS, NS_PER_S

DUMP_EVERY_NS: Final = 250 * NS_PER_MS
"""Longest time between two dumps."""
DUMPS_EACH: Final = 3
"""Dumps in one TIME_WAIT at least, so that each socket is seen before it is due."""
PRECISION: Final = 200
"""A pass follows another no sooner than this part of the TIME_WAIT: so late a socket may be, half a percent."""
COST_SHARE: Final = 2
"""Between two dumps lies at least so many times what the last one cost: a big table does not eat a core."""


@dataclass(slots=True)
class _Watch:
    """One host and what was done there."""

    name: str
    reaper: Reaper
    time_wait_ns: int
    due_ns: int = 0
    dump_due_ns: int = 0
    passes: int = 0
    destroyed: int = 0
    seen_max: int = 0
    late_max_ns: int = 0
    cpu_ns: int = 0

    def take(self) -> None:
        """Make one pass, with a dump where it is time for one, and plan the next."""
        cpu_before = time.thread_time_ns()
        dumping = monotonic_ns() >= self.dump_due_ns
        sweep = self.reaper.sweep() if dumping else self.reaper.end_due()
        cost_ns = time.thread_time_ns() - cpu_before
        now_ns = monotonic_ns()
        if dumping:
            self.dump_due_ns = now_ns + max(min(DUMP_EVERY_NS, self.time_wait_ns // DUMPS_EACH), COST_SHARE * cost_ns)
        self.passes += 1
        self.destroyed += sweep.destroyed
        self.seen_max = max(self.seen_max, sweep.seen)
        self.late_max_ns = max(self.late_max_ns, sweep.latest_ns)
        self.cpu_ns += cost_ns
        next_ns = self.reaper.next_due_ns
        soonest_ns = now_ns + self.time_wait_ns // PRECISION
        self.due_ns = self.dump_due_ns if next_ns is None else max(soonest_ns, min(self.dump_due_ns, next_ns))

    def counts(self) -> dict[str, Any]:
        return {
            "time_wait_s": self.time_wait_ns / NS_PER_S,
            "passes": self.passes,
            "destroyed": self.destroyed,
            "seen_max": self.seen_max,
            "late_max_s": self.late_max_ns / NS_PER_S,
            "cpu_s": round(self.cpu_ns / NS_PER_S, 6),
        }


def _open(fields: dict[str, Any], stack: ExitStack) -> _Watch:
    netns, time_wait_ns = int(fields["netns"]), int(fields["time_wait_ns"])
    call_inside(netns, require_support)
    reaper = Reaper(time_wait_ns, lambda: call_inside(netns, open_socket))
    return _Watch(str(fields["name"]), stack.enter_context(reaper), time_wait_ns)


async def _reap(watches: Sequence[_Watch], finished: asyncio.Future[bool]) -> None:
    while not finished.done():
        for watch in watches:
            if watch.due_ns <= monotonic_ns():
                watch.take()
        left_ns = min(watch.due_ns for watch in watches) - monotonic_ns()
        await asyncio.wait((finished,), timeout=max(0, left_ns) / NS_PER_S)


async def _obey(channel: Channel) -> bool:
    """Read messages until `finish` (True) or EOF (False)."""
    while (message := await channel.receive()) is not None:
        if message["type"] == "finish":
            return True
    return False


async def serve(channel: Channel) -> int:
    """Hold the whole conversation over `channel`; return the exit status, 0 also after EOF."""
    with ExitStack() as stack:
        try:
            hello = await channel.receive()
            if hello is None:
                return 0
            watches = [_open(fields, stack) for fields in hello["hosts"]]
            gc.collect()
            gc.freeze()
            channel.send("ready", pid=os.getpid())
            orders = asyncio.ensure_future(_obey(channel))
            cpu_before = time.process_time()
            await _reap(watches, orders)
            if orders.result():
                hosts = {watch.name: watch.counts() for watch in watches}
                channel.send("done", counts={"hosts": hosts, "cpu_s": round(time.process_time() - cpu_before, 6)})
        except EnvironmentUnavailableError as error:
            channel.send("error", message=str(error))
            return ExitCode.ENVIRONMENT
        except (OSError, ValueError, KeyError) as error:
            channel.send("error", message=f"{type(error).__name__}: {error}")
            return ExitCode.INTERNAL_ERROR
        finally:
            await channel.drain()
    return 0


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
