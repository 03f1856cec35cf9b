"""The standard library's ftplib, one thread a session. It sends TYPE before each transfer, and PASV on IPv4."""

from __future__ import annotations

import ftplib
import threading
from collections.abc import Iterator
from typing import Final

from bench.job import HOST, PASSWORD, USER, Job, Measured, answer, read_job

BLOCK: Final = 262_144
STACK_BYTES: Final = 256 * 1024
"""Enough for ftplib; 1,500 threads with the default of 8 MiB would only waste address space."""


class Zeros:
    """A file of `left` zero bytes, for storbinary."""

    def __init__(self, left: int) -> None:
        self._left = left

    def read(self, size: int) -> bytes:
        """Return the next block, b"" at the end."""
        take = min(size, self._left)
        self._left -= take
        return BLOCK_OF_ZEROS[:take]


BLOCK_OF_ZEROS: Final = bytes(BLOCK)


class Workers:
    """The sessions' threads and what they did; a lock only where a thread ends."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.ops = 0
        self.bytes = 0
        self._lock = threading.Lock()
        self._numbers: Iterator[int] = iter(range(job.operations))

    def _log_in(self) -> ftplib.FTP:
        client = ftplib.FTP()  # noqa: S321 - FTP is what is measured
        client.connect(HOST, self.job.port)
        client.login(USER, PASSWORD)
        return client

    def _count(self, ops: int, size: int) -> None:
        with self._lock:
            self.ops += ops
            self.bytes += size

    def _download(self, client: ftplib.FTP, command: str) -> int:
        sizes: list[int] = []
        client.retrbinary(command, lambda block: sizes.append(len(block)), BLOCK)
        return sum(sizes)

    def one_connection(self, share: int) -> None:
        """Move `share` files over one control connection."""
        client, size = self._log_in(), 0
        for _ in range(share):
            if self.job.workload == "stor":
                client.storbinary(f"STOR {self.job.file}", Zeros(self.job.size), BLOCK)  # type: ignore[arg-type]
                size += self.job.size
            else:
                size += self._download(client, f"RETR {self.job.file}")
        client.quit()
        self._count(share, size)

    def whole_sessions(self) -> None:
        """Do whole sessions of one transfer until none is left."""
        command = "LIST" if self.job.workload == "burst" else f"RETR {self.job.file}"
        ops = size = 0
        while True:
            with self._lock:
                if next(self._numbers, None) is None:
                    break
            client = self._log_in()
            size += self._download(client, command)
            client.quit()
            ops += 1
        self._count(ops, size)

    def run(self) -> None:
        """Do the whole job."""
        job = self.job
        if job.workload in ("retr", "stor"):
            threads = [threading.Thread(target=self.one_connection, args=(share,)) for share in job.shares]
        else:
            at_once = job.operations if job.workload == "burst" else job.sessions
            threads = [threading.Thread(target=self.whole_sessions) for _ in range(at_once)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def main() -> None:
    """Run one job and print the answer."""
    job = read_job(("retr", "stor", "full", "burst"))
    threading.stack_size(STACK_BYTES)
    workers = Workers(job)
    with Measured() as measured:
        workers.run()
    answer(job, measured, ops=workers.ops, size=workers.bytes)


if __name__ == "__main__":
    main()
