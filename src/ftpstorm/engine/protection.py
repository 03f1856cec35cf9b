"""Put a session under TLS: AUTH TLS or at once, the handshake, PBSZ and PROT (RFC 4217)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ftpstorm.engine.commands import execute, refused
from ftpstorm.engine.failure import failed_by_deadline
from ftpstorm.engine.fiber import ON_CONTROL, DeadlineError
from ftpstorm.engine.tls import Tls
from ftpstorm.ftp.commands import encode_command
from ftpstorm.vocabulary import Phase

if TYPE_CHECKING:
    from ftpstorm.engine.session import Session

AUTH_TLS: Final = encode_command("AUTH", "TLS")
PBSZ_0: Final = encode_command("PBSZ", "0")
PROT_P: Final = encode_command("PROT", "P")
PROT_C: Final = encode_command("PROT", "C")


async def protect(session: Session, tls: Tls) -> None:
    """After the greeting: begin TLS unless it was there before (implicit), then say how data connections go."""
    if not tls.implicit:
        session.send(AUTH_TLS, Phase.TLS)
        reply = await session.reply(Phase.TLS, session.work.reply_ns)
        if reply.code != 234:
            raise refused(session, Phase.TLS, reply)
        await shake_hands(session, tls)
    await execute(session, PBSZ_0, Phase.TLS)
    await execute(session, PROT_P if tls.protect else PROT_C, Phase.TLS)


async def shake_hands(session: Session, tls: Tls) -> None:
    """Do the TLS handshake on control, within the time that a reply may take."""
    control = session.control
    assert control is not None
    stream = tls.open()
    control.start_tls(stream)
    deadline_ns = session.now + session.work.reply_ns
    try:
        while not stream.established:
            if control.ended:
                raise session.control_ended(Phase.TLS)
            control.acknowledge()  # a server may write its flight in pieces, the later ones held back until our ACK
            await session.wait(ON_CONTROL, deadline_ns)
    except DeadlineError:
        control.close()
        raise failed_by_deadline(Phase.TLS) from None
    session.tls_ns = session.now
