"""Name a failure: from the phase, the FTP code and text, the errno, or the silence that ended it. Rules as data."""

from __future__ import annotations

import errno
from enum import Enum
from typing import Final

from ftpstorm.vocabulary import FailureClass, Phase

# Re-exported under short names: the tables below are read as tables.
F = FailureClass
P = Phase


class Ending(Enum):
    """How a phase ended when it was neither a reply nor an errno."""

    DEADLINE = "deadline"
    EOF = "eof"
    GARBAGE = "garbage"


LOCAL: Final[dict[int, FailureClass]] = {
    errno.EADDRNOTAVAIL: F.LOCAL_PORTS_EXHAUSTED,
    errno.EADDRINUSE: F.LOCAL_PORTS_EXHAUSTED,
    10048: F.LOCAL_PORTS_EXHAUSTED,  # WSAEADDRINUSE
    10055: F.LOCAL_PORTS_EXHAUSTED,  # WSAENOBUFS: Winsock's word for "no ephemeral port"
    errno.EMFILE: F.LOCAL_FILES_EXHAUSTED,
    errno.ENFILE: F.LOCAL_FILES_EXHAUSTED,
    errno.ENOBUFS: F.LOCAL_BUFFERS_EXHAUSTED,
    errno.ENOMEM: F.LOCAL_BUFFERS_EXHAUSTED,
    errno.EHOSTUNREACH: F.UNREACHABLE,
    errno.ENETUNREACH: F.UNREACHABLE,
    errno.EHOSTDOWN: F.UNREACHABLE,
    errno.EACCES: F.UNREACHABLE,
    errno.EPERM: F.UNREACHABLE,
}
"""Errno with one meaning wherever it appears while connecting."""

ERRNOS: Final[dict[tuple[Phase, int], FailureClass]] = {
    (P.CONTROL_CONNECT, errno.ECONNREFUSED): F.CONTROL_CONNECT_REFUSED,
    (P.CONTROL_CONNECT, errno.ETIMEDOUT): F.CONTROL_CONNECT_TIMEOUT,
    (P.CONTROL_CONNECT, errno.ECONNRESET): F.CONTROL_CONNECT_RESET,
    (P.CONTROL_CONNECT, errno.ECONNABORTED): F.CONTROL_CONNECT_RESET,
    (P.TLS, errno.ECONNRESET): F.TLS_FAILED,
    (P.TLS, errno.EPIPE): F.TLS_FAILED,
    (P.TLS, errno.ETIMEDOUT): F.TLS_FAILED,
    (P.GREETING, errno.ECONNRESET): F.GREETING_RESET,
    (P.GREETING, errno.EPIPE): F.GREETING_RESET,
    (P.GREETING, errno.ETIMEDOUT): F.GREETING_SILENT,
    (P.DATA_CONNECT, errno.ECONNREFUSED): F.DATA_CONNECT_REFUSED,
    (P.DATA_CONNECT, errno.ETIMEDOUT): F.DATA_CONNECT_TIMEOUT,
    (P.DATA_CONNECT, errno.ECONNRESET): F.DATA_CONNECT_RESET,
    (P.DATA_CONNECT, errno.ECONNABORTED): F.DATA_CONNECT_RESET,
    (P.TRANSFER, errno.ECONNRESET): F.TRANSFER_ABORTED,
    (P.TRANSFER, errno.EPIPE): F.TRANSFER_ABORTED,
    (P.TRANSFER, errno.ETIMEDOUT): F.TRANSFER_STALLED,
    (P.FIRST_BYTE, errno.ECONNRESET): F.TRANSFER_ABORTED,
    (P.FIRST_BYTE, errno.EPIPE): F.TRANSFER_ABORTED,
    (P.FIRST_BYTE, errno.ETIMEDOUT): F.TRANSFER_STALLED,
}

OTHER_ERRNOS: Final[dict[Phase, FailureClass]] = {
    P.CONTROL_CONNECT: F.UNREACHABLE,
    P.GREETING: F.UNREACHABLE,
    P.DATA_CONNECT: F.UNREACHABLE,
    P.FIRST_BYTE: F.TRANSFER_ABORTED,
    P.TRANSFER: F.TRANSFER_ABORTED,
}
"""Any other errno, by phase; the control connection is lost where none is named."""

