"""Encode FTP commands as they go over the control connection (RFC 959 section 5.3)."""

from __future__ import annotations


def encode_command(verb: str, argument: str | None = None) -> bytes:
    """Return ``VERB argument CRLF`` in UTF-8.

    Raises ValueError when the argument holds CR, LF or NUL: it would smuggle in a second command.
    """
    if argument is None:
        return f"{verb}\r\n".encode()
    if any(character in argument for character in "\r\n\0"):
        raise ValueError(f"{verb}: an argument cannot hold CR, LF or NUL")
    return f"{verb} {argument}\r\n".encode()
