"""Run one call in another network namespace, from a process that stays where it is.

setns(2) with CLONE_NEWNET moves the calling thread alone: the call gets a thread of its own that enters and ends. What
it opened there (netlink sockets, files under /proc/thread-self/net) goes on reading that namespace from any thread.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

CLONE_NEWNET: Final = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def enter_network(descriptor: int) -> None:
    """Move the calling thread into the network namespace that `descriptor` is open on (setns(2)).

    It takes CAP_SYS_ADMIN over that namespace and in one's own user namespace. Raises OSError with the kernel's errno.
    """
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


def call_inside(descriptor: int | None, call: Callable[[], T]) -> T:
    """Return what `call` returns in the namespace open as `descriptor`, None being the caller's own.

    Raises what `call` raises, and OSError where the namespace cannot be entered.
    """
    if descriptor is None:
        return call()
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            enter_network(descriptor)
            results.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name=f"netns-{descriptor}")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
