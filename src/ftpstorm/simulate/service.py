"""How long each piece of a session takes when nothing stands in its way: assumptions, stated, given by the caller.

The defaults are what a loopback connection to the embedded server takes on one core of a small machine. They decide how
long a port is in use (C); where it is held for seconds afterwards (H) the ceiling N/(H+C) hardly depends on them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ftpstorm.units import NS_PER_S


@dataclass(frozen=True, slots=True)
class ServiceTimes:
    """Durations of one session's parts, in ns, all >= 0, and the payload's speed."""

    connect_ns: int = 100_000
    """connect() until the handshake is done: one round trip of the network."""
    reply_ns: int = 200_000
    """A command sent until its reply is read, the server's work left out; also the greeting after the handshake."""
    first_byte_ns: int = 200_000
    """The transfer command sent until the first payload byte."""
    final_reply_ns: int = 100_000
    """The end of the data until the final reply is read."""
    bytes_per_s: int = 500_000_000
    """Payload bytes a second of one data connection; > 0."""
    session_work_ns: int = 150_000
    """CPU time of the server for one control connection: accept, login, quit. The server serves one thing at a time."""
    transfer_work_ns: int = 250_000
    """CPU time of the server for one transfer."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is below 0")
        if self.bytes_per_s == 0:
            raise ValueError("bytes_per_s is 0: nothing would ever be transferred")

    def stretched(self, *, waits: float = 1.0, work: float = 1.0) -> ServiceTimes:
        """Return the service times with all waits, and with the server's work, so many times as long."""
        durations = {
            name: round(getattr(self, name) * (work if name.endswith("_work_ns") else waits))
            for name in self.__slots__
            if name.endswith("_ns")
        }
        return replace(self, **durations, bytes_per_s=max(1, round(self.bytes_per_s / waits)))

    def payload_ns(self, size_bytes: int) -> int:
        """Return how long `size_bytes` of payload take from the first byte to the last."""
        return size_bytes * NS_PER_S // self.bytes_per_s

    def passive_life_ns(self, size_bytes: int) -> int:
        """Return C: how long one transfer uses a passive port, from the server's handling of PASV to the end of data.

        Worked number: with the defaults and 1 KiB, 100 us (half the reply's round trip) + 100 us (connect) + 200 us
        (first byte) + 250 us (work) + 2.048 us (payload) = 652.048 us.
        """
        return (
            self.reply_ns
            - self.reply_ns // 2
            + self.connect_ns
            + self.first_byte_ns
            + self.transfer_work_ns
            + self.payload_ns(size_bytes)
        )
