"""Check what a transfer moved: each chunk as it arrives, without a copy, or the size that the server tells."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, Protocol

from ftpstorm.engine.commands import encode, execute
from ftpstorm.engine.failure import failed_by_reply
from ftpstorm.vocabulary import FailureClass, Phase

if TYPE_CHECKING:
    from ftpstorm.engine.session import Session

LINE: Final = b"The quick brown fox jumps over the lazy dog 0123456789 -------\r\n"
"""What every file of ftpstorm's emulator repeats from its first byte on."""

PATTERN: Final = LINE * 4097
"""A line more than the receive buffer holds: from any place in a line on, a whole chunk lies in it."""


class Check(Protocol):
    """Sees every chunk of a download, in order."""

    def feed(self, chunk: memoryview) -> None:
        """Take the next bytes; they are overwritten afterwards."""

    @property
    def holds(self) -> bool:
        """Whether all bytes so far were right."""


class PatternCheck:
    """Compares every byte with what the emulator fills its files with, from `offset` on."""

    __slots__ = ("_at", "holds")

    def __init__(self, offset: int = 0) -> None:
        self._at = offset % len(LINE)
        self.holds = True

    def feed(self, chunk: memoryview) -> None:
        # startswith compares in place (memcmp); comparing memoryviews goes byte by byte.
        if not PATTERN.startswith(chunk, self._at):
            self.holds = False
        self._at = (self._at + len(chunk)) % len(LINE)


class DigestCheck:
    """Computes the SHA-256 of all bytes."""

    __slots__ = ("_digest", "_wanted")

    def __init__(self, wanted: str) -> None:
        """Take the digest that is wanted, as 64 hex digits."""
        self._wanted = wanted
        self._digest = hashlib.sha256()

    def feed(self, chunk: memoryview) -> None:
        self._digest.update(chunk)

    @property
    def holds(self) -> bool:
        return self._digest.hexdigest() == self._wanted


def check_of(verify: str | None, offset: int) -> Check | None:
    """Return what a download's `verify` needs to see of its bytes; None where it needs none."""
    if verify is None or verify == "size":
        return None
    return PatternCheck(offset) if verify == "pattern" else DigestCheck(verify.removeprefix("sha256:"))


async def ask_size(session: Session, file: str) -> int:
    """Return what the server says that the size of `file` is (RFC 3659 section 4)."""
    reply = await execute(session, encode("SIZE", file), Phase.COMMAND)
    control = session.control
    assert control is not None
    if control.torn and not control.replies:  # the digits that are left of it may be another size
        raise session.control_ended(Phase.COMMAND)
    digits = reply.raw[4:].strip()
    if reply.code != 213 or not digits.isdigit() or len(digits) > 20:
        raise failed_by_reply(Phase.COMMAND, reply, FailureClass.PROTOCOL_ERROR)
    return int(digits)


async def known_size(session: Session, file: str) -> int:
    """Return the size of `file`: the scenario's, else the server's, asked once for each file and worker."""
    work = session.work
    size = work.file_sizes.get(file)
    if size is None:
        size = work.asked_sizes.get(file)
    if size is None:
        size = work.asked_sizes[file] = await ask_size(session, file)
    return size
