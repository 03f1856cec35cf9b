"""A host of the lab: a network namespace that an open descriptor holds, its addresses, and the way in and out.

What links hosts and sets them up is left to `ftpstorm.lab.topology`. A namespace ends with its last descriptor and its
last process: nothing here has a name in the file system that could stay behind.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ftpstorm.lab import kernel
from ftpstorm.vocabulary import Side

THREAD_NETWORK: Final = "/proc/thread-self/ns/net"
"""The calling thread's namespace; /proc/self names the first thread's, which may be another one."""


@dataclass(frozen=True, slots=True)
class Host:
    """One host. `netns` is open as long as the network that owns it; who needs it longer duplicates it."""

    name: str
    """``client-0`` and on, ``server``, ``router``."""
    side: Side
    netns: int
    """Descriptor of the network namespace."""
    addresses: tuple[str, ...]
    """Its addresses on the network, in order: of a client what load may come from, of a server what it listens on."""

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Let the calling thread be in this host's network, and go back where it came from at the end.

        A process started meanwhile, by whatever means, and a socket or /proc/sys and /proc/thread-self/net file opened
        meanwhile belong to this host for good. Other threads are not moved.
        """
        with entered(self.netns):
            yield


@contextlib.contextmanager
def entered(netns: int) -> Iterator[None]:
    """Let the calling thread be in the network namespace behind the descriptor `netns`; go back at the end."""
    home = current_network()
    try:
        kernel.setns(netns, kernel.CLONE_NEWNET)
        try:
            yield
        finally:
            kernel.setns(home, kernel.CLONE_NEWNET)
    finally:
        os.close(home)


def current_network() -> int:
    """Open the network namespace of the calling thread; the caller closes the descriptor."""
    return os.open(THREAD_NETWORK, os.O_RDONLY | os.O_CLOEXEC)


def new_network() -> int:
    """Make a network namespace whose `lo` is up, stay where we are, and return its descriptor; the caller closes it.

    Needs CAP_SYS_ADMIN in the caller's user namespace (unshare(2)): inside a private namespace everybody has it.
    """
    home = current_network()
    try:
        kernel.unshare(kernel.CLONE_NEWNET)
        try:
            kernel.bring_up_loopback()
            return current_network()
        finally:
            kernel.setns(home, kernel.CLONE_NEWNET)
    finally:
        os.close(home)
