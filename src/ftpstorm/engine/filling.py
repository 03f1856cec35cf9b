"""What differs between sessions of one flow: the account, and the values of variables and lists in a step's options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ftpstorm.arrivals.poisson import random_bits, stream_of
from ftpstorm.plan.filling import fill, own_value

if TYPE_CHECKING:
    from ftpstorm.engine.session import Session
    from ftpstorm.plan.plan import PlannedStep


class Accounts:
    """Users and their passwords, and which of them a session logs in as."""

    __slots__ = ("_pairs", "_stream")

    def __init__(self, pairs: Sequence[tuple[str, str]], *, random: bool, seed: int) -> None:
        """Take (user, password) pairs, at least one; `random` picks by `seed` and session number, else in turn."""
        self._pairs = tuple(pairs)
        self._stream = stream_of(seed, "users") if random else None

    def of(self, session: int) -> tuple[str, str]:
        """Return user and password of session number `session`."""
        index = session if self._stream is None else random_bits(self._stream, session)
        return self._pairs[index % len(self._pairs)]


def account_of(session: Session) -> tuple[str, str]:
    """Return user and password that `session` logs in with."""
    work = session.work
    return (work.user, work.password) if work.accounts is None else work.accounts.of(session.number)


def options_of(session: Session, step: PlannedStep) -> Any:
    """Return the options of a step that varies, for this session and this place in its flow."""
    number, ordinal = session.number, session.ordinal

    def value_of(name: str) -> str:
        if name == "session":
            return str(number)
        if name == "operation":
            return str(ordinal)
        if name == "worker":
            return str(session.work.worker)
        return account_of(session)[0] if name == "user" else own_value(session.work.variables, name, number)

    return fill(step.options, step.varies, number + ordinal, value_of)
