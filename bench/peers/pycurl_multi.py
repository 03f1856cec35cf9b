"""libcurl's multi interface through pycurl, its sockets in an epoll: the way that scales past select's 1,024.

libcurl sends PWD after the login and SIZE before RETR; it keeps one control connection for each handle (retr, stor) or
makes one for each transfer (full, burst), and says QUIT when it closes one.
"""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from typing import Final

import pycurl

from bench.job import HOST, PASSWORD, USER, Job, Measured, answer, read_job

BLOCK: Final = 262_144
ZEROS: Final = bytes(2 * 1024 * 1024)
FINISHED_AT_ONCE: Final = 64


class Downloads:
    """Counts what the transfers write, for all handles together."""

    def __init__(self) -> None:
        self.bytes = 0

    def write(self, block: bytes) -> None:
        """Take one block; libcurl reads None as `all of it`."""
        self.bytes += len(block)


class Upload:
    """Feeds one transfer `left` bytes."""

    def __init__(self, left: int) -> None:
        self._left = left

    def read(self, size: int) -> bytes:
        """Return the next block, b"" at the end."""
        take = min(size, self._left, len(ZEROS))
        self._left -= take
        return ZEROS[:take]


class Multi:
    """A CurlMulti driven by socket_action."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.downloads = Downloads()
        self.ops = 0
        self._epoll = select.epoll()
        self._watched: set[int] = set()
        self._due: float | None = None
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_socket)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timer)
        self._multi.setopt(pycurl.M_MAXCONNECTS, max(16, job.sessions))
        self._left: dict[pycurl.Curl, Iterator[int]] = {}

    def _on_socket(self, event: int, fd: int, multi: pycurl.CurlMulti, data: object) -> None:
        if event == pycurl.POLL_REMOVE:
            if fd in self._watched:
                self._watched.discard(fd)
                try:
                    self._epoll.unregister(fd)
                except OSError:
                    return  # libcurl has closed it already, and the kernel forgot it then
            return
        mask = (select.EPOLLIN if event & pycurl.POLL_IN else 0) | (select.EPOLLOUT if event & pycurl.POLL_OUT else 0)
        if fd in self._watched:
            try:
                self._epoll.modify(fd, mask)
                return
            except FileNotFoundError:
                pass  # a new socket under an old number
        self._epoll.register(fd, mask)
        self._watched.add(fd)

    def _on_timer(self, timeout_ms: int) -> None:
        self._due = None if timeout_ms < 0 else time.monotonic() + timeout_ms / 1000

    def _handle(self, left: Iterator[int]) -> None:
        job = self.job
        handle = pycurl.Curl()
        handle.setopt(pycurl.URL, f"ftp://{HOST}:{job.port}/" + ("" if job.workload == "burst" else job.file))
        handle.setopt(pycurl.USERPWD, f"{USER}:{PASSWORD}")
        handle.setopt(pycurl.FTP_FILEMETHOD, pycurl.FTPMETHOD_NOCWD)
        handle.setopt(pycurl.NOSIGNAL, 1)
        handle.setopt(pycurl.BUFFERSIZE, BLOCK)
        handle.setopt(pycurl.WRITEFUNCTION, self.downloads.write)
        if job.ca_file is not None:
            handle.setopt(pycurl.USE_SSL, pycurl.USESSL_ALL)
            handle.setopt(pycurl.CAINFO, job.ca_file)
        if job.workload in ("full", "burst"):
            handle.setopt(pycurl.FRESH_CONNECT, 1)
            handle.setopt(pycurl.FORBID_REUSE, 1)
        self._left[handle] = left
        self._begin(handle)

    def _begin(self, handle: pycurl.Curl) -> None:
        if next(self._left[handle], None) is None:
            return
        if self.job.workload == "stor":
            handle.setopt(pycurl.UPLOAD, 1)
            handle.setopt(pycurl.UPLOAD_BUFFERSIZE, len(ZEROS))
            handle.setopt(pycurl.INFILESIZE_LARGE, self.job.size)
            handle.setopt(pycurl.READFUNCTION, Upload(self.job.size).read)
        self._multi.add_handle(handle)

    def _collect(self) -> None:
        while True:
            queued, done, failed = self._multi.info_read(FINISHED_AT_ONCE)
            if failed:
                raise SystemExit(f"a transfer failed: {failed[0][1:]}")
            for handle in done:
                self.ops += 1
                self._multi.remove_handle(handle)
                self._begin(handle)
            if not queued:
                return

    def run(self) -> None:
        """Do the whole job."""
        job = self.job
        numbers = iter(range(job.operations))
        at_once = job.operations if job.workload == "burst" else job.sessions
        for number in range(at_once):
            self._handle(iter(range(job.shares[number])) if job.workload in ("retr", "stor") else numbers)
        act = self._multi.socket_action
        act(pycurl.SOCKET_TIMEOUT, 0)
        while self.ops < job.operations:
            wait = 1.0 if self._due is None else max(0.0, self._due - time.monotonic())
            for fd, events in self._epoll.poll(wait, FINISHED_AT_ONCE):
                ready = pycurl.CSELECT_IN if events & (select.EPOLLIN | select.EPOLLHUP) else 0
                ready |= pycurl.CSELECT_OUT if events & select.EPOLLOUT else 0
                ready |= pycurl.CSELECT_ERR if events & select.EPOLLERR else 0
                act(fd, ready)
            if self._due is not None and time.monotonic() >= self._due:
                self._due = None
                act(pycurl.SOCKET_TIMEOUT, 0)
            self._collect()
        self._multi.close()


def main() -> None:
    """Run one job and print the answer."""
    job = read_job(("retr", "stor", "full", "burst"))
    multi = Multi(job)
    with Measured() as measured:
        multi.run()
    answer(job, measured, ops=multi.ops, size=None if job.workload == "stor" else multi.downloads.bytes)


if __name__ == "__main__":
    main()
