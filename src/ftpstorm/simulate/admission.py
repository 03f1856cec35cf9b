"""The way of a simulated session to its greeting: router, accept queue, the server's cap.

Each function is a generator that yields the instants at which it touches what others share, and tells whether the
session goes on. Whoever is turned away has its first failure set.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Final

from ftpstorm.limits.backlog import SYN_RETRIES_S
from ftpstorm.records.schema import ABSENT
from ftpstorm.simulate.pool import Places
from ftpstorm.simulate.serving import ECONNRESET
from ftpstorm.simulate.way import ECONNREFUSED
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import FailureClass, Phase, Side

if TYPE_CHECKING:
    from ftpstorm.simulate.session import Session

Going = Generator[int, None, bool]

_RETRIES_NS: Final = tuple(after * NS_PER_S for after in SYN_RETRIES_S)


def admit(session: Session) -> Going:
    """Take a session from its connect to where the server greets it; its `now` and `connected_ns` are set."""
    world = session.world
    start = session.now
    if world.per_address is not None and not _counted(session, world.per_address[session.number % world.sources]):
        return False
    if world.nat is not None:
        nat = world.nat[session.number // world.sources % world.targets]
        if not (yield from _try(session, start, nat.take)):
            return False
        session.hold(nat, world.nat_hold_ns)
    session.connected_ns = session.now = session.now + world.service.connect_ns
    if world.queue is not None and not (yield from _queue(session)):
        return False
    if world.cap is None:
        return True
    if world.queue is None:
        yield session.now
    return _capped(session, world.cap)


def _counted(session: Session, places: Places) -> bool:
    """Pass a filter that counts the connections of an address; one more is answered with RST."""
    if places.take(session.now):
        session.hold(places)
        return True
    session.now += session.world.service.connect_ns
    session.connected_ns, session.keeper = ABSENT, None
    session.first = (FailureClass.CONTROL_CONNECT_REFUSED, Phase.CONTROL_CONNECT, 0, 0, ECONNREFUSED, 0)
    return False


def _try(session: Session, start: int, take: Callable[[int], bool]) -> Going:
    """Send SYN, and again when no answer comes, until `take(instant)` succeeds or the client's patience is over."""
    deadline = start + session.world.timeouts.connect
    for after in (0, *_RETRIES_NS):
        at = start + after
        if at > min(deadline, session.load.cut_ns):
            break
        if after:
            yield at
        if take(at):
            session.now = at
            return True
    session.connected_ns, session.keeper = ABSENT, None
    if deadline > session.load.cut_ns:
        session.interrupt()
    else:
        session.now = deadline
        session.first = (FailureClass.CONTROL_CONNECT_TIMEOUT, Phase.CONTROL_CONNECT, 0, 0, 0, 0)
    return False


def _queue(session: Session) -> Going:
    """Wait in the accept queue. A full one leaves the client unheard, resets it, or lets its SYNs go unanswered."""
    world = session.world
    queue, deadline = world.queue, session.connected_ns + world.timeouts.greeting
    assert queue is not None
    accepted: int | None = queue.join(session.connected_ns)
    if accepted is None and world.overflow == "retries":
        joined: list[int] = []

        def again(at: int) -> bool:
            found = queue.join(at)
            joined.extend(() if found is None else (found,))
            return found is not None

        if not (yield from _try(session, session.connected_ns, again)):
            return False
        session.connected_ns, accepted = session.now, joined[0]
        deadline = session.connected_ns + world.timeouts.greeting
    elif accepted is None and world.overflow == "resets":
        session.keeper = None
        session.first = (FailureClass.GREETING_RESET, Phase.GREETING, 0, 0, ECONNRESET, 0)
        return False
    if accepted is None:
        session.keeper = None  # nobody at the other end hears of its close
    if accepted is None or accepted > deadline:
        session.stay_unheard(deadline)
        return False
    if accepted > session.load.cut_ns:
        session.interrupt()
        return False
    session.now = accepted
    yield accepted
    return True


def _capped(session: Session, cap: Places) -> bool:
    """Pass the server's cap on sessions."""
    most = session.world.serving.greeting_cap
    assert most is not None
    if cap.take(session.now):
        session.hold(cap)
        return True
    session.now += session.world.service.reply_ns
    session.keeper = None if most.reset else Side.SERVER
    session.first = most.failure
    return False
