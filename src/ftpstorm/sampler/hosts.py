"""The hosts that one sampler watches: a network namespace each, which side lives there, and what its ports mean.

Without a lab there is one, the sampler's own namespace. In a lab the conductor hands over a descriptor for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from ftpstorm.sampler.census import Watch
from ftpstorm.sampler.netns import call_inside
from ftpstorm.sampler.sockdiag import open_socket
from ftpstorm.sampler.sources import Source
from ftpstorm.vocabulary import Side

BOTH_SIDES: Final = "host"
"""Host of shared series where client and server live in one namespace."""
CLIENT_ONLY: Final = "client"
ROUTER: Final = "router"
SIDES: Final = {BOTH_SIDES: None, "client": Side.CLIENT, "server": Side.SERVER, ROUTER: Side.ROUTER}


@dataclass(frozen=True, slots=True)
class WatchedHost:
    """One namespace to watch. `side` None: client and server live there together; `netns` None: the caller's own."""

    name: str
    watch: Watch
    side: Side | None = None
    netns: int | None = None


def read_watch(fields: Any) -> Watch:
    """Return the watch of a `hello`, or of one of its hosts."""
    port_range = fields.get("port_range")
    return Watch(
        frozenset(fields.get("server_ports") or ()),
        frozenset(fields.get("passive_ports") or ()),
        (int(port_range[0]), int(port_range[1])) if port_range else None,
    )


def read_hosts(hello: Any) -> tuple[WatchedHost, ...]:
    """Return the hosts of a `hello`: those of its `hosts`, else the one that `host` names.

    Raises ValueError for a host or a side that is none, KeyError for a host without its name or descriptor.
    """
    listed = hello.get("hosts")
    if listed is None:
        watch = read_watch(hello)
        name = str(hello.get("host") or (BOTH_SIDES if watch.server_ports else CLIENT_ONLY))
        if name not in SIDES:
            raise ValueError(f"hello.host is {name!r}; it names the host of sample series: {', '.join(SIDES)}")
        return (WatchedHost(name, watch),)
    if not listed:
        raise ValueError("hello.hosts is empty: there is nothing to watch")
    hosts = []
    for each in listed:
        side = str(each["side"])
        if side not in SIDES:
            raise ValueError(f"hello.hosts: side {side!r} of {each['name']} is none of {', '.join(SIDES)}")
        hosts.append(WatchedHost(str(each["name"]), read_watch(each), SIDES[side], int(each["netns"])))
    return tuple(hosts)


@contextmanager
def opened(hosts: Sequence[WatchedHost]) -> Iterator[tuple[Source, ...]]:
    """Open a source in each host's namespace; close them all on the way out.

    Raises OSError where a namespace cannot be entered.
    """
    with ExitStack() as stack:
        yield tuple(stack.enter_context(call_inside(host.netns, partial(_open, host))) for host in hosts)


def _open(host: WatchedHost) -> Source:
    """Open in the calling thread's namespace; a broken netlink socket is replaced in that namespace, too."""
    return Source(
        host.name,
        host.side,
        opener=lambda: call_inside(host.netns, open_socket),
        fall_back=host.netns is None,
    )
