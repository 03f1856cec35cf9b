"""The data connections of a simulated session: through a passive port, to a port of the client's, or into a filter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ftpstorm.limits.ports import EADDRINUSE
from ftpstorm.records.schema import ABSENT
from ftpstorm.simulate.pool import NEVER_NS
from ftpstorm.simulate.serving import Failure
from ftpstorm.simulate.stages import Stage
from ftpstorm.simulate.world import CLIENT, SERVER
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import FailureClass, Outcome, Phase

if TYPE_CHECKING:
    from ftpstorm.simulate.session import Session

ESCAPED: Final[Failure] = (FailureClass.PASSIVE_OUT_OF_RANGE, Phase.PASSIVE, 1, 0, 0, 0)

Data = tuple[int, int, int, int, int, int, int, int]
"""Passive port, local port, bytes, and the stamps: start, passive reply, connected, first byte, end of data."""

NO_BACKEND: Final[Failure] = (FailureClass.TRANSFER_ABORTED, Phase.FIRST_BYTE, 1, 451, 0, 0)
"""A front end without a local port towards its back end refuses the transfer."""
STILL_IN_USE: Final[Failure] = (FailureClass.DATA_NOT_ESTABLISHED, Phase.FINAL_REPLY, 1, 425, 0, 0)
"""The session's previous data connection counts as still in use: the server refuses the transfer command."""

SUCCEEDED = int(Outcome.SUCCEEDED)
FAILED = int(Outcome.FAILED)
INTERRUPTED = int(Outcome.INTERRUPTED)


def no_data(start: int) -> Data:
    """Return what a row says of an operation, begun at `start`, that opened no data connection."""
    return 0, 0, 0, start, ABSENT, ABSENT, ABSENT, ABSENT


def filtered(
    session: Session, stage: Stage, ordinal: int, attempt: int, start: int, asked: int, answered: int, port: int
) -> Failure | None:
    """Try to connect to a port that the filter lets nobody to."""
    world = session.world
    failure, after = world.filtered
    given_up = answered + after
    destination = session.destination | port & world.port_mask
    world.close_connection(answered, given_up, None, control=False, destination=destination)
    session.connects += 1
    session.leave_listening(port, asked, min(given_up, session.load.cut_ns))
    data = (port, world.draw_port(), 0, start, answered, ABSENT, ABSENT, ABSENT)
    if given_up > session.load.cut_ns:
        session.interrupted = True
        session.record(stage, ordinal, attempt, INTERRUPTED, None, data)
        return None
    session.record(stage, ordinal, attempt, FAILED, failure, data)
    return failure


def refused_behind(
    session: Session,
    stage: Stage,
    ordinal: int,
    attempt: int,
    start: int,
    asked: int,
    answered: int,
    port: int,
    failure: Failure,
) -> Failure:
    """Connect to the passive port, and be refused the transfer."""
    world = session.world
    connected = answered + world.service.connect_ns
    closed = connected + world.service.reply_ns
    destination = session.destination | port & world.port_mask
    world.close_connection(answered, closed, SERVER, control=False, destination=destination)
    session.connects += 1
    if world.pool is not None and not session.own_port:
        free = world.passive_free_ns(stage, closed, SERVER)
        world.pool.release_at(port, free)
        world.lives.passive_ports.note((asked, closed, free))
    session.now = closed
    data = (port, world.draw_port(), 0, start, answered, connected, ABSENT, ABSENT)
    session.record(stage, ordinal, attempt, FAILED, failure, data)
    return failure


def active(session: Session, stage: Stage, ordinal: int, attempt: int, start: int, answered: int) -> Failure | None:
    """Listen on a port, at `start`, and have the server connect to it."""
    world = session.world
    ports = world.active_ports
    port = world.draw_port() if ports is None else ports.take(start)
    if not port:
        failure = (FailureClass.LOCAL_PORTS_EXHAUSTED, Phase.DATA_CONNECT, 1, 0, EADDRINUSE, 0)
        session.record(stage, ordinal, attempt, FAILED, failure, no_data(start))
        return failure
    return transfer(session, stage, ordinal, attempt, start, start, answered, port)


def transfer(
    session: Session, stage: Stage, ordinal: int, attempt: int, start: int, asked: int, answered: int, port: int
) -> Failure | None:
    """Move the payload. Nothing that others do can change it any more, so it is all decided here.

    `port` is the server's passive port, in active mode the client's own. Returns the failure, if any.
    """
    world = session.world
    service = world.service
    connected = answered + service.connect_ns
    first_byte = world.serve(connected, service.transfer_work_ns) + service.first_byte_ns + world.backend_ns
    size = stage.moved_bytes(session.number + ordinal)
    data_end = closed = first_byte + service.payload_ns(size)
    end = data_end + service.final_reply_ns
    outcome, moved, keeper = SUCCEEDED, size, stage.keeper
    cut = session.load.cut_ns
    if end > cut:
        outcome, end = INTERRUPTED, cut
        session.interrupted = True
        if data_end > cut:
            closed, data_end, keeper = cut, ABSENT, CLIENT  # gives up in the middle and closes
            moved = max(0, cut - first_byte) * service.bytes_per_s // NS_PER_S
        connected = connected if connected <= cut else ABSENT
        first_byte = first_byte if first_byte <= cut else ABSENT
    session.bytes += moved
    session.now = end
    if stage.active:
        port_free = world.close_connection(answered, closed, keeper, control=False, bound_ns=asked)
        if world.active_ports is not None:
            world.active_ports.release_at(port, port_free)
        data = (0, port, moved, start, answered, connected, first_byte, data_end)
        session.record(stage, ordinal, attempt, outcome, None, data)
        return None
    session.connects += 1
    destination = session.destination | port & world.port_mask
    world.close_connection(answered, closed, keeper, control=False, destination=destination)
    if world.backend_ports is not None:
        # The front end closes first: the TIME_WAIT lies on the server's own port.
        world.backend_ports.release_at(world.server.outgoing_end_ns(first_byte))
        world.lives.server_data_time_wait.note((first_byte, world.server.time_wait.end_ns(first_byte)))
    if world.pool is not None and not session.own_port:
        if keeper is CLIENT and world.leak_every and world.leaks():
            free = NEVER_NS
            world.lives.server_close_wait.note((closed, free))
        else:
            free = world.passive_free_ns(stage, closed, keeper)
        world.pool.release_at(port, free)
        world.lives.passive_ports.note((asked, closed, free))
    failure = None
    if world.escaped is not None and port in world.escaped and outcome == SUCCEEDED:
        outcome, failure = FAILED, ESCAPED
    data = (port, world.draw_port(), moved, start, answered, connected, first_byte, data_end)
    session.record(stage, ordinal, attempt, outcome, failure, data)
    return failure
