"""Read a network namespace's connection tracking: entries now, and what the kernel counted of them.

/proc/net/stat/nf_conntrack has one line for each processor, in hexadecimal (net/netfilter/nf_conntrack_standalone.c);
its `entries` column repeats the whole number on each line, so that one is taken from nf_conntrack_count. A kernel
without connection tracking gives an empty dict, never zeros.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from ftpstorm.sampler.procnet import READ_BYTES, net_folder

PREFIX: Final = "conntrack."
ENTRIES: Final = PREFIX + "entries"
"""Connections that are tracked now; the others count since the namespace began."""
COUNTED: Final = ("found", "invalid", "insert", "insert_failed", "drop", "early_drop", "clashres", "search_restart")
"""Columns that are kept. `insert_failed` grows with each SYN that finds no port to be translated to."""
COUNT_FILE: Final = Path("/proc/sys/net/netfilter/nf_conntrack_count")


def parse_conntrack(text: bytes) -> dict[str, int]:
    """Return the sums over all processors of the columns COUNTED, named ``conntrack.insert_failed``.

    A column that this kernel lacks is absent; a line that was cut short or holds what is no hexadecimal number is
    passed over.
    """
    header, *lines = text[: text.rfind(b"\n") + 1].split(b"\n")
    names = header.decode("ascii", "replace").split()
    places = [(place, PREFIX + name) for place, name in enumerate(names) if name in COUNTED]
    found: dict[str, int] = {}
    for line in lines:
        words = line.split()
        if len(words) != len(names):
            continue
        try:
            values = {name: int(words[place], 16) for place, name in places}
        except ValueError:
            continue
        for name, value in values.items():
            found[name] = found.get(name, 0) + value
    return found


class ConntrackFiles:
    """The open files of the calling thread's network namespace, which they go on showing from wherever they are read.

    Open them once something tracks connections there: a kernel that loads the module on demand has no files before.
    """

    def __init__(self) -> None:
        folder = net_folder()
        self._counters = None if folder is None else _open(folder / "stat" / "nf_conntrack")
        self._entries = _open(COUNT_FILE)

    @property
    def missing(self) -> str | None:
        """Why nothing can be read here, None where it can."""
        if self._counters is None and self._entries is None:
            return "this kernel tracks no connections here (no /proc/net/stat/nf_conntrack)"
        return None

    def read(self) -> dict[str, int]:
        """Return ``conntrack.entries`` and the sums of COUNTED; what the kernel does not offer is absent."""
        found: dict[str, int] = {}
        if self._counters is not None:
            found = parse_conntrack(_read_all(self._counters))
        if self._entries is not None:
            text = os.pread(self._entries, 32, 0).strip()
            if text.isdigit():
                found[ENTRIES] = int(text)
        return found

    def close(self) -> None:
        """Close the files; closing twice is allowed."""
        for descriptor in (self._counters, self._entries):
            if descriptor is not None:
                os.close(descriptor)
        self._counters = self._entries = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _read_all(descriptor: int) -> bytes:
    """Return a file's text. It has a line for each CPU, and a read of it stops at the page that the kernel fills."""
    parts: list[bytes] = []
    size = 0
    while part := os.pread(descriptor, READ_BYTES, size):
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def _open(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
