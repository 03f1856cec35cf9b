"""Locust with ftplib: the way a Locust user tests FTP, one greenlet a user, each transfer reported as an event."""

from __future__ import annotations

import time
from collections.abc import Iterator

# Locust patches the standard library for gevent when it is imported: it comes before everything that makes sockets.
from locust import User, constant, task
from locust.env import Environment
from locust.exception import StopUser

from bench.job import HOST, PASSWORD, USER, Job, Measured, answer, read_job  # isort: skip
import ftplib  # isort: skip

import gevent.event  # isort: skip

BLOCK = 262_144


class FtpUser(User):  # type: ignore[misc]
    """One user: a share of the transfers on one control connection (retr), or whole sessions (full)."""

    wait_time = constant(0)
    job: Job
    numbers: Iterator[int]
    shares: Iterator[int]
    left_users: int
    bytes = 0
    all_done: gevent.event.Event

    def on_start(self) -> None:
        """Log in where the connection is kept."""
        self.client: ftplib.FTP | None = None
        if self.job.workload == "retr":
            self.client = self._log_in()
            self.share = next(type(self).shares)

    def _log_in(self) -> ftplib.FTP:
        client = ftplib.FTP()  # noqa: S321 - FTP is what is measured
        client.connect(HOST, self.job.port)
        client.login(USER, PASSWORD)
        return client

    def _leave(self) -> None:
        if self.client is not None:
            self.client.quit()
        kind = type(self)
        kind.left_users -= 1
        if not kind.left_users:
            kind.all_done.set()
        raise StopUser

    @task
    def transfer(self) -> None:
        """Do one operation and report it, as Locust's own clients do."""
        if self.client is not None:
            if not self.share:
                self._leave()
            self.share -= 1
        elif next(type(self).numbers, None) is None:
            self._leave()
        start = time.perf_counter()
        sizes: list[int] = []
        client = self.client or self._log_in()
        client.retrbinary(f"RETR {self.job.file}", lambda block: sizes.append(len(block)), BLOCK)
        if self.client is None:
            client.quit()
        self.environment.events.request.fire(
            request_type="FTP",
            name="retr",
            response_time=(time.perf_counter() - start) * 1000,
            response_length=sum(sizes),
            exception=None,
            context={},
        )


def main() -> None:
    """Run one job and print the answer."""
    job = read_job(("retr", "full"))
    FtpUser.job = job
    FtpUser.numbers = iter(range(job.operations))
    FtpUser.shares = iter(job.shares)
    FtpUser.left_users = job.sessions
    FtpUser.all_done = gevent.event.Event()
    environment = Environment(user_classes=[FtpUser])
    runner = environment.create_local_runner()
    with Measured() as measured:
        runner.start(job.sessions, spawn_rate=job.sessions)
        FtpUser.all_done.wait()
    total = environment.stats.total
    ops, size = total.num_requests - total.num_failures, total.total_content_length
    runner.quit()
    answer(job, measured, ops=ops, size=size)


if __name__ == "__main__":
    main()
