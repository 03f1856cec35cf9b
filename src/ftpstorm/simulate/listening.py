"""A listening socket of Linux under a burst: requests, accept queue, SYN cookies, and who is left outside.

Two queues, both as long as the backlog B of listen(2), and each holds B + 1 (net/ipv4/tcp_input.c, tcp_conn_request;
net/ipv4/tcp_minisocks.c, tcp_check_req). A SYN is judged by both:

* more than B requests (handshakes not yet done) wait: with SYN cookies the SYN is answered and nothing is kept of it,
  without them it is dropped;
* the accept queue is full: it is dropped, cookies or not.

The ACK that ends the handshake finds room in the accept queue, or it does not. Then a connection by cookie is a ghost:
its client is connected and the server knows nothing of it. One of a request is reset with tcp_abort_on_overflow, else
the server goes on repeating its SYN-ACK, and each answer is another try.

So ghosts need handshakes that overlap. On a wire without delay each is done before the next SYN comes: SYNs are
dropped, and the first ghosts come when these are repeated, all at once, a second later. What tcp_max_syn_backlog
refuses besides is left out.
"""

from __future__ import annotations

from collections import deque
from enum import Enum


class Answer(Enum):
    """What a SYN gets."""

    DROPPED = "dropped"
    REQUEST = "request"
    COOKIE = "cookie"


class Listener:
    """A listener whose program accepts evenly spaced connections, and both of its queues."""

    __slots__ = ("_backlog", "_cookies", "_interval_ns", "_next_ns", "_requests", "_waiting", "abort", "ghosts")

    def __init__(self, interval_ns: int, backlog: int, *, cookies: bool = True, abort: bool = False) -> None:
        """Make a listener that accepts one connection each `interval_ns`. `backlog` is cut to somaxconn already."""
        self._interval_ns = interval_ns
        self._backlog = backlog
        self._cookies = cookies
        self._requests = 0
        self._next_ns = 0
        self._waiting: deque[int] = deque()
        self.abort = abort
        """tcp_abort_on_overflow: a request whose last ACK finds the accept queue full is reset."""
        self.ghosts = 0
        """Connections by cookie that found it full."""

    def syn(self, now_ns: int) -> Answer:
        """Return what a SYN that arrives now gets. One that makes a request must be followed by `ack`."""
        crowded = self._requests > self._backlog
        if (crowded and not self._cookies) or not self._room(now_ns):
            return Answer.DROPPED
        if crowded:
            return Answer.COOKIE
        self._requests += 1
        return Answer.REQUEST

    def ack(self, answer: Answer, now_ns: int) -> int | None:
        """Return when the connection is accepted whose handshake ends now; None where the queue has no room for it.

        Without room a request stays one, unless `abort`; call `ack` again when the server repeated its SYN-ACK.
        """
        room = self._room(now_ns)
        if answer is Answer.REQUEST and (room or self.abort):
            self._requests -= 1
        if not room:
            self.ghosts += answer is Answer.COOKIE
            return None
        accepted_ns = max(now_ns, self._next_ns)
        self._next_ns = accepted_ns + self._interval_ns
        self._waiting.append(accepted_ns)
        return accepted_ns

    def _room(self, now_ns: int) -> bool:
        waiting = self._waiting
        while waiting and waiting[0] <= now_ns:
            waiting.popleft()
        return len(waiting) <= self._backlog
