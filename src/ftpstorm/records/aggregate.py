"""Aggregates of records: counts, percentiles, rates over time, failures by class. Pure numpy, no opinion.

Arrays that come in are columns or rows of `records.reader`; all instants are int64 ns after start_at. Percentiles are
nearest-rank: the p-th is the smallest value that at least p per cent of the values do not exceed, so each is a value
that was really measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ftpstorm.records.reader import Array, Readings, Rows
from ftpstorm.records.schema import ABSENT
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import TRANSFERS, FailureClass, Operation, Outcome, Phase

Instants = npt.NDArray[np.int64]

_TRANSFERS: Final = np.array(sorted(TRANSFERS), np.uint8)
_FAILURE_DTYPE: Final = np.dtype(
    [
        ("load", "u1"),
        ("worker", "u1"),
        ("session", "<u4"),
        ("class", "u1"),
        ("phase", "u1"),
        ("control_survived", "i1"),
        ("code", "<u2"),
        ("errno", "<u2"),
        ("text", "<u4"),
        ("local_port", "<u2"),
        ("remote_port", "<u2"),
        ("unconnected", "?"),
        ("target", "<u2"),
        ("source", "<u2"),
        ("start_ns", "<i8"),
        ("t_ns", "<i8"),
    ]
)


def percentile(values: npt.NDArray[Any], percent: float) -> float | None:
    """Return the nearest-rank percentile (0 to 100) of `values`; None when there are none."""
    found = percentiles(values, (percent,))
    return None if found is None else found[0]


def percentiles(values: npt.NDArray[Any], percents: Sequence[float]) -> list[float] | None:
    """Return several nearest-rank percentiles in one pass; None when there are no values."""
    if not len(values):
        return None
    ranks = [_rank(len(values), percent) for percent in percents]
    ordered = np.partition(values, sorted(set(ranks)))
    return [float(ordered[rank]) for rank in ranks]


def _rank(count: int, percent: float) -> int:
    """Return the index of the nearest rank, ceil(count * percent / 100) - 1, `percent` read as a decimal.

    In binary 99.9 % of 1,000 is a little more than 999, and the rank one too high.
    """
    return max(0, math.ceil(Fraction(repr(float(percent))) * count / 100) - 1)


def transfers(operations: Array) -> Array:
    """Return the rows of `operations` that move bytes over a data connection: what all transfer figures count."""
    return operations[np.isin(operations["operation"], _TRANSFERS)]


def success_instants(moved: Array) -> Instants:
    """Return when the transfers in `moved` succeeded, sorted."""
    return np.sort(moved["end_ns"][moved["outcome"] == Outcome.SUCCEEDED])


def rate_bins(instants: Instants, from_ns: int, to_ns: int, width_ns: int) -> tuple[Instants, npt.NDArray[np.float64]]:
    """Return the left edges of bins of `width_ns` over [from, to) and the events a second in each.

    The last bin is as wide as the others even where it reaches beyond `to_ns`; then it is left out, unless it is the
    only one: a rate over half a bin would show a fall that is none.
    """
    count = max((to_ns - from_ns) // width_ns, 1)
    edges = from_ns + width_ns * np.arange(count + 1, dtype=np.int64)
    counted, _ = np.histogram(instants[instants < edges[-1]], edges)  # numpy would count the last edge too
    return edges[:-1], counted * (NS_PER_S / width_ns)


def in_flight(start_ns: Instants, end_ns: Instants) -> Readings:
    """Return how many of the intervals [start, end) are open after each start or end, in time order."""
    t_ns = np.concatenate((start_ns, end_ns))
    step = np.concatenate((np.ones(len(start_ns)), -np.ones(len(end_ns))))
    order = np.lexsort((step, t_ns))
    return Readings(t_ns[order], np.cumsum(step[order]))


def most_in_flight(start_ns: Instants, end_ns: Instants) -> int:
    """Return how many of the intervals [start, end) are open at one instant at most; none may end before it starts."""
    starts, ends = np.sort(start_ns), np.sort(end_ns)
    open_then = np.arange(1, len(starts) + 1) - np.searchsorted(ends, starts, side="right")
    return int(open_then.max(initial=0))


def at(readings: Readings, t_ns: Instants) -> npt.NDArray[np.float64]:
    """Return the value that a series had at each instant: the last reading not later; 0 before the first."""
    if not len(readings):
        return np.zeros(len(t_ns))
    index = np.searchsorted(readings.t_ns, t_ns, side="right") - 1
    return np.where(index >= 0, readings.value[np.maximum(index, 0)], 0.0)


def increase(readings: Readings) -> float | None:
    """Return how far a counter rose between its first and its last reading; None with fewer than two."""
    return float(readings.value[-1] - readings.value[0]) if len(readings) >= 2 else None


@dataclass(frozen=True, slots=True)
class Failures:
    """Every failure once: failed operations (each attempt) and sessions that failed outside any operation.

    `data["text"]` is an index into `texts`, `data["worker"]` one into `writers`; `t_ns` is when it failed; `local_port`
    and `remote_port` are those of the connection it concerns, 0 where unknown (a control connection's remote port is
    that of the target). `unconnected` marks a data connection of active mode that never came: `local_port` waited for
    it, and no remote port is known.
    """

    data: Array
    texts: tuple[str, ...]
    writers: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.data)

    def of(self, *classes: FailureClass) -> Array:
        """Return the rows of these classes."""
        return self.data[np.isin(self.data["class"], np.array(classes, np.uint8))]


def failures(sessions: Rows, operations: Rows) -> Failures:
    """Gather the failures of a run, sorted by time."""
    failed = operations.data[operations.data["class"] != FailureClass.NONE]
    outside = sessions.data[(sessions.data["class"] != FailureClass.NONE) & (sessions.data["operations_failed"] == 0)]
    data = np.zeros(len(failed) + len(outside), _FAILURE_DTYPE)
    of_operations, of_sessions = data[: len(failed)], data[len(failed) :]
    for name in ("load", "worker", "session", "class", "phase", "control_survived", "code", "errno", "text"):
        of_operations[name] = failed[name]
        of_sessions[name] = outside[name]
    of_operations["start_ns"], of_operations["t_ns"] = failed["start_ns"], failed["end_ns"]
    of_sessions["start_ns"], of_sessions["t_ns"] = outside["start_ns"], outside["end_ns"]
    texts = ("", *sorted({*sessions.texts, *operations.texts} - {""}))
    number_of = {text: number for number, text in enumerate(texts)}
    for part, rows in ((of_operations, operations), (of_sessions, sessions)):
        part["text"] = np.array([number_of[text] for text in rows.texts], np.uint32)[part["text"]]
    writers = tuple(dict.fromkeys((*operations.writers, *sessions.writers)))
    for part, rows in ((of_operations, operations), (of_sessions, sessions)):
        if rows.writers:  # of spools that still grow nobody asks who wrote them
            part["worker"] = np.array([writers.index(writer) for writer in rows.writers], np.uint8)[part["worker"]]
    _add_addresses(of_operations, failed, sessions.data)
    for name in ("local_port", "target", "source"):
        of_sessions[name] = outside[name]
    return Failures(data[np.argsort(data["t_ns"], kind="stable")], texts, writers)


def _add_addresses(part: Array, failed: Array, sessions: Array) -> None:
    """Fill in which connection a failed operation concerns: the data connection where it got that far, else control."""
    part["local_port"], part["remote_port"] = failed["data_port"], failed["passive_port"]
    if not len(part) or not len(sessions):
        return
    keys = _keys(sessions)
    order = np.argsort(keys)
    wanted = _keys(failed)
    found = order[np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)]
    known = keys[found] == wanted
    for name in ("target", "source"):
        part[name] = np.where(known, sessions[name][found], 0)
    control = np.isin(part["phase"], np.array([Phase.PASSIVE, Phase.LOGIN, Phase.COMMAND], np.uint8)) | (
        failed["data_port"] == 0
    )
    part["local_port"] = np.where(control & known, sessions["local_port"][found], part["local_port"])
    part["remote_port"] = np.where(control, 0, part["remote_port"])
    part["unconnected"] = ~control & (failed["passive_port"] == 0)


def after_failed_login(found: Failures, sessions: Array) -> npt.NDArray[np.bool_]:
    """Return which failures came after the login of their session had failed for good, in steps that went on."""
    data = found.data
    key = _keys(data)
    at_login = np.flatnonzero(data["phase"] == Phase.LOGIN)
    never = sessions[(sessions["login_ns"] == ABSENT) & (sessions["start_ns"] != ABSENT)]
    at_login = at_login[np.isin(key[at_login], _keys(never))]
    _, last = np.unique(key[at_login][::-1], return_index=True)  # of several attempts the last one
    last = at_login[len(at_login) - 1 - last]
    order = np.argsort(key[last])
    later: npt.NDArray[np.bool_] = np.zeros(len(data), bool)
    if len(last):
        nearest = last[order][np.minimum(np.searchsorted(key[last][order], key), len(last) - 1)]
        later = (key[nearest] == key) & (np.arange(len(data)) > nearest)
    return later


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failures alike in class, phase, code and errno. `survived` and `unknown` count what became of control."""

    failure: FailureClass
    phase: Phase
    code: int
    errno: int
    count: int
    survived: int
    unknown: int
    consequences: int
    """How many of them followed from a login that had failed."""
    first: int
    """Index of the first of them in `Failures.data`."""


