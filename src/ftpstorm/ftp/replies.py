"""Parse the replies of an FTP server from a byte stream: RFC 959 section 4.2, and what servers make of it.

Tolerated: bare LF, replies split at any byte, several replies in one segment, telnet IAC commands (RFC 854) inside
lines, text that is not UTF-8, a multi-line reply whose inner lines begin with digits.
Refused with ProtocolViolationError: a line without a code, a code outside 100..659, a line or a reply beyond its bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

LINE_MAX_BYTES: Final = 8_192
"""Longest line of a reply, its end included. RFC 959 sets none; servers stay below 512."""

REPLY_MAX_BYTES: Final = 65_536
"""Longest multi-line reply; banners of several KiB exist."""

REMEMBERED_MAX: Final = 4_096
"""Texts that are remembered, a passive reply for each port of a range among them. A server that puts times or names
into its replies must not fill memory: these are 1 to 3 MiB."""

REMEMBERED_BYTES: Final = 256
"""Longest text that is remembered."""

REMEMBERED_REPLIES: Final = 4
"""Most replies of one text that is remembered; 150 and 226 often come together."""

_IAC: Final = 0xFF
_SPACE: Final = 0x20
_HYPHEN: Final = 0x2D
_CR: Final = 0x0D
_LF: Final = 0x0A
_STARTS: Final = {b"%d " % code: code for code in range(100, 660)}
_remembered: Final[dict[bytes, Sequence[Reply]]] = {}
_new_tuple: Final = tuple.__new__  # a NamedTuple's own constructor costs twice as much


class ProtocolViolationError(Exception):
    """The server sent something that is no reply: `seen` is the start of it, `replies` came before it."""

    def __init__(self, message: str, seen: bytes) -> None:
        super().__init__(message)
        self.seen = seen[:200]
        self.replies: list[Reply] = []


class Reply(NamedTuple):
    """One reply. `raw` is its bytes without the last line end, codes included."""

    code: int
    raw: bytes

    @property
    def text(self) -> str:
        """The whole reply as text, lines joined by a newline; bytes that are not UTF-8 shown as \\xNN."""
        return self.raw.replace(b"\r\n", b"\n").decode("utf-8", "backslashreplace")


def _strip_telnet(line: bytes) -> bytes:
    """Remove telnet commands: IAC IAC is a literal 255, IAC WILL/WONT/DO/DONT takes an option, others stand alone."""
    if _IAC not in line:
        return line
    kept = bytearray()
    at = 0
    while at < len(line):
        byte = line[at]
        if byte != _IAC:
            kept.append(byte)
            at += 1
        elif at + 1 < len(line) and line[at + 1] == _IAC:
            kept.append(_IAC)
            at += 2
        elif at + 1 < len(line) and 251 <= line[at + 1] <= 254:
            at += 3
        else:
            at += 2
    return bytes(kept)


def _code_of(line: bytes) -> int:
    """Return the code at the start of a line that ends a reply or opens a multi-line one."""
    digits = line[:3]
    if len(digits) < 3 or not digits.isdigit():
        raise ProtocolViolationError("a reply must begin with a three-digit code", line)
    code = int(digits)
    if not 100 <= code <= 659:
        raise ProtocolViolationError(f"reply code {code} is outside 100..659", line)
    return code


def parse_whole(data: bytes) -> Sequence[Reply] | None:
    """Return the replies that `data` is made of, where all are whole, of one line and in ASCII: nearly all there are.

    None for anything else, which takes a `ReplyParser`. `data` is at most LINE_MAX_BYTES long. What a server says over
    and over is parsed once; the same object then answers for it.
    """
    replies = _remembered.get(data)
    if replies is None:
        replies = _parse_lines(data)
        if replies is not None and len(_remembered) < REMEMBERED_MAX and _is_worth_it(data, replies):
            _remembered[data] = replies
    return replies


def _is_worth_it(data: bytes, replies: Sequence[Reply]) -> bool:
    return len(data) <= REMEMBERED_BYTES and len(replies) <= REMEMBERED_REPLIES


remembered: Final = _remembered.get
"""Return what `parse_whole` once made of these very bytes, or None: its first half, for who minds the call."""


def _parse_lines(data: bytes) -> Sequence[Reply] | None:
    code = _STARTS.get(data[:4])
    if code is None or not data.isascii():  # a telnet command is not ASCII
        return None
    end = data.find(b"\n") + 1
    if end == len(data):
        return [_new_tuple(Reply, (code, data[:-2] if data[-2] == _CR else data[:-1]))]
    if data[-1] != _LF:
        return None
    replies: list[Reply] = []
    for line in data[:-1].split(b"\n"):
        code = _STARTS.get(line[:4])
        if code is None:
            return None
        replies.append(_new_tuple(Reply, (code, line[:-1] if line[-1] == _CR else line)))
    return replies


class ReplyParser:
    """Turns segments into replies. Holds no buffer of its own while no reply is half-read."""

    __slots__ = ("_code", "_lines", "_partial", "_size")

    def __init__(self) -> None:
        self._partial = b""
        self._lines: list[bytes] | None = None
        self._code = 0
        self._size = 0

    @property
    def idle(self) -> bool:
        """Whether no reply is half-read."""
        return not self._partial and self._lines is None

    def feed(self, data: bytes) -> list[Reply]:
        """Return the replies that `data` completes, in order.

        Raises ProtocolViolationError; the parser is then of no further use.
        """
        replies: list[Reply] = []
        lines = (self._partial + data).split(b"\n")
        self._partial = lines.pop()
        try:
            for line in lines:
                if len(line) >= LINE_MAX_BYTES:
                    raise ProtocolViolationError(f"a reply line is longer than {LINE_MAX_BYTES} bytes", line)
                reply = self._take_line(_strip_telnet(line.removesuffix(b"\r")))
                if reply is not None:
                    replies.append(reply)
            if len(self._partial) > LINE_MAX_BYTES:
                raise ProtocolViolationError(f"a reply line is longer than {LINE_MAX_BYTES} bytes", self._partial)
        except ProtocolViolationError as violation:
            violation.replies = replies
            raise
        return replies

    def feed_end(self) -> list[Reply]:
        """Take the peer's FIN: a last line without a line end is one all the same. Return what it completes."""
        try:
            return self.feed(b"\r\n") if self._partial else []
        except ProtocolViolationError:  # cut off in the middle: an end, not garbage
            return []

    def _take_line(self, line: bytes) -> Reply | None:
        if self._lines is None:
            code = _code_of(line)
            mark = line[3] if len(line) > 3 else _SPACE
            if mark == _SPACE:
                return Reply(code, line)
            if mark != _HYPHEN:
                raise ProtocolViolationError("a reply code is followed by a space or a hyphen", line)
            self._lines, self._code, self._size = [line], code, len(line)
            return None
        self._lines.append(line)
        self._size += len(line) + 2
        if self._size > REPLY_MAX_BYTES:
            raise ProtocolViolationError(f"a reply is longer than {REPLY_MAX_BYTES} bytes", self._lines[0])
        if line[:3] == b"%d" % self._code and (len(line) == 3 or line[3] == _SPACE):
            raw = b"\r\n".join(self._lines)
            self._lines = None
            return Reply(self._code, raw)
        return None
