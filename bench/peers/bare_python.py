"""What Python itself costs: one epoll, a generator for each session, and the C client's system calls, no more.

It stamps nothing and records nothing, has no deadlines, failure classes or fallbacks, and ends with a traceback where
a server says anything that the sink does not say. From the C client to here it is the interpreter that costs; from here
to the engine it is what the engine does.
"""

from __future__ import annotations

import select
from _socket import socket as Socket  # noqa: N812 - half the cost of socket.socket to make and close
from collections.abc import Generator, Iterator
from socket import AF_INET, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM
from typing import Final

from bench.job import HOST, PASSWORD, USER, Job, Measured, answer, read_job

STREAM: Final = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC
WATCHED: Final = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
PEER_CLOSED: Final = select.EPOLLRDHUP | select.EPOLLHUP
BUFFER: Final = memoryview(bytearray(262_144))
EVENTS_MAX: Final = 64
LOGIN: Final = (f"USER {USER}\r\n".encode(), f"PASS {PASSWORD}\r\n".encode(), b"TYPE I\r\n")

Script = Generator[None, tuple[int, int], None]
"""A session: is sent the descriptor and the events of each event that is its own."""


class Client:
    """All sessions of a job, and what they have done."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.epoll = select.epoll()
        self.scripts: dict[int, Script] = {}
        self.ops = self.bytes = 0

    def run(self, shares: list[int]) -> None:
        """Do sessions of so many transfers each, `job.sessions` at a time."""
        waiting = iter(shares)
        slots = [_Slot(self, waiting) for _ in range(self.job.sessions)]
        for slot in slots:
            slot.script.send(None)
        poll, scripts = self.epoll.poll, self.scripts
        left = len(slots)
        while left:
            for event in poll(-1, EVENTS_MAX):
                script = scripts.get(event[0])
                if script is not None:
                    try:
                        script.send(event)
                    except StopIteration:
                        left -= 1


class _Slot:
    """One session after another."""

    def __init__(self, client: Client, waiting: Iterator[int]) -> None:
        self._client = client
        self.script = self._run(waiting)

    def _connect(self, port: int) -> Socket:
        sock = Socket(AF_INET, STREAM, 0)
        sock.connect_ex((HOST, port))
        fd = sock.fileno()
        self._client.scripts[fd] = self.script
        self._client.epoll.register(fd, WATCHED)
        return sock

    def _run(self, waiting: Iterator[int]) -> Script:  # noqa: C901 - each generator more would cost at each event
        client = self._client
        scripts = client.scripts
        retr = f"RETR {client.job.file}\r\n".encode()
        for share in waiting:
            control = self._connect(client.job.port)
            yield from self._reply(control)
            for command in LOGIN:
                control.send(command)
                yield from self._reply(control)
            for _ in range(share):
                control.send(b"EPSV\r\n")
                while True:
                    yield
                    try:
                        said = control.recv(448)
                        break
                    except BlockingIOError:
                        continue
                data = self._connect(int(said[said.index(b"|||") + 3 : -4]))
                data_fd = data.fileno()
                while (yield)[0] != data_fd:
                    pass
                control.send(retr)
                moved, final = -1, False
                while moved < 0 or not final:
                    fd, events = yield
                    if fd != data_fd:
                        try:
                            final = b"226 " in control.recv(448) or final
                        except BlockingIOError:
                            continue
                    elif events & PEER_CLOSED:
                        moved = 0
                        while size := data.recv_into(BUFFER):
                            moved += size
                            if size < len(BUFFER):
                                break
                        del scripts[data_fd]
                        data.close()
                client.bytes += moved
                client.ops += 1
            control.send(b"QUIT\r\n")
            while not (yield)[1] & PEER_CLOSED:
                pass
            del scripts[control.fileno()]
            control.close()

    @staticmethod
    def _reply(control: Socket) -> Script:
        while True:
            yield
            try:
                control.recv(448)
            except BlockingIOError:
                continue
            return


def main() -> None:
    """Do the job."""
    job = read_job(("retr", "full"))
    client = Client(job)
    with Measured() as measured:
        client.run(job.shares if job.workload == "retr" else [1] * job.operations)
    answer(job, measured, ops=client.ops, size=client.bytes)


if __name__ == "__main__":
    main()