def failure_groups(found: Failures, sessions: Array) -> list[FailureGroup]:
    """Group failures by class, phase, code and errno, the largest group first, consequences of others last."""
    data = found.data
    if not len(data):
        return []
    names = ("class", "phase", "code", "errno")
    key = np.zeros(len(data), np.uint64)
    for name, bits in zip(names, (8, 8, 16, 16), strict=True):
        key = key << np.uint64(bits) | data[name].astype(np.uint64)
    _, first, inverse, count = np.unique(key, return_index=True, return_inverse=True, return_counts=True)
    survived = np.bincount(inverse, weights=data["control_survived"] == 1, minlength=len(first))
    unknown = np.bincount(inverse, weights=data["control_survived"] == -1, minlength=len(first))
    consequences = np.bincount(inverse, weights=after_failed_login(found, sessions), minlength=len(first))
    groups = [
        FailureGroup(
            FailureClass(int(row["class"])),
            Phase(int(row["phase"])),
            int(row["code"]),
            int(row["errno"]),
            int(count[i]),
            int(survived[i]),
            int(unknown[i]),
            int(consequences[i]),
            int(first[i]),
        )
        for i, row in enumerate(data[first])
    ]
    return sorted(
        groups,
        key=lambda group: (group.consequences - group.count, -group.count, group.failure, group.code, group.errno),
    )


