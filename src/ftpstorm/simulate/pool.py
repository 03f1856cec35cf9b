"""The resources of the model: counted places, local ports, numbered passive ports.

A release is known when its place is taken or soon after, so it needs no event of its own: each resource keeps its
coming releases in a heap and lets those pass that are due when it is next asked. A place is free from the instant of
its release on. Nobody may ask with an instant earlier than before: the loop of `ftpstorm.simulate.events` sees to that.
"""

from __future__ import annotations

from array import array
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from heapq import heappop, heappush

PORT_BITS = 16
"""A heap of plain integers beats one of tuples: a release is its instant shifted left, the port in the low bits."""
PORT_MASK = (1 << PORT_BITS) - 1
NEVER_NS = 1 << 46
"""The end of what is never freed: later than any run ends, and small enough to leave a port number room beside it."""


class Places:
    """So many equal places: session slots, a connection cap, the ports that a budget counts."""

    __slots__ = ("_open", "_releases", "capacity")

    def __init__(self, capacity: int) -> None:
        """Make `capacity` >= 0 places, all free."""
        self.capacity = capacity
        self._open = 0  # taken, end not yet known
        self._releases: list[int] = []

    def take(self, now_ns: int) -> bool:
        """Take a place; tell whether there was one."""
        releases = self._releases
        while releases and releases[0] <= now_ns:
            heappop(releases)
        if self._open + len(releases) >= self.capacity:
            return False
        self._open += 1
        return True

    def release_at(self, instant_ns: int) -> None:
        """Say when a place that was taken is free again."""
        self._open -= 1
        heappush(self._releases, instant_ns)

    def taken(self, now_ns: int) -> int:
        """Return the places taken at `now_ns`."""
        releases = self._releases
        while releases and releases[0] <= now_ns:
            heappop(releases)
        return self._open + len(releases)


class PassivePool:
    """The server's passive ports, given out in the order in which they became free."""

    __slots__ = ("_free", "_releases", "size")

    def __init__(self, ports: Iterable[int]) -> None:
        """Make a pool of distinct `ports` (1 to 65535), all free."""
        self._free = deque(ports)
        self._releases: list[int] = []
        self.size = len(self._free)

    def take(self, now_ns: int) -> int:
        """Take the port that has been free longest; 0 when none is free."""
        releases = self._releases
        limit = (now_ns + 1) << PORT_BITS
        while releases and releases[0] < limit:
            self._free.append(heappop(releases) & PORT_MASK)
        return self._free.popleft() if self._free else 0

    def release_at(self, port: int, instant_ns: int) -> None:
        """Say when a taken port is free again: the end of its data connection and of its hold-down."""
        heappush(self._releases, (instant_ns << PORT_BITS) | port)


class RandomPool:
    """Passive ports given out at random: any free one, or only what a few draws over all of them find."""

    __slots__ = ("_at", "_draw", "_free", "_ports", "_releases", "_tries", "size")

    def __init__(self, ports: Iterable[int], draw: Callable[[int], int], tries: int = 0) -> None:
        """Make a pool of distinct `ports` (1 to 65535), all free.

        `draw(n)` gives a number from 0 to n - 1. With `tries` above 0 so many ports are drawn, taken or not, before the
        server gives up; 0 means that it finds a free one wherever there is one.
        """
        self._ports = tuple(ports)
        self._free = list(self._ports)
        self._at = {port: place for place, port in enumerate(self._free)}
        self._releases: list[int] = []
        self._draw = draw
        self._tries = tries
        self.size = len(self._free)

    def take(self, now_ns: int) -> int:
        """Take a port; 0 when none is found."""
        releases = self._releases
        limit = (now_ns + 1) << PORT_BITS
        while releases and releases[0] < limit:
            port = heappop(releases) & PORT_MASK
            self._at[port] = len(self._free)
            self._free.append(port)
        if not self._free:
            return 0
        if not self._tries:
            return self._remove(self._free[self._draw(len(self._free))])
        for _ in range(self._tries):
            port = self._ports[self._draw(len(self._ports))]
            if port in self._at:
                return self._remove(port)
        return 0

    def _remove(self, port: int) -> int:
        place = self._at.pop(port)
        last = self._free.pop()
        if last != port:
            self._free[place] = last
            self._at[last] = place
        return port

    def release_at(self, port: int, instant_ns: int) -> None:
        """Say when a taken port is free again."""
        heappush(self._releases, (instant_ns << PORT_BITS) | port)


class EscapingPool:
    """A range that, once used up, gives way to ports that the kernel chooses, and nobody says so."""

    __slots__ = ("_outside", "_range", "escaped", "size")

    def __init__(self, within: PassivePool | RandomPool, outside: PassivePool | RandomPool) -> None:
        self._range = within
        self._outside = outside
        self.escaped: set[int] = set()
        """Ports outside the range that are taken, or were."""
        self.size = within.size

    def take(self, now_ns: int) -> int:
        """Take a port of the range, else one outside; 0 only when the kernel has none either."""
        port = self._range.take(now_ns)
        if not port:
            port = self._outside.take(now_ns)
            self.escaped.add(port)
        return port

    def release_at(self, port: int, instant_ns: int) -> None:
        """Say when a taken port is free again."""
        (self._outside if port in self.escaped else self._range).release_at(port, instant_ns)


class PortsByDestination:
    """Local ports, as many for each destination: connections to different ones share a port, those to one never do.

    Which ports are free again matters only where all of a destination's are taken, so until then releases are kept as
    they come: destinations are as many as the server has passive ports, and to look each up would cost a cache miss.
    """

    __slots__ = ("_each", "_latest", "_releases", "_taken")

    def __init__(self, each: int) -> None:
        """Make `each` >= 0 ports for every destination that is ever named."""
        self._each = each
        self._taken: dict[int, int] = {}
        self._latest: array[int] = array("q")  # destination, instant, destination, instant ...
        self._releases: defaultdict[int, list[int]] = defaultdict(list)

    def take(self, destination: int, now_ns: int) -> bool:
        """Take a port towards a destination, which any number may name; tell whether there was one."""
        taken = self._taken.get(destination, 0)
        if taken >= self._each:
            taken -= self._freed(destination, now_ns)
            if taken >= self._each:
                self._taken[destination] = taken
                return False
        self._taken[destination] = taken + 1
        return True

    def release_at(self, destination: int, instant_ns: int) -> None:
        """Say when a port that was taken towards a destination is free again."""
        self._latest.extend((destination, instant_ns))

    def _freed(self, destination: int, now_ns: int) -> int:
        """Return how many ports towards a destination became free since this was last asked."""
        latest = self._latest
        for towards, instant_ns in zip(latest[::2], latest[1::2], strict=True):
            heappush(self._releases[towards], instant_ns)
        del latest[:]
        releases = self._releases[destination]
        freed = 0
        while releases and releases[0] <= now_ns:
            heappop(releases)
            freed += 1
        return freed