ENDINGS: Final[dict[tuple[Phase, Ending], FailureClass]] = {
    (P.CONTROL_CONNECT, Ending.DEADLINE): F.CONTROL_CONNECT_TIMEOUT,
    (P.TLS, Ending.DEADLINE): F.TLS_FAILED,
    (P.TLS, Ending.EOF): F.TLS_FAILED,
    (P.TLS, Ending.GARBAGE): F.TLS_FAILED,
    (P.GREETING, Ending.DEADLINE): F.GREETING_SILENT,
    (P.GREETING, Ending.EOF): F.GREETING_EOF,
    (P.DATA_CONNECT, Ending.DEADLINE): F.DATA_CONNECT_TIMEOUT,
    (P.FIRST_BYTE, Ending.DEADLINE): F.TRANSFER_STALLED,
    (P.TRANSFER, Ending.DEADLINE): F.TRANSFER_STALLED,
    (P.FINAL_REPLY, Ending.DEADLINE): F.FINAL_REPLY_TIMEOUT,
}

CODES: Final[dict[tuple[Phase, int], FailureClass]] = {
    (P.LOGIN, 421): F.BUSY_AT_LOGIN,
    (P.PASSIVE, 400): F.PASSIVE_EXHAUSTED,
    (P.PASSIVE, 421): F.PASSIVE_EXHAUSTED,
    (P.PASSIVE, 425): F.PASSIVE_EXHAUSTED,
    (P.PASSIVE, 530): F.AUTH_FAILED,
    (P.FIRST_BYTE, 425): F.DATA_NOT_ESTABLISHED,
    (P.TRANSFER, 425): F.DATA_NOT_ESTABLISHED,
    (P.FINAL_REPLY, 425): F.DATA_NOT_ESTABLISHED,
    (P.FIRST_BYTE, 426): F.TRANSFER_ABORTED,
    (P.TRANSFER, 426): F.TRANSFER_ABORTED,
    (P.FINAL_REPLY, 426): F.TRANSFER_ABORTED,
    (P.FIRST_BYTE, 451): F.TRANSFER_ABORTED,
    (P.TRANSFER, 451): F.TRANSFER_ABORTED,
    (P.FINAL_REPLY, 451): F.TRANSFER_ABORTED,
    (P.FIRST_BYTE, 522): F.DATA_TLS,
    (P.TRANSFER, 522): F.DATA_TLS,
    (P.FINAL_REPLY, 522): F.DATA_TLS,
}
"""Codes with a meaning of their own in a phase."""

FILE_CODES: Final = frozenset({450, 452, 532, 550, 551, 552, 553})
UNSUPPORTED_CODES: Final = frozenset({500, 501, 502, 504, 522})

BUSY_WORDS: Final = (b"maximum", b"too many", b"too much", b"limit", b"try again later", b"try later")
"""A refusal of the login that says one of these is the server's connection cap, not the user's credentials."""


def classify_errno(phase: Phase, number: int) -> FailureClass:
    """Name a failed system call or a broken connection in `phase`."""
    if phase in (P.CONTROL_CONNECT, P.DATA_CONNECT) and number in LOCAL:
        return LOCAL[number]
    found = ERRNOS.get((phase, number))
    if found is not None:
        return found
    if number in (errno.EMFILE, errno.ENFILE):
        return F.LOCAL_FILES_EXHAUSTED
    return OTHER_ERRNOS.get(phase, F.CONTROL_LOST)


def classify_ending(phase: Phase, ending: Ending) -> FailureClass:
    """Name a deadline, an EOF or garbage in `phase`."""
    found = ENDINGS.get((phase, ending))
    if found is not None:
        return found
    if ending is Ending.GARBAGE:
        return F.PROTOCOL_ERROR
    return F.REPLY_TIMEOUT if ending is Ending.DEADLINE else F.CONTROL_LOST


def classify_code(phase: Phase, code: int, raw: bytes) -> FailureClass:
    """Name a reply that refuses. `raw` is the whole reply: some refusals differ only by their words."""
    found = CODES.get((phase, code))
    if found is not None:
        return found
    if phase is P.GREETING:
        return F.BUSY_AT_GREETING if code >= 400 else F.PROTOCOL_ERROR
    if phase is P.LOGIN:
        if code < 400:
            return F.PROTOCOL_ERROR
        lowered = raw.lower()
        return F.BUSY_AT_LOGIN if any(word in lowered for word in BUSY_WORDS) else F.AUTH_FAILED
    if phase is P.PASSIVE and code == 500 and b"OOPS" in raw:
        return F.PASSIVE_EXHAUSTED  # vsftpd: its process could not bind and is about to die
    if code == 421:
        return F.CONTROL_LOST
    if phase is P.TLS:
        return F.TLS_FAILED
    if code == 500 and raw.startswith(b"500 OOPS"):
        return F.CONTROL_LOST  # the last words of a vsftpd process
    if code in FILE_CODES:
        return F.FILE_ERROR
    if code in UNSUPPORTED_CODES:
        return F.UNSUPPORTED
    if code == 530:
        return F.AUTH_FAILED
    return F.PROTOCOL_ERROR
