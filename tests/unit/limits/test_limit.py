"""A limit says what it bounds, or why it bounds nothing."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from ftpstorm.limits.limit import Limit, not_applicable
from ftpstorm.vocabulary import Cause, Side

BASE: dict[str, Any] = {
    "name": Cause.SERVER_PASSIVE_POOL,
    "side": Side.SERVER,
    "subject": "ports",
    "equation": "R = N/H",
    "source": "Little",
}


def test_an_applicable_limit_needs_a_rate_or_a_count() -> None:
    Limit(**BASE, applies=True, concurrent=3)
    with pytest.raises(ValidationError, match="bounds a rate or a count"):
        Limit(**BASE, applies=True)


def test_a_limit_that_does_not_apply_says_why_and_bounds_nothing() -> None:
    with pytest.raises(ValidationError, match="says why"):
        Limit(**BASE, applies=False)
    with pytest.raises(ValidationError, match="bounds nothing"):
        Limit(**BASE, applies=False, not_applicable_reason="no pool", per_s=1.0)
    with pytest.raises(ValidationError, match="says why"):
        Limit(**BASE, applies=True, per_s=1.0, not_applicable_reason="no pool")


def test_an_interval_contains_its_rate() -> None:
    Limit(**BASE, applies=True, per_s=2.0, interval=(1.0, 3.0))
    with pytest.raises(ValidationError, match="contains"):
        Limit(**BASE, applies=True, per_s=4.0, interval=(1.0, 3.0))


def test_only_a_limit_that_does_not_apply_can_be_unknown() -> None:
    limit = not_applicable(Cause.NAT_POOL, Side.ROUTER, "flows", "R", "-", "not said", unknown=True)
    assert limit.unknown
    assert not limit.applies
    with pytest.raises(ValidationError, match="is known"):
        Limit(**BASE, applies=True, per_s=2.0, unknown=True)


def test_a_limit_survives_json() -> None:
    limit = Limit(**BASE, applies=True, per_s=2.5, interval=(2.0, 3.0))
    assert Limit.model_validate_json(limit.model_dump_json()) == limit
    assert limit.model_dump(mode="json")["name"] == "server-passive-pool"
