"""Kernel settings of a lab's hosts: set inside each host's network namespace, read back and compared.

Only net.* settings are per namespace, and only those are set: nothing here can reach the machine's own. Which settings
a scenario may name is `ftpstorm.scenario.lab`'s business.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from ftpstorm.errors import EnvironmentUnavailableError
from ftpstorm.lab.hosts import Host
from ftpstorm.sampler.procnet import parse_port_list
from ftpstorm.scenario.lab import Lab, sysctl_full_name
from ftpstorm.vocabulary import Side

EVERYWHERE: Final = {
    "net.ipv4.tcp_rfc1337": "1",  # a peer's RST must not end a TIME_WAIT early, or counts are not exact (RFC 1337)
    "net.ipv4.conf.all.rp_filter": "0",  # inherited from the machine; would drop what comes in on another wire
    "net.ipv4.conf.default.rp_filter": "0",
}
"""What every host of a lab gets unless the scenario says otherwise."""

ROUTER: Final = {
    "net.ipv4.ip_forward": "1",
    "net.ipv4.icmp_ratemask": "0",  # every refused SYN gets its ICMP error: by default one a second and client does
}
ROUTER_IPV6: Final = {"net.ipv6.conf.all.forwarding": "1", "net.ipv6.icmp.ratemask": "0"}
IPV6: Final = {"net.ipv6.conf.all.disable_ipv6": "0", "net.ipv6.conf.default.disable_ipv6": "0"}

_LISTS: Final = ("net.ipv4.ip_local_reserved_ports",)
_RANGES: Final = ("net.ipv4.ip_local_port_range",)


def defaults(lab: Lab, side: Side) -> dict[str, str]:
    """Return what a host of `side` gets that the scenario did not ask for, by full name."""
    wanted = dict(EVERYWHERE)
    if lab.ipv6:
        wanted |= IPV6
    if side is Side.ROUTER:
        wanted |= ROUTER | (ROUTER_IPV6 if lab.ipv6 else {})
    return wanted


def asked(lab: Lab, side: Side) -> dict[str, str]:
    """Return what the scenario asks for on hosts of `side`, by full name.

    With `topology: loopback` client and server are one host: what is given for either. The router's `conntrack`
    settings are part of its own.
    """
    sections = {Side.CLIENT: lab.sysctls.client, Side.SERVER: lab.sysctls.server, Side.ROUTER: lab.sysctls.router}
    chosen = dict(sections[side])
    if lab.topology == "loopback":
        chosen = {**lab.sysctls.client, **lab.sysctls.server}
    found = {sysctl_full_name(name): value for name, value in chosen.items()}
    if side is Side.ROUTER:
        found |= {f"net.netfilter.nf_conntrack_{name}": str(value) for name, value in lab.conntrack.items()}
    return found


def apply(host: Host, wanted: Mapping[str, str]) -> None:
    """Set `wanted` (full name to value) on `host`; the calling thread goes there and back.

    Raises EnvironmentUnavailableError, with host, name and value, for what the kernel lacks or refuses.
    """
    with host.entered():
        for name, value in wanted.items():
            try:
                _write(name, value)
            except OSError as error:
                raise EnvironmentUnavailableError(_refused(host, name, value, error)) from None


def verify(host: Host, wanted: Mapping[str, str]) -> dict[str, str]:
    """Read `wanted` back on `host` and return what is there, white space single.

    Raises EnvironmentUnavailableError for a value that is not the wanted one: the kernel changed it, or one setting
    changed another.
    """
    found = {}
    with host.entered():
        for name, value in wanted.items():
            try:
                seen = read(name)
            except OSError as error:
                raise EnvironmentUnavailableError(_refused(host, name, value, error)) from None
            if not same(name, value, seen):
                raise EnvironmentUnavailableError(
                    f"lab: {name} on {host.name}: wanted {value!r}, but the kernel has {seen!r} after it was set; "
                    "give a value that it keeps"
                )
            found[name] = seen
    return found


@contextlib.contextmanager
def restored(host: Host, names: Iterable[str]) -> Iterator[None]:
    """Give the settings `names` of `host` their values of now back at the end; what cannot be read is passed over."""
    before = {}
    with host.entered():
        for name in names:
            with contextlib.suppress(OSError):
                before[name] = read(name)
    try:
        yield
    finally:
        with host.entered():
            for name, value in before.items():
                with contextlib.suppress(OSError):  # it was read, so it can be missing only with its interface
                    _write(name, value)


def read(name: str) -> str:
    """Return the setting `name` (full) in the calling thread's network namespace, white space single."""
    descriptor = os.open(_path(name), os.O_RDONLY | os.O_CLOEXEC)
    try:
        return " ".join(os.read(descriptor, 65_536).decode("ascii", "replace").split())
    finally:
        os.close(descriptor)


def same(name: str, wanted: str, seen: str) -> bool:
    """Return whether `seen` means `wanted`: white space, ``a-b`` for a range and the spelling of port lists aside."""
    if name in _LISTS:
        return _ports(wanted) == _ports(seen)
    return _words(name, wanted) == seen.split()


def _words(name: str, value: str) -> list[str]:
    return (value.replace("-", " ") if name in _RANGES else value).split()


def _ports(text: str) -> set[int] | None:
    ranges = parse_port_list(text.encode())
    return None if ranges is None else {port for first, last in ranges for port in range(first, last + 1)}


def _path(name: str) -> str:
    return "/proc/sys/" + name.replace(".", "/")


def _write(name: str, value: str) -> None:
    descriptor = os.open(_path(name), os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, " ".join(_words(name, value)).encode() + b"\n")
    finally:
        os.close(descriptor)


def _refused(host: Host, name: str, value: str, error: OSError) -> str:
    word = errno.errorcode.get(error.errno or 0, str(error.errno))
    match error.errno:
        case errno.ENOENT:
            why = "this kernel has no such setting for a network namespace; see `ls /proc/sys/net` for those it has"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            why = "it is the whole machine's, and no lab may change it"
        case errno.EINVAL | errno.ERANGE:
            why = "the kernel takes no such value"
        case _:
            why = os.strerror(error.errno or 0)
    return f"lab: {name} = {value!r} on {host.name} failed with {word}: {why}"
