"""The way of a simulated session to its greeting: router, the listener's queues, the server's cap.

Each function is a generator that yields the instants at which it touches what others share, and tells whether the
session goes on. Whoever is turned away has its first failure set.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Final

from ftpstorm.limits.backlog import SYN_ACK_REPEATS_S
from ftpstorm.records.schema import ABSENT
from ftpstorm.simulate.listening import Answer
from ftpstorm.simulate.pool import Places
from ftpstorm.simulate.serving import ECONNRESET
from ftpstorm.simulate.way import ECONNREFUSED
from ftpstorm.units import NS_PER_MS, NS_PER_S
from ftpstorm.vocabulary import FailureClass, Phase, Side

if TYPE_CHECKING:
    from ftpstorm.simulate.session import Session

TIMER_STEP_NS: Final = 32 * NS_PER_MS
"""Linux lets timers of a second go in groups so far apart, each a little late: 8 jiffies at 250 Hz
(kernel/time/timer.c, those of 64 to 511 jiffies). So SYNs that were sent one after the other are repeated many at
once."""

Going = Generator[int, None, bool]

_SYN_ACKS_NS: Final = tuple(after * NS_PER_S for after in SYN_ACK_REPEATS_S)


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
    if world.listener is not None:
        if not (yield from _queue(session)):
            return False
    else:
        session.connected_ns = session.now = session.now + world.service.connect_ns
    if world.cap is None:
        return True
    if world.listener is None:
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
    for after in (0, *session.world.client.syn_repeats_ns):
        at = start + after if not after else -(-(start + after) // TIMER_STEP_NS) * TIMER_STEP_NS
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
    """Get through the handshake and wait in the accept queue, or be dropped, reset or forgotten."""
    world, start = session.world, session.now
    listener, trip = world.listener, world.service.connect_ns
    assert listener is not None
    got: list[Answer] = []

    def send(at: int) -> bool:
        got.append(listener.syn(at))
        return got[-1] is not Answer.DROPPED

    if not (yield from _try(session, start, send)):
        return False
    # On a wire without delay connect(2) comes back with the handshake done. Repeated SYNs go out in one run of the
    # kernel's timers, before it reads any answer.
    sent, together = session.now, world.trip_ns > 0 or session.now > start
    session.connected_ns = sent + trip
    deadline = session.connected_ns + world.timeouts.greeting
    if together:
        yield session.connected_ns
    session.now = session.connected_ns
    accepted = listener.ack(got[-1], session.connected_ns if together else sent)
    if accepted is None and got[-1] is Answer.REQUEST:
        if listener.abort:
            session.keeper = None
            session.first = (FailureClass.GREETING_RESET, Phase.GREETING, 0, 0, ECONNRESET, 0)
            return False
        for after in _SYN_ACKS_NS:
            if (at := sent + after + trip) > min(deadline, session.load.cut_ns):
                break
            yield at
            if (accepted := listener.ack(got[-1], at)) is not None:
                break
    if accepted is None:
        session.keeper = None  # nobody at the other end hears of its close
    if accepted is None or accepted > deadline:
        session.stay_unheard(deadline)
        return False
    if accepted > session.load.cut_ns:
        session.interrupt()
        return False
    session.now = max(accepted, session.connected_ns)
    yield session.now
    return True


def _capped(session: Session, cap: Places) -> bool:
    """Pass the server's cap on sessions."""
    most = session.world.serving.greeting_cap
    assert most is not None
    if cap.take(session.now):
        session.hold(cap, of_server=True)
        return True
    session.now += session.world.service.reply_ns
    session.keeper = None if most.reset else Side.SERVER
    session.first = most.failure
    return False
