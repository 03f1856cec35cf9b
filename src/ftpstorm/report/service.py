"""Service times that a run's records show: what a simulation of the same hosts should assume."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from ftpstorm.errors import UsageError
from ftpstorm.records import aggregate
from ftpstorm.records.reader import Array, Run
from ftpstorm.records.schema import ABSENT
from ftpstorm.simulate.service import ServiceTimes
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import Outcome

BULK_BYTES: Final = 262_144
"""Smaller transfers say nothing of a payload's speed: their time is that of a packet or two."""


def service_times(run: Run) -> ServiceTimes:
    """Return the median durations of the run's succeeded transfers, and of its sessions' first steps.

    Where the records hold none of a kind, the default stays. How much of a wait was the server's work is not on record:
    the defaults' work is taken off where the wait was longer, else half of it counts as work. Raises UsageError for a
    run without a succeeded transfer.
    """
    moved = aggregate.transfers(run.operations.data)
    moved = moved[moved["outcome"] == Outcome.SUCCEEDED]
    if not len(moved):
        raise UsageError(f"--from-run {run.folder}: no transfer succeeded in it, so it shows no service times")
    sessions = run.sessions.data[run.sessions.data["greeting_ns"] != ABSENT]
    default = ServiceTimes()
    reply = _median(moved, "start_ns", "passive_ns", default.reply_ns)
    greeting = _median(sessions, "connected_ns", "greeting_ns", reply + default.session_work_ns)
    answer = _median(moved, "data_connected_ns", "first_byte_ns", default.first_byte_ns + default.transfer_work_ns)
    work = min(default.transfer_work_ns, answer // 2)
    return replace(
        default,
        connect_ns=_median(sessions, "start_ns", "connected_ns", default.connect_ns),
        reply_ns=reply,
        first_byte_ns=answer - work,
        final_reply_ns=_median(moved, "data_end_ns", "end_ns", default.final_reply_ns),
        bytes_per_s=_speed(moved, default.bytes_per_s),
        session_work_ns=max(0, greeting - reply),
        transfer_work_ns=work,
    )


def _median(rows: Array, earlier: str, later: str, otherwise: int) -> int:
    known = rows[(rows[earlier] != ABSENT) & (rows[later] != ABSENT)]
    if not len(known):
        return otherwise
    return max(0, int(np.median(known[later] - known[earlier])))


def _speed(moved: Array, otherwise: int) -> int:
    bulk = moved[(moved["bytes"] >= BULK_BYTES) & (moved["data_end_ns"] != ABSENT) & (moved["first_byte_ns"] != ABSENT)]
    lasted = bulk["data_end_ns"] - bulk["first_byte_ns"]
    known = lasted > 0
    if not known.any():
        return otherwise
    return max(1, int(np.median(bulk["bytes"][known] * (NS_PER_S / lasted[known]))))
