"""The data connections of a simulated session: through a passive port, to a port of the client's, or into a filter."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Final

from ftpstorm.limits.ports import EADDRINUSE
from ftpstorm.records.schema import ABSENT
from ftpstorm.simulate.pool import NEVER_NS
from ftpstorm.simulate.serving import Failure
from ftpstorm.simulate.stages import Stage
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import FailureClass, Outcome, Phase, Side

if TYPE_CHECKING:
    from ftpstorm.simulate.session import Session

ESCAPED: Final[Failure] = (FailureClass.PASSIVE_OUT_OF_RANGE, Phase.PASSIVE, 1, 0, 0, 0)

Data = tuple[int, int, int, int, int, int, int]
"""Passive port, local port, bytes, and the stamps: passive reply, connected, first byte, end of data."""
NO_DATA: Final[Data] = (0, 0, 0, ABSENT, ABSENT, ABSENT, ABSENT)

NO_BACKEND: Final[Failure] = (FailureClass.TRANSFER_ABORTED, Phase.FIRST_BYTE, 1, 451, 0, 0)
"""A front end without a local port towards its back end refuses the transfer."""
STILL_IN_USE: Final[Failure] = (FailureClass.DATA_NOT_ESTABLISHED, Phase.FINAL_REPLY, 1, 425, 0, 0)
"""The session's previous data connection counts as still in use: the server refuses the transfer command."""

SUCCEEDED = int(Outcome.SUCCEEDED)
FAILED = int(Outcome.FAILED)
INTERRUPTED = int(Outcome.INTERRUPTED)


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
    stamps = (port, world.draw_port(), 0, answered, ABSENT, ABSENT, ABSENT)
    if given_up > session.load.cut_ns:
        session.interrupted = True
        session.record(stage, ordinal, attempt, INTERRUPTED, None, start, stamps)
        return None
    session.record(stage, ordinal, attempt, FAILED, failure, start, stamps)
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
    failure: Failure = NO_BACKEND,
) -> Failure:
    """Connect to the passive port, and be refused the transfer: the server has no port towards its back end, or
    `failure` says what else."""
    world = session.world
    connected = answered + world.service.connect_ns
    closed = connected + world.service.reply_ns
    destination = session.destination | port & world.port_mask
    world.close_connection(answered, closed, Side.SERVER, control=False, destination=destination)
    session.connects += 1
    if world.pool is not None and not session.own_port:
        free = world.passive_free_ns(stage, closed, Side.SERVER)
        world.pool.release_at(port, free)
        world.occupancies.passive_pool.add(asked, free)
        world.occupancies.passive_in_use.add(asked, closed)
    session.now = closed
    stamps = (port, world.draw_port(), 0, answered, connected, ABSENT, ABSENT)
    session.record(stage, ordinal, attempt, FAILED, failure, start, stamps)
    return failure


def active(
    session: Session, stage: Stage, ordinal: int, attempt: int, start: int, answered: int
) -> Generator[int, None, Failure | None]:
    """Listen on a port and have the server connect to it."""
    world = session.world
    ports = world.active_ports
    yield start
    port = world.draw_port() if ports is None else ports.take(start)
    if not port:
        failure = (FailureClass.LOCAL_PORTS_EXHAUSTED, Phase.DATA_CONNECT, 1, 0, EADDRINUSE, 0)
        session.record(stage, ordinal, attempt, FAILED, failure, start)
        return failure
    transfer(session, stage, ordinal, attempt, start, start, answered, port)
    return None


def transfer(
    session: Session, stage: Stage, ordinal: int, attempt: int, start: int, asked: int, answered: int, port: int
) -> None:
    """Move the payload. Nothing that others do can change it any more, so it is all decided here.

    `port` is the server's passive port, in active mode the client's own.
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
            closed, data_end, keeper = cut, ABSENT, Side.CLIENT  # gives up in the middle and closes
            moved = max(0, cut - first_byte) * service.bytes_per_s // NS_PER_S
        connected = connected if connected <= cut else ABSENT
        first_byte = first_byte if first_byte <= cut else ABSENT
    session.bytes += moved
    session.now = end
    active = stage.active
    destination = session.destination | port & world.port_mask
    port_free = world.close_connection(answered, closed, keeper, control=False, destination=destination, active=active)
    if active:
        if world.active_ports is not None:
            world.active_ports.release_at(port, port_free)
        world.occupancies.client_ports.add(asked, port_free)
        stamps = (0, port, moved, answered, connected, first_byte, data_end)
        session.record(stage, ordinal, attempt, outcome, None, start, stamps)
        return
    session.connects += 1
    if world.backend_ports is not None:
        # The front end closes first: the TIME_WAIT lies on the server's own port.
        world.backend_ports.release_at(world.server.outgoing_end_ns(first_byte))
        world.occupancies.server_data_time_wait.add(first_byte, world.server.time_wait.end_ns(first_byte))
    if world.pool is not None and not session.own_port:
        leaked = world.leaks(keeper)
        free = NEVER_NS if leaked else world.passive_free_ns(stage, closed, keeper)
        if leaked:
            world.occupancies.server_close_wait.add(closed, free)
        world.pool.release_at(port, free)
        world.occupancies.passive_pool.add(asked, free)
        world.occupancies.passive_in_use.add(asked, closed)
    stamps = (port, world.draw_port(), moved, answered, connected, first_byte, data_end)
    failure = None
    if world.escaped is not None and port in world.escaped and outcome == SUCCEEDED:
        outcome, failure = FAILED, ESCAPED
    session.record(stage, ordinal, attempt, outcome, failure, start, stamps)
