"""Every refusal, errno and silence gets the name that the vocabulary gives it."""

import errno

import pytest

from ftpstorm.engine.classify import Ending, classify_code, classify_ending, classify_errno
from ftpstorm.vocabulary import Phase


@pytest.mark.parametrize(
    ("phase", "number", "word"),
    [
        ("control-connect", errno.ECONNREFUSED, "control-connect-refused"),
        ("control-connect", errno.ETIMEDOUT, "control-connect-timeout"),
        ("control-connect", errno.ECONNRESET, "control-connect-reset"),
        ("control-connect", errno.EADDRNOTAVAIL, "local-ports-exhausted"),
        ("control-connect", errno.EADDRINUSE, "local-ports-exhausted"),
        ("control-connect", 10048, "local-ports-exhausted"),
        ("control-connect", 10055, "local-ports-exhausted"),
        ("control-connect", errno.EMFILE, "local-files-exhausted"),
        ("data-connect", errno.ENOBUFS, "local-buffers-exhausted"),
        ("control-connect", errno.ENETUNREACH, "unreachable"),
        ("data-connect", errno.EHOSTUNREACH, "unreachable"),
        ("greeting", errno.ECONNRESET, "greeting-reset"),
        ("data-connect", errno.ECONNREFUSED, "data-connect-refused"),
        ("data-connect", errno.ETIMEDOUT, "data-connect-timeout"),
        ("data-connect", errno.ECONNRESET, "data-connect-reset"),
        ("transfer", errno.ECONNRESET, "transfer-aborted"),
        ("first-byte", errno.EPIPE, "transfer-aborted"),
        ("first-byte", errno.ECONNABORTED, "transfer-aborted"),
        ("transfer", errno.EHOSTUNREACH, "transfer-aborted"),
        ("transfer", errno.ETIMEDOUT, "transfer-stalled"),
        ("greeting", errno.ETIMEDOUT, "greeting-silent"),
        ("greeting", errno.EHOSTUNREACH, "unreachable"),
        ("passive", errno.ECONNRESET, "control-lost"),
        ("login", errno.EPIPE, "control-lost"),
    ],
)
def test_errno(phase: str, number: int, word: str) -> None:
    assert classify_errno(Phase.from_word(phase), number).word == word


@pytest.mark.parametrize(
    ("phase", "ending", "word"),
    [
        ("control-connect", Ending.DEADLINE, "control-connect-timeout"),
        ("greeting", Ending.DEADLINE, "greeting-silent"),
        ("greeting", Ending.EOF, "greeting-eof"),
        ("login", Ending.DEADLINE, "reply-timeout"),
        ("passive", Ending.EOF, "control-lost"),
        ("data-connect", Ending.DEADLINE, "data-connect-timeout"),
        ("transfer", Ending.DEADLINE, "transfer-stalled"),
        ("first-byte", Ending.DEADLINE, "transfer-stalled"),
        ("final-reply", Ending.DEADLINE, "final-reply-timeout"),
        ("final-reply", Ending.EOF, "control-lost"),
        ("command", Ending.GARBAGE, "protocol-error"),
    ],
)
def test_silence_eof_and_garbage(phase: str, ending: Ending, word: str) -> None:
    assert classify_ending(Phase.from_word(phase), ending).word == word


@pytest.mark.parametrize(
    ("phase", "raw", "word"),
    [
        ("greeting", b"421 There are too many connected users, please try later.", "busy-at-greeting"),
        ("greeting", b"530 no", "busy-at-greeting"),
        ("greeting", b"331 what", "protocol-error"),
        ("login", b"530 Login incorrect.", "auth-failed"),
        ("login", b"530 Sorry, the maximum number of allowed clients (10) are already connected.", "busy-at-login"),
        ("login", b"421 10 users (the maximum) are already logged in, sorry", "busy-at-login"),
        ("passive", b"425 Try later, data connection in use.", "passive-exhausted"),
        ("passive", b"425 Can't open passive connection: Address already in use.", "passive-exhausted"),
        ("passive", b"421 no free ports", "passive-exhausted"),
        ("passive", b"500 OOPS: vsf_sysutil_bind", "passive-exhausted"),
        ("command", b"500 OOPS: priv_sock_get_int", "control-lost"),
        ("command", b"500 Unknown command.", "unsupported"),
        ("passive", b"500 Unknown command.", "unsupported"),
        ("passive", b"502 EPSV not implemented", "unsupported"),
        ("passive", b"530 Please login with USER and PASS.", "auth-failed"),
        ("final-reply", b"425 Can't open data connection.", "data-not-established"),
        ("first-byte", b"425 Can't open data connection.", "data-not-established"),
        ("transfer", b"426 Connection closed; transfer aborted.", "transfer-aborted"),
        ("final-reply", b"451 local error", "transfer-aborted"),
        ("first-byte", b"550 No such file.", "file-error"),
        ("first-byte", b"522 SSL connection failed: session reuse required", "data-tls"),
        ("final-reply", b"421 Timeout.", "control-lost"),
        ("command", b"421 Timeout.", "control-lost"),
        ("command", b"502 no", "unsupported"),
        ("command", b"550 no such directory", "file-error"),
        ("command", b"331 huh", "protocol-error"),
    ],
)
def test_replies(phase: str, raw: bytes, word: str) -> None:
    assert classify_code(Phase.from_word(phase), int(raw[:3]), raw).word == word
