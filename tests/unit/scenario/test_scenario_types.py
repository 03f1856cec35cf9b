"""Field types: text with units outside, exact integers inside, equal after a round trip."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ftpstorm.scenario.types import DurationNs, Frozen, PositiveRate, SizeBytes
from ftpstorm.units import parse_rate


class Sample(Frozen):
    duration: DurationNs = "1s"  # type: ignore[assignment]
    size: SizeBytes = "1KiB"  # type: ignore[assignment]
    rate: PositiveRate = "1/s"  # type: ignore[assignment]


def round_trip(sample: Sample) -> Sample:
    return Sample.model_validate(sample.model_dump(mode="json"))


def test_defaults_are_written_as_text_and_held_as_integers() -> None:
    sample = Sample()
    assert (sample.duration, sample.size, sample.rate) == (1_000_000_000, 1024, parse_rate("1/s"))


@given(st.integers(min_value=0, max_value=10**18), st.integers(min_value=0, max_value=10**15))
def test_durations_and_sizes_survive_a_round_trip(duration_ns: int, size: int) -> None:
    sample = Sample.model_validate({"duration": f"{duration_ns}ns", "size": f"{size}B"})
    assert round_trip(sample) == sample


@given(
    st.decimals(min_value=Decimal("0.000001"), max_value=Decimal(10**6), places=6),
    st.sampled_from(("s", "min", "m", "h", "d")),
)
def test_every_rate_that_can_be_written_survives_a_round_trip(number: Decimal, unit: str) -> None:
    sample = Sample.model_validate({"rate": f"{number:f}/{unit}"})
    assert round_trip(sample).rate.per_s == sample.rate.per_s


@pytest.mark.parametrize(
    ("written", "dumped"), [("97/s", "97/s"), ("10/min", "10/min"), ("0.5/s", "30/min"), ("1.5/d", "0.0625/h")]
)
def test_a_rate_is_written_in_whole_numbers_where_a_unit_allows_it(written: str, dumped: str) -> None:
    assert Sample.model_validate({"rate": written}).model_dump(mode="json")["rate"] == dumped


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("duration", 2),
        ("duration", 2.5),
        ("duration", True),
        ("duration", None),
        ("duration", "2"),
        ("size", 1024),
        ("size", "1K"),
        ("rate", 97),
        ("rate", "97"),
        ("rate", "0/s"),
    ],
)
def test_a_value_without_a_unit_is_refused(key: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        Sample.model_validate({key: value})


def test_models_are_frozen_and_know_their_keys() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Sample().size = 5
    with pytest.raises(ValidationError, match="Extra inputs"):
        Sample.model_validate({"sise": "1B"})
