"""What a run keeps of its packets: a capture of the client's side, for Wireshark."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import field_validator

from ftpstorm.scenario.types import Frozen, PositiveCount, SizeBytes

PAYLOAD_MAX: Final = 1500
FILE_MAX: Final = 1 << 30


class Capture(Frozen):
    """TCP packets of the client's host, written to `capture.pcap` in the results, in the run's own namespace alone.

    By itself it keeps headers: enough for who sent SYN, FIN and RST, and no password. Each failure in the summary has a
    `display_filter` that finds its connection in Wireshark.
    """

    connections: Literal["all", "control"] = "all"
    """`control`: only those to the server's control port."""
    one_in: PositiveCount = 1
    """Keep one connection in so many, chosen by its ports, so that a kept one is whole."""
    max_bytes: SizeBytes = "16MiB"  # type: ignore[assignment]  # validated from text
    """The file ends there; the manifest says so. 1KiB to 1GiB."""
    payload: SizeBytes = "0B"  # type: ignore[assignment]
    """Bytes to keep of what each packet carries, 1500B at most. Control connections carry passwords: only for targets
    without one."""

    @field_validator("max_bytes")
    @classmethod
    def _holds_something(cls, value: int) -> int:
        if not 1024 <= value <= FILE_MAX:
            raise ValueError("must be from 1KiB to 1GiB")
        return value

    @field_validator("payload")
    @classmethod
    def _one_packet(cls, value: int) -> int:
        if value > PAYLOAD_MAX:
            raise ValueError(f"must be {PAYLOAD_MAX}B at most: what one packet carries")
        return value
