"""A terminal within the terminal: an interactive command gets a pseudo-terminal of its own, relayed to the user's.

So its session has a controlling terminal, as job control, Ctrl-C and full-screen programs need it (pty(7),
ioctl_tty(2)).
"""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import tty
from types import FrameType, TracebackType
from typing import Any, Final, Self

CHUNK_BYTES: Final = 65_536
_SIZE: Final = struct.Struct("HHHH")  # struct winsize


class Relay:
    """Relays between the user's terminal (descriptors 0 and 1) and a new one, whose inner end is `inner`.

    The user's terminal is raw meanwhile, and as it was afterwards.
    """

    def __init__(self) -> None:
        """Open the pseudo-terminal with the user's size. Raises OSError where there is none to be had."""
        self._outer, self.inner = pty.openpty()
        self._before: list[Any] | None = None
        self._on_resize: Any = signal.SIG_DFL
        self.resize()

    @property
    def descriptors(self) -> tuple[int, int]:
        """What to watch for reading: the user's terminal, and the outer end of the other."""
        return 0, self._outer

    def __enter__(self) -> Self:
        self._before = termios.tcgetattr(0)
        self._on_resize = signal.signal(signal.SIGWINCH, self._ignore)
        tty.setraw(0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, self._before)
        signal.signal(signal.SIGWINCH, self._on_resize)
        os.close(self._outer)

    @staticmethod
    def _ignore(number: int, frame: FrameType | None) -> None:
        """Do nothing: the signal's number arrives where the others do, and `resize` is called then."""

    def resize(self) -> None:
        """Give the inner terminal the size of the user's."""
        try:
            size = fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(_SIZE.size))
            fcntl.ioctl(self._outer, termios.TIOCSWINSZ, size)
        except OSError:
            return

    def move(self, descriptor: int) -> bool:
        """Move what is readable on `descriptor` to the other side; return False at its end."""
        try:
            data = os.read(descriptor, CHUNK_BYTES)
        except OSError as error:
            if error.errno != errno.EIO:  # nobody holds the inner end any more
                raise
            data = b""
        _write_all(1 if descriptor == self._outer else self._outer, data)
        return bool(data)

    def drain(self) -> None:
        """Move what is still to be read from the inner terminal."""
        poll = select.poll()
        poll.register(self._outer, select.POLLIN)
        while any(events & select.POLLIN for _, events in poll.poll(0)):
            if not self.move(self._outer):
                return


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
