"""Synthetic files: names and sizes, with content made while it is sent, so that a file of any size costs no memory.

Uploads are read, counted and forgotten: an uploaded name never shows in a listing, and an upload under the name of an
offered file leaves that file as it was. Directories exist where a name has slashes. Nothing here touches a disk.
"""

from __future__ import annotations

import functools
import io
import os
import posixpath
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Final, NoReturn

import aioftp
from aioftp.common import AbstractAsyncLister, Connection

LINE: Final = b"The quick brown fox jumps over the lazy dog 0123456789 -------\r\n"
"""What every file repeats from its first byte on. Lines end in CR LF, so TYPE A and TYPE I send the same bytes."""

BLOCK_BYTES: Final = 4096 * len(LINE)
"""Payload handed to one send(2) call at most: 256 KiB."""

_BLOCK: Final = memoryview(LINE * (BLOCK_BYTES // len(LINE)))
_ROOT: Final = PurePosixPath("/")


def content_blocks(size_bytes: int, offset: int = 0) -> Iterator[memoryview]:
    """Yield the bytes from `offset` to the end of a file of `size_bytes`, in views of at most BLOCK_BYTES."""
    position = offset
    while position < size_bytes:
        start = position % len(LINE)
        count = min(BLOCK_BYTES - start, size_bytes - position)
        yield _BLOCK[start : start + count]
        position += count


@functools.lru_cache(maxsize=4096)
def resolve_path(directory: PurePosixPath, argument: str) -> PurePosixPath:
    """Return the absolute path that a command's argument means in `directory`; ``..`` stops at the root.

    Remembered, since a load generator asks for the same few files over and over.
    """
    return _ROOT / posixpath.normpath(directory / argument).lstrip("/")


class Catalogue:
    """The files that a server offers. Frozen; paths are absolute, such as ``/small.bin``."""

    __slots__ = ("_entries", "_sizes", "modified_s")

    def __init__(self, files: Mapping[str, int], modified_s: float = 0.0) -> None:
        """Take names with their sizes in bytes. `modified_s` is the time that listings show, in s since the epoch.

        Raises ValueError for a name that is empty, climbs with ``..`` or is both a file and a directory.
        """
        self.modified_s: Final = modified_s
        self._sizes: dict[PurePosixPath, int] = {}
        self._entries: dict[PurePosixPath, dict[str, None]] = {_ROOT: {}}
        for name, size_bytes in files.items():
            path = _ROOT / name.lstrip("/")
            if path == _ROOT or ".." in path.parts or any(char in name for char in "\r\n\0"):
                raise ValueError(f"{name!r} is no name for a file")
            if size_bytes < 0:
                raise ValueError(f"{name!r} has a negative size")
            self._sizes[path] = size_bytes
            for child in (path, *path.parents):
                if child != _ROOT:
                    self._entries.setdefault(child.parent, {})[child.name] = None
        for path in self._sizes:
            if path in self._entries:
                raise ValueError(f"{path} is both a file and a directory")

    def size(self, path: PurePosixPath) -> int | None:
        """Return the bytes of a file; None where `path` is no file."""
        return self._sizes.get(path)

    def is_directory(self, path: PurePosixPath) -> bool:
        """Tell whether `path` is a directory."""
        return path in self._entries

    def names(self, directory: PurePosixPath) -> tuple[str, ...]:
        """Return the names in a directory, in the order of the files given. Raises KeyError for no directory."""
        return tuple(self._entries[directory])


class _Lister(AbstractAsyncLister[Path]):
    def __init__(self, paths: Iterator[Path]) -> None:
        super().__init__()
        self._paths = paths

    async def __anext__(self) -> Path:
        for path in self._paths:
            return path
        raise StopAsyncIteration


class CataloguePathIO(aioftp.AbstractPathIO[Path]):
    """The catalogue in aioftp's terms, for those commands that aioftp itself carries out. Nothing can be changed."""

    def __init__(
        self, catalogue: Catalogue, timeout: float | None = None, connection: Connection | None = None
    ) -> None:
        super().__init__(timeout=timeout, connection=connection)
        self._catalogue = catalogue

    async def exists(self, path: Path) -> bool:
        return await self.is_file(path) or await self.is_dir(path)

    async def is_dir(self, path: Path) -> bool:
        return self._catalogue.is_directory(PurePosixPath(path))

    async def is_file(self, path: Path) -> bool:
        return self._catalogue.size(PurePosixPath(path)) is not None

    def list(self, path: Path) -> AbstractAsyncLister[Path]:
        return _Lister(path / name for name in self._catalogue.names(PurePosixPath(path)))

    async def stat(self, path: Path) -> os.stat_result:
        size = self._catalogue.size(PurePosixPath(path))
        mode = stat.S_IFDIR | 0o755 if size is None else stat.S_IFREG | 0o644
        when = self._catalogue.modified_s
        return os.stat_result((mode, 0, 0, 1, 0, 0, size or 0, when, when, when))

    # What follows would open or change a file. The server removes the commands that need it; each says so
    # to whoever brings one back.

    async def _open(self, path: Path, mode: str) -> io.BytesIO:
        self._refuse()

    async def mkdir(self, path: Path, *, parents: bool = False, exist_ok: bool = False) -> None:
        self._refuse()

    async def rmdir(self, path: Path) -> None:
        self._refuse()

    async def unlink(self, path: Path) -> None:
        self._refuse()

    async def rename(self, source: Path, destination: Path) -> Path:
        self._refuse()

    async def seek(self, file: io.BytesIO, offset: int, whence: int = io.SEEK_SET) -> int:
        self._refuse()

    async def write(self, file: io.BytesIO, data: bytes) -> int:
        self._refuse()

    async def read(self, file: io.BytesIO, block_size: int) -> bytes:
        self._refuse()

    async def close(self, file: io.BytesIO) -> None:
        self._refuse()

    @staticmethod
    def _refuse() -> NoReturn:
        raise PermissionError("content is made while it is sent; the catalogue cannot be opened or changed")
