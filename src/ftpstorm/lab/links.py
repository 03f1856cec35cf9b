"""Delay, loss and rate of the lab's wires: lines for tc(8), and what of it this kernel has.

`netem` delays and loses, `tbf` holds to a rate. On which interfaces that happens is `ftpstorm.lab.topology`'s choice.
"""

from __future__ import annotations

import math
import os
import re
from typing import Final

from ftpstorm.errors import EnvironmentUnavailableError
from ftpstorm.lab.commands import find_program
from ftpstorm.lab.namespaces import Command, NamespaceRefusedError, exit_status, start_private
from ftpstorm.scenario.lab import Link

NETEM_PACKETS: Final = 100_000
"""Packets that a delay may hold: netem's own 1,000 would lose most of a burst."""
BURST_MIN_BYTES: Final = 65_536
"""Bucket of a rate: not below what one send of a veth may be (a TSO packet)."""
BURST_S: Final = 0.005
"""Bucket of a high rate, in seconds: above one tick of any kernel (4 ms at HZ=250), as tc-tbf(8) asks."""
QUEUE_MS: Final = 50
"""How long a packet may wait for its turn before the queue is full (tbf's latency)."""

MODULES: Final = {"delay": "sch_netem", "loss": "sch_netem", "rate": "sch_tbf"}
"""What each key of `lab.link` needs of the kernel."""
_FACTOR: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


def parse_bits(rate: str) -> float:
    """Return ``100mbit`` in bits a second; tc's prefixes are decimal (tc(8), UNITS)."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmg]?)bit", rate)
    if match is None:
        raise ValueError(f"{rate!r} is no rate such as 100mbit")
    return float(match[1]) * _FACTOR[match[2]]


def qdiscs(link: Link, interface: str) -> str:
    """Return the lines for ``tc -batch`` that make what leaves through `interface` suffer `link`; "" for nothing."""
    lines = []
    parent = "root"
    if link.delay or link.loss:
        what = f"limit {NETEM_PACKETS}"
        if link.delay:
            what += f" delay {max(1, round(link.delay / 1000))}us"
        if link.loss:
            what += f" loss {link.loss * 100:.6f}%"
        lines.append(f"qdisc add dev {interface} root handle 1: netem {what}")
        parent = "parent 1:1"
    if link.rate is not None:
        burst = max(BURST_MIN_BYTES, math.ceil(parse_bits(link.rate) / 8 * BURST_S))
        lines.append(
            f"qdisc add dev {interface} {parent} handle 10: tbf rate {link.rate} burst {burst}b latency {QUEUE_MS}ms"
        )
    return "".join(f"{line}\n" for line in lines)


def missing(link: Link, said: str) -> str:
    """Return the message for a `lab.link` that this kernel cannot do, with what tc said."""
    keys = [key for key, given in (("delay", link.delay), ("loss", link.loss), ("rate", link.rate)) if given]
    modules = sorted({MODULES[key] for key in keys})
    return (
        f"`lab.link` with {' and '.join(keys)} cannot be had here: this kernel ({os.uname().release}) may lack "
        f"{' and '.join(modules)} (as root: modprobe {modules[0]}); {said}"
    )


def probe_links() -> dict[str, str | None]:
    """Try `delay`, `loss` and `rate` of `lab.link` and return for each None where it works, else the reason.

    Makes a private namespace for each and leaves nothing; forks, so the caller is the main thread of a process without
    others.
    """
    netem = _try("netem delay 1ms", "delay")
    return {
        "delay": netem,
        "loss": netem if netem is not None else _try("netem loss 1%", "loss"),
        "rate": _try("tbf rate 10mbit burst 64kb latency 50ms", "rate"),
    }


def _try(discipline: str, key: str) -> str | None:
    try:
        program = find_program("tc")
        script = f'exec "{program}" qdisc add dev lo root {discipline} >/dev/null 2>&1'
        launcher = start_private(Command(("/bin/sh", "-c", script), {}))
    except NamespaceRefusedError as refused:
        return str(refused)
    except EnvironmentUnavailableError as error:
        return str(error)
    status = exit_status(os.waitpid(launcher, 0)[1])
    return None if status == 0 else f"this kernel lacks {MODULES[key]} (tc ended with {status})"