@dataclass(frozen=True, slots=True)
class Durations:
    """Durations of one phase. `ns` holds those that completed it, shape (n,); `start_ns` when each of them began it."""

    ns: Instants
    start_ns: Instants
    excluded: int
    """How many entered the phase and did not complete it."""


def _durations(rows: Array, from_ns: Instants, to_ns: Instants, phase: Phase) -> Durations:
    entered = from_ns != ABSENT
    completed = entered & (to_ns != ABSENT) & (rows["phase"] != phase)
    spans = np.maximum(to_ns[completed] - from_ns[completed], 0)
    failed = (rows["phase"] == phase) & (rows["class"] != FailureClass.NONE)
    unfinished = failed | (_cut_off(rows) & (to_ns == ABSENT))
    return Durations(spans, from_ns[completed], int(np.count_nonzero(entered & unfinished)))


def _cut_off(rows: Array) -> npt.NDArray[np.bool_]:
    """Return what the end of the run cut off before anything had failed."""
    cut: npt.NDArray[np.bool_] = (rows["outcome"] == Outcome.INTERRUPTED) & (rows["class"] == FailureClass.NONE)
    return cut


def _handshakes(began: Array) -> tuple[Instants, npt.NDArray[np.bool_]]:
    """Return when each session entered TLS on control, ABSENT where it did not, and which did so before the greeting.

    A session cut off is taken to have been in TLS where others of the same run tell that TLS came next.
    """
    connected, tls, greeting = (began[name] for name in ("connected_ns", "tls_ns", "greeting_ns"))
    there = tls != ABSENT
    entered = there | (began["phase"] == Phase.TLS)
    implicit = entered & ((greeting == ABSENT) | (there & (tls < greeting)))
    if entered.any():
        waits = (connected != ABSENT) & (greeting == ABSENT) if implicit.any() else greeting != ABSENT
        cut = _cut_off(began) & ~there & waits
        entered |= cut
        implicit |= cut & (greeting == ABSENT)
    return np.where(entered, np.where(implicit, connected, greeting), ABSENT), implicit


