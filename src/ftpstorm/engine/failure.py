"""The one exception by which a step ends early. It never leaves the engine: a failed session is data."""

from __future__ import annotations

from ftpstorm.engine.classify import Ending, classify_code, classify_ending, classify_errno
from ftpstorm.engine.tls import TlsStream
from ftpstorm.ftp.replies import Reply
from ftpstorm.vocabulary import FailureClass, Phase


class StepFailedError(Exception):
    """A step cannot go on; carries what its record says."""

    def __init__(
        self, failure: FailureClass, phase: Phase, *, code: int = 0, errno: int = 0, text: str | None = None
    ) -> None:
        super().__init__(failure.word)
        self.failure = failure
        self.phase = phase
        self.code = code
        self.errno = errno
        self.text = text
        self.data_port = 0
        """Local port that was announced in active mode, where the server did not connect to it; 0 for none."""


def failed_by_errno(phase: Phase, number: int) -> StepFailedError:
    """Return the failure that errno `number` means in `phase`."""
    return StepFailedError(classify_errno(phase, number), phase, errno=number)


def failed_by_reply(phase: Phase, reply: Reply, failure: FailureClass | None = None) -> StepFailedError:
    """Return the failure that a refusing reply means in `phase`, or `failure` where the caller knows better."""
    named = failure if failure is not None else classify_code(phase, reply.code, reply.raw)
    return StepFailedError(named, phase, code=reply.code, text=reply.text)


def failed_by_deadline(phase: Phase) -> StepFailedError:
    """Return the failure that silence means in `phase`."""
    return StepFailedError(classify_ending(phase, Ending.DEADLINE), phase)


def failed_by_eof(phase: Phase) -> StepFailedError:
    """Return the failure that the server's close means in `phase`."""
    return StepFailedError(classify_ending(phase, Ending.EOF), phase)


def failed_by_garbage(phase: Phase, seen: bytes) -> StepFailedError:
    """Return the failure that bytes which are no reply mean in `phase`."""
    text = seen.decode("utf-8", "backslashreplace")
    return StepFailedError(classify_ending(phase, Ending.GARBAGE), phase, text=text)


def failed_by_tls(phase: Phase, stream: TlsStream) -> StepFailedError:
    """Return the failure that the end of TLS on control means in `phase`.

    A reply in plain text inside TLS is a server's last word: vsftpd says `500 OOPS` so, from a process that has no part
    in the TLS session. Control is lost with it, except that in the handshake TLS failed, and that a full passive pool
    keeps its own class.
    """
    reply = stream.plain_reply
    if reply is None:
        return StepFailedError(FailureClass.TLS_FAILED, phase, text=stream.failure)
    named = FailureClass.TLS_FAILED
    if phase is not Phase.TLS:
        named = classify_code(phase, reply.code, reply.raw)
        if named is not FailureClass.PASSIVE_EXHAUSTED:
            named = FailureClass.CONTROL_LOST
    return failed_by_reply(phase, reply, named)


def failed_by_data_tls(phase: Phase, stream: TlsStream) -> StepFailedError:
    """Return the failure of the TLS handshake, or of TLS itself, on a data connection."""
    return StepFailedError(FailureClass.DATA_TLS, phase, text=stream.failure)
