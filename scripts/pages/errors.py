"""docs/errors.md: from what a user sees (a reply, an errno, silence) to the failure class, and on to the cause."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import Final

from ftpstorm.engine.classify import BUSY_WORDS, CODES, ENDINGS, ERRNOS, LOCAL, Ending, classify_code
from ftpstorm.limits.servers import SERVERS
from ftpstorm.limits.tables import markdown
from ftpstorm.vocabulary import FAILURE_CLASSES, Cause, FailureClass, Phase
from pages.failures import MEANINGS
from pages.sightings import SIGHTINGS, Sighting

_HEAD: Final = """\
# I see this error: what is it?

Look up what you see, in this order: [the words](#the-words) of a reply or of a client's message, the
[reply code](#the-reply-code) and when it came, the [errno or Winsock number](#the-errno), or [silence](#silence). Each
leads to a failure class, and the [classes](#the-classes) say what it means, which causes to suspect and what tells them
apart. What lifts a cause stands with the [causes](reference/causes.md), in the words of each platform.

One text may belong to several classes, and one cause may show as several texts. `ftpstorm` decides by phase, code,
errno, what the kernels counted and when; to see which it is, reproduce it ([run](guide/run.md)) or look on while it
happens ([sample](guide/sample.md)).
"""

_WINSOCK: Final = {
    errno.EADDRINUSE: 10048,
    errno.EADDRNOTAVAIL: 10049,
    errno.ENETUNREACH: 10051,
    errno.ECONNABORTED: 10053,
    errno.ECONNRESET: 10054,
    errno.ETIMEDOUT: 10060,
    errno.ECONNREFUSED: 10061,
    errno.EHOSTDOWN: 10064,
    errno.EHOSTUNREACH: 10065,
    errno.EMFILE: 10024,
    errno.EACCES: 10013,
}
"""Winsock's number for the same condition (Microsoft, Windows Sockets Error Codes)."""

_FURTHER: Final = (
    (Phase.GREETING, 421),
    (Phase.LOGIN, 530),
    (Phase.PASSIVE, 500),
    (Phase.PASSIVE, 502),
    (Phase.COMMAND, 421),
    (Phase.FIRST_BYTE, 450),
    (Phase.FIRST_BYTE, 550),
    (Phase.FINAL_REPLY, 552),
)
"""Codes that the general rules of `classify_code` name, beside those of its table."""

_SILENCES: Final = {
    Ending.DEADLINE: "nothing until the deadline",
    Ending.EOF: "the peer closes without a word",
    Ending.GARBAGE: "bytes that are no TLS",
}
_WHEN: Final = {
    Phase.CONTROL_CONNECT: "connecting to the control port",
    Phase.TLS: "the TLS handshake",
    Phase.GREETING: "waiting for the greeting",
    Phase.LOGIN: "USER, PASS",
    Phase.PASSIVE: "PASV, EPSV",
    Phase.DATA_CONNECT: "connecting to the passive port",
    Phase.FIRST_BYTE: "after RETR, STOR, LIST, before the first byte",
    Phase.TRANSFER: "during the transfer",
    Phase.FINAL_REPLY: "after the transfer, instead of 226",
    Phase.COMMAND: "another command",
}


def link(failure: FailureClass) -> str:
    """Return a class as a link to its section."""
    return f"[{failure.word}](#{failure.word})"


def cause_link(cause: Cause) -> str:
    """Return a cause as a link to its section."""
    return f"[{cause.value}](reference/causes.md#{cause.value})"


def _servers_words() -> Iterator[Sighting]:
    for habits in SERVERS.values():
        who = f"{habits.name} {habits.release}"
        if habits.full is not None:
            full, cause = habits.full, Cause.SERVER_PASSIVE_POOL
            yield Sighting(f"{full.code} {full.text}", who, "PASV, EPSV", full.failure, (cause,))
        if habits.cap is not None:
            when = "PASS" if habits.cap.failure is FailureClass.BUSY_AT_LOGIN else "greeting"
            yield Sighting(
                f"{habits.cap.code} {habits.cap.text}", who, when, habits.cap.failure, (Cause.SERVER_CONNECTION_CAP,)
            )


def _words() -> str:
    found = sorted((*_servers_words(), *SIGHTINGS), key=lambda sighting: sighting.words.lower())
    rows = (
        (
            f"`{sighting.words}`",
            sighting.who,
            sighting.when,
            ", ".join(link(each) for each in sighting.failures),
            ", ".join(cause_link(cause) for cause in sighting.causes),
        )
        for sighting in found
    )
    return markdown(("the words", "who says so", "when", "class", "suspect first"), rows)


def _codes() -> str:
    busy = ", ".join(f"`{word.decode()}`" for word in BUSY_WORDS)
    told = {
        (Phase.LOGIN, 530): f", or with words such as {busy}: {link(classify_code(Phase.LOGIN, 530, BUSY_WORDS[0]))}",
        (Phase.PASSIVE, 500): f", or `500 OOPS`: {link(classify_code(Phase.PASSIVE, 500, b'500 OOPS'))}",
    }
    places = dict.fromkeys((*CODES, *_FURTHER))
    rows = [
        (code, phase, link(classify_code(phase, code, b"")) + told.get((phase, code), "")) for phase, code in places
    ]
    order = sorted(rows, key=lambda row: (row[0], row[1]))
    return markdown(("code", "when", "class"), ((str(code), _WHEN[phase], words) for code, phase, words in order))


def _errnos() -> str:
    found: dict[int, list[str]] = {}
    for number, failure in LOCAL.items():
        if number < 10_000:
            found.setdefault(number, []).append(f"connecting: {link(failure)}")
    for (phase, number), failure in ERRNOS.items():
        found.setdefault(number, []).append(f"{_WHEN[phase]}: {link(failure)}")
    rows = (
        (
            f"`{errno.errorcode[number]}` {number}",
            os.strerror(number),
            str(_WINSOCK.get(number, "")),
            "; ".join(places),
        )
        for number, places in sorted(found.items(), key=lambda item: errno.errorcode[item[0]])
    )
    full = ("(none)", "Windows has no ephemeral port left, or no memory", "10055", f"connecting: {link(LOCAL[10055])}")
    return markdown(("errno on Linux", "text", "Winsock", "class"), (*rows, full))


def _silence() -> str:
    rows = ((_SILENCES[ending], _WHEN[phase], link(failure)) for (phase, ending), failure in ENDINGS.items())
    rest = (
        (_SILENCES[Ending.DEADLINE], "any other reply", link(FailureClass.REPLY_TIMEOUT)),
        (_SILENCES[Ending.EOF], "any other time", link(FailureClass.CONTROL_LOST)),
    )
    return markdown(("what happens", "when", "class"), (*rows, *rest))


def _classes() -> str:
    parts = []
    for failure in FAILURE_CLASSES:
        meaning = MEANINGS[failure]
        parts.append(f"### {failure.word}\n\n{meaning.what}\n")
        if meaning.suspects:
            suspects = ", ".join(cause_link(cause) for cause in meaning.suspects)
            parts.append(f"Suspect: {suspects}.\n")
        if meaning.tell:
            parts.append(f"{meaning.tell}\n")
    return "\n".join(parts)


def errors_page() -> str:
    """Return docs/errors.md. Raises KeyError for a failure class that has no meaning written down."""
    return "\n".join(
        (
            _HEAD,
            "## The words\n",
            "What differs from case to case is left out or `...`. Servers also let their operators change texts.\n",
            _words(),
            "## The reply code\n",
            "The same code means another thing at another time. A code does not tell whether the control connection "
            "lives on: records "
            "hold that separately (`control_survived`).\n",
            _codes(),
            "## The errno\n",
            "What the kernel of the client says. Numbers above 10000 are Winsock's for the same condition.\n",
            _errnos(),
            "## Silence\n",
            _silence(),
            "## The classes\n",
            _classes(),
        )
    )