def _logging_in(began: Array, operations: Array) -> npt.NDArray[np.bool_]:
    """Return which sessions logged in, or failed to, or were cut off while they tried: a flow may never try."""
    tried = operations[(operations["operation"] == Operation.LOGIN) & (operations["outcome"] == Outcome.INTERRUPTED)]
    cut = np.isin(_keys(began), _keys(tried))
    entered: npt.NDArray[np.bool_] = (began["login_ns"] != ABSENT) | cut | ~_cut_off(began)
    return entered


def _keys(rows: Array) -> npt.NDArray[np.uint64]:
    """Return the session that each row is of, as one number."""
    keys: npt.NDArray[np.uint64] = rows["load"].astype(np.uint64) << np.uint64(32) | rows["session"]
    return keys


def phase_durations(sessions: Array, operations: Array) -> dict[str, Durations]:
    """Return the durations of each latency phase (`vocabulary.LATENCY_PHASES`) and `session_actual`.

    Each phase counts from the end of the one before; `session` from the intended start to the end, `session_actual`
    from the actual start. A phase excludes what failed in it: a refusal that comes fast would flatter the latency. It
    excludes too what the run's end cut off in it.
    """
    moved = transfers(operations)
    began = sessions[sessions["start_ns"] != ABSENT]
    start, connected, tls, greeting, login = (
        began[name] for name in ("start_ns", "connected_ns", "tls_ns", "greeting_ns", "login_ns")
    )
    before_tls, implicit = _handshakes(began)
    before_login = np.where((tls != ABSENT) & ~implicit, tls, greeting)
    succeeded = moved["outcome"] == Outcome.SUCCEEDED
    return {
        "control_connect": _durations(began, start, connected, Phase.CONTROL_CONNECT),
        "tls": _durations(began, before_tls, tls, Phase.TLS),
        "greeting": _durations(began, np.where(implicit, tls, connected), greeting, Phase.GREETING),
        "login": _durations(began, np.where(_logging_in(began, operations), before_login, ABSENT), login, Phase.LOGIN),
        "passive": _durations(moved, moved["start_ns"], moved["passive_ns"], Phase.PASSIVE),
        "data_connect": _durations(moved, moved["passive_ns"], moved["data_connected_ns"], Phase.DATA_CONNECT),
        "first_byte": _durations(moved, moved["data_connected_ns"], moved["first_byte_ns"], Phase.FIRST_BYTE),
        "transfer": _durations(moved, moved["first_byte_ns"], moved["data_end_ns"], Phase.TRANSFER),
        "final_reply": _durations(
            moved, moved["data_end_ns"], np.where(succeeded, moved["end_ns"], ABSENT), Phase.FINAL_REPLY
        ),
        **session_durations(sessions),
    }


def session_durations(sessions: Array) -> dict[str, Durations]:
    """Return how long whole sessions took that succeeded: `session` and `session_actual` of `phase_durations`."""
    done = sessions[sessions["outcome"] == Outcome.SUCCEEDED]
    failed = int(np.count_nonzero(sessions["start_ns"] != ABSENT)) - len(done)
    lost = int(np.count_nonzero(sessions["outcome"] == Outcome.DROPPED))
    return {
        "session": Durations(done["end_ns"] - done["intended_ns"], done["intended_ns"], failed + lost),
        "session_actual": Durations(done["end_ns"] - done["start_ns"], done["start_ns"], failed),
    }


def lateness(sessions: Array) -> Instants:
    """Return actual minus intended start of every session that started, ns, in the order of `sessions`."""
    began = sessions[sessions["start_ns"] != ABSENT]
    late: Instants = began["start_ns"] - began["intended_ns"]
    return late
