"""Read a network namespace's counters from /proc: snmp, netstat, sockstat, sockstat6, and the port settings.

Parsers are pure functions on bytes. They take what they know and pass over the rest: a kernel may add columns, and a
name that this kernel lacks is absent from the result, never 0. `NetFiles` keeps the files open; each read is one
pread(2), and the files go on showing the namespace in which they were opened.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from ftpstorm.vocabulary import COUNTERS

READ_BYTES: Final = 65_536
"""More than any of these files holds: seq_file then hands out the whole text in one read, from one moment."""

_WANTED: Final = frozenset(COUNTERS)


def _whole_lines(text: bytes) -> list[bytes]:
    """Return the lines. Of a last line without its newline the last word may be cut short, so that word goes."""
    *whole, rest = text.split(b"\n")
    return [*whole, rest.rpartition(b" ")[0]] if rest else whole


@lru_cache(maxsize=64)
def _columns(names: bytes, wanted: frozenset[str]) -> tuple[tuple[int, str], ...]:
    """Return where in a group's line each wanted counter stands, by full name. Remembered: names never change."""
    words = names.decode("ascii", "replace").split()
    if not words:
        return ()
    full = [words[0].rstrip(":") + "." + word for word in words]
    return tuple((place, name) for place, name in enumerate(full) if place and name in wanted)


def parse_counters(text: bytes, wanted: frozenset[str] = _WANTED) -> dict[str, int]:
    """Return the `wanted` counters of /proc/net/snmp or /proc/net/netstat, named ``Group.Name``.

    Both files pair a line of names with a line of values for each group. A pair whose groups differ is passed over,
    and so is a value that is no integer.
    """
    found: dict[str, int] = {}
    lines = _whole_lines(text)
    for names, line in zip(lines[::2], lines[1::2], strict=False):
        values = line.split()
        if not values or names.split(b" ", 1)[0] != values[0]:
            continue
        for place, name in _columns(names, wanted):
            if place < len(values):
                try:
                    found[name] = int(values[place])
                except ValueError:
                    continue
    return found


def parse_sockstat(text: bytes) -> dict[str, dict[str, int]]:
    """Return /proc/net/sockstat or sockstat6 by protocol: ``{"TCP": {"inuse": 1, "tw": 0, ...}, ...}``.

    `tw` counts TIME_WAIT and also orphaned FIN_WAIT_2; `inuse` and `tw` are the namespace's, `orphan`, `alloc` and
    `mem` (pages) the whole machine's (net/ipv4/proc.c).
    """
    found: dict[str, dict[str, int]] = {}
    for line in _whole_lines(text):
        words = line.split()
        if not words or not words[0].endswith(b":"):
            continue
        values: dict[str, int] = {}
        for name, value in zip(words[1::2], words[2::2], strict=False):
            try:
                values[name.decode("ascii", "replace")] = int(value)
            except ValueError:
                continue
        found[words[0][:-1].decode("ascii", "replace")] = values
    return found


def parse_port_range(text: bytes) -> tuple[int, int] | None:
    """Return (first, last), inclusive, of net.ipv4.ip_local_port_range, or None for anything that is no such pair."""
    words = text.split()
    if len(words) != 2 or not all(word.isdigit() for word in words):
        return None
    first, last = int(words[0]), int(words[1])
    return (first, last) if 0 < first <= last <= 65_535 else None


def parse_port_list(text: bytes) -> tuple[tuple[int, int], ...] | None:
    """Return the inclusive ranges of net.ipv4.ip_local_reserved_ports (``8080,9148-9150``), () for an empty list.

    None for anything that is no such list.
    """
    ranges: list[tuple[int, int]] = []
    for part in filter(None, (part.strip() for part in text.split(b","))):
        first, dash, last = part.partition(b"-")
        if not first.isdigit() or (dash and not last.isdigit()):
            return None
        ranges.append((int(first), int(last) if dash else int(first)))
    return tuple(ranges)


def count_within(ranges: tuple[tuple[int, int], ...], bounds: tuple[int, int]) -> int:
    """Return how many distinct ports of `ranges` lie within `bounds`; all ends inclusive, overlaps count once."""
    first, last = bounds
    return len({port for a, b in ranges for port in range(max(a, first), min(b, last) + 1)})


def net_folder() -> Path | None:
    """Return the folder with the calling thread's network files, or None where there is none.

    After setns(2) in a thread, /proc/net still shows the process's first thread: /proc/thread-self is asked first.
    """
    for folder in (Path("/proc/thread-self/net"), Path("/proc/net")):
        if (folder / "snmp").exists():
            return folder
    return None


class NetFiles:
    """The open counter files of one namespace. What the kernel does not offer reads as an empty dict."""

    def __init__(self, folder: Path | None = None) -> None:
        """Open the files of `folder`, by default of the calling thread's namespace, those that are there."""
        where = net_folder() if folder is None else folder
        self._files: dict[str, int] = {}
        for name in ("snmp", "netstat", "sockstat", "sockstat6"):
            if where is not None:
                try:
                    self._files[name] = os.open(where / name, os.O_RDONLY | os.O_CLOEXEC)
                except OSError:
                    continue

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the files that could be opened."""
        return tuple(self._files)

    def _read(self, name: str) -> bytes:
        descriptor = self._files.get(name)
        return os.pread(descriptor, READ_BYTES, 0) if descriptor is not None else b""

    def read_counters(self) -> dict[str, int]:
        """Return those of `vocabulary.COUNTERS` that this kernel has, since the namespace began."""
        return {**parse_counters(self._read("snmp")), **parse_counters(self._read("netstat"))}

    def read_sockstat(self) -> dict[str, int]:
        """Return the TCP line of sockstat, and TCP6's `inuse` of sockstat6 as ``inuse6``."""
        values = dict(parse_sockstat(self._read("sockstat")).get("TCP", {}))
        inuse6 = parse_sockstat(self._read("sockstat6")).get("TCP6", {}).get("inuse")
        if inuse6 is not None:
            values["inuse6"] = inuse6
        return values

    def close(self) -> None:
        """Close all files; closing twice is allowed."""
        while self._files:
            os.close(self._files.popitem()[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
