"""Publishing the pool: spools the emulator's own state as sample series on the run's clock.

The hold-down lives in the emulator's memory, where no sampler of kernel state can see it, so it is told here: ports by
state, each port's changes, the accept queue and the open sessions.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from ftpstorm.emulator.server import EmulatorServer
from ftpstorm.records.schema import SAMPLES
from ftpstorm.records.spool import SpoolWriter, TextTable, spool_path
from ftpstorm.vocabulary import Metric, Side

CONTROL: Final = "control"
"""Key of the series that belong to the control port."""


class Publisher:
    """Writes one sample of a server's state for each call of `publish`. Owns the spools `samples` and `texts`."""

    def __init__(self, server: EmulatorServer, folder: Path, writer: str, origin_ns: int) -> None:
        """Create the spools of `writer` in `folder`. Instants are written relative to `origin_ns`, start_at on the
        server's clock.

        Raises OSError when they cannot be created.
        """
        header = {"writer": writer, "origin_ns": origin_ns, "pid": os.getpid()}
        self._server = server
        self._origin_ns = origin_ns
        self._texts = TextTable(folder, writer, header)
        self._samples = SpoolWriter(spool_path(folder, writer, SAMPLES), SAMPLES, header)
        self._samples.first = self._texts.spool

    def publish(self) -> None:
        """Append and flush one sample: every count, and the state of each port that changed since the last sample.

        The first sample holds the state of every port. An accept queue that the kernel does not tell is left out.
        """
        now_ns = self._server.clock()
        t_ns = now_ns - self._origin_ns
        pool = self._server.pool
        for state, count in pool.counts(now_ns).items():
            self._append(t_ns, Metric.POOL, state.word, count)
        for port, state in pool.take_changes(now_ns).items():
            self._append(t_ns, Metric.POOL_PORT, str(port), state)
        self._append(t_ns, Metric.SERVER_SESSIONS, CONTROL, self._server.sessions)
        queue = self._server.accept_queue
        if queue is not None:
            self._append(t_ns, Metric.ACCEPT_QUEUE, CONTROL, queue)
        # Texts first: a killed run must not leave samples of a series that nothing names.
        self._texts.flush()
        self._samples.flush()

    def close(self) -> None:
        """Flush and close the spools; closing twice is allowed."""
        self._texts.close()
        self._samples.close()

    def _append(self, t_ns: int, metric: Metric, key: str, value: float) -> None:
        self._samples.append(t_ns, self._texts.intern_series(Side.SERVER, metric, key), value)
