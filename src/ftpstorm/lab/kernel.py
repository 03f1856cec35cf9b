"""The few system calls behind namespaces that Python 3.11 lacks: unshare, setns, mount, prctl, and bringing `lo` up.

Bindings only: every function does one call and raises OSError with the kernel's errno. Who calls them in which order is
the business of `ftpstorm.lab.namespaces`, `ftpstorm.lab.hosts` and of whoever spawns processes.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import struct
from typing import Final

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18

PR_SET_PDEATHSIG: Final = 1
PR_SET_CHILD_SUBREAPER: Final = 36

SIOCGIFFLAGS: Final = 0x8913
SIOCSIFFLAGS: Final = 0x8914
IFF_UP: Final = 0x1
IFF_RUNNING: Final = 0x40
_IFREQ = struct.Struct("16sH22x")  # struct ifreq of netdevice(7): name, flags, rest of the union

# Bound at import: between fork and exec nothing may be loaded.
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]
_libc.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong]


def _check(result: int, call: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Leave the namespaces named by CLONE_* `flags` for new ones (unshare(2)); the process must have one thread.

    CLONE_NEWNET alone is about the calling thread only, and threads do no harm.
    """
    _check(_libc.unshare(flags), "unshare")


def setns(descriptor: int, kind: int) -> None:
    """Move the calling thread into the namespace behind `descriptor`, of the kind CLONE_* (setns(2))."""
    _check(_libc.setns(descriptor, kind), "setns")


def mount(source: str, target: str, kind: str | None, flags: int) -> None:
    """Call mount(2) without data; `kind` is the file system type, None where `flags` only change propagation."""
    _check(
        _libc.mount(source.encode(), target.encode(), kind.encode() if kind else None, flags, None), f"mount {target}"
    )


def die_with_parent(parent: int) -> None:
    """Ask for SIGKILL when the parent *thread* that forked this process ends (PR_SET_PDEATHSIG of prctl(2)).

    `parent` is the parent's pid as this process sees it (0 where it lives in another pid namespace). A parent that is
    gone already would never send the signal: then this process ends here, with SIGKILL as well.
    """
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
        os._exit(137)  # as PID 1 of a namespace a process cannot kill itself


def become_subreaper() -> None:
    """Adopt every descendant whose parent ends (PR_SET_CHILD_SUBREAPER of prctl(2))."""
    _check(_libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def bring_up_loopback() -> None:
    """Set IFF_UP on `lo` of this network namespace (netdevice(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        answer = fcntl.ioctl(sock, SIOCGIFFLAGS, _IFREQ.pack(b"lo", 0))
        flags = _IFREQ.unpack(answer)[1]
        fcntl.ioctl(sock, SIOCSIFFLAGS, _IFREQ.pack(b"lo", flags | IFF_UP))


def interface_flags(name: str) -> int:
    """Return the IFF_* flags of the interface `name` of this network namespace (SIOCGIFFLAGS of netdevice(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        flags: int = _IFREQ.unpack(fcntl.ioctl(sock, SIOCGIFFLAGS, _IFREQ.pack(name.encode(), 0)))[1]
    return flags
