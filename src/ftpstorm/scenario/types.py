"""Field types of scenario models: text with units on disk, exact integers inside."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from ftpstorm.units import Rate, format_duration, parse_duration, parse_rate, parse_size


class Frozen(BaseModel):
    """Base of all scenario models: immutable, unknown keys refused, defaults validated."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, arbitrary_types_allowed=True, defer_build=True
    )


def _not_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a whole number, not true or false")
    return value


NOT_BOOL = BeforeValidator(_not_bool)
"""Refuses what YAML reads as a truth value where a number is wanted; pydantic alone would take `true` for 1."""


def _duration(value: Any) -> int:
    if isinstance(value, str):
        return parse_duration(value)
    raise ValueError("not a duration; write a number with a unit, such as 250ms, 2s or 1m30s")


def _size(value: Any) -> int:
    if isinstance(value, str):
        return parse_size(value)
    raise ValueError("not a size; write a number with a unit, such as 512B, 4KiB or 1.5MB")


def _rate(value: Any) -> Rate:
    if isinstance(value, Rate):
        return value
    if isinstance(value, str):
        return parse_rate(value)
    raise ValueError("not a rate; write events for each unit of time, such as 97/s, 10/min or 1200/h")


def _positive(rate: Rate) -> Rate:
    if rate.per_s <= 0:
        raise ValueError("must be above 0")
    return rate


def _rate_text(rate: Rate) -> str:
    """Return the text that reads back to exactly this rate; one that has none (1/7 a second) is rounded."""
    for most_decimals in (0, 40):
        for unit, factor in (("s", 1), ("min", 60), ("h", 3600), ("d", 86_400)):
            text = _decimal_text(rate.per_s * factor, most_decimals)
            if text is not None:
                return f"{text}/{unit}"
    return f"{Decimal(rate.per_s.numerator) / Decimal(rate.per_s.denominator):.17f}/s"


def _decimal_text(number: Fraction, most_decimals: int) -> str | None:
    """Return a number in decimals, exactly, or None where it takes more than `most_decimals` of them."""
    for decimals in range(most_decimals + 1):
        scaled = number * 10**decimals
        if scaled.denominator == 1:
            digits = str(scaled.numerator).rjust(decimals + 1, "0")
            return f"{digits[:-decimals]}.{digits[-decimals:]}" if decimals else digits
    return None


DurationNs = Annotated[
    int,
    BeforeValidator(_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "title": "Duration",
            "pattern": r"^(\d+(\.\d+)?(ns|us|ms|min|s|m|h|d))+$",
            "examples": ["2s", "250ms", "1m30s"],
        }
    ),
]
"""Nanoseconds, written as ``2s``, ``250ms`` or ``1m30s``; >= 0."""


def _lasting(value: int) -> int:
    if not value:
        raise ValueError("must be longer than 0s, or nothing starts; such as 20s")
    return value


LastingNs = Annotated[
    int,
    BeforeValidator(_duration),
    AfterValidator(_lasting),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "title": "Duration above 0s",
            "pattern": r"^(?=.*[1-9])(\d+(\.\d+)?(ns|us|ms|min|s|m|h|d))+$",
            "examples": ["20s", "250ms", "1m30s"],
        }
    ),
]
"""As DurationNs, above 0: how long a load or a run lasts."""

SizeBytes = Annotated[
    int,
    BeforeValidator(_size),
    PlainSerializer(lambda value: f"{value}B", return_type=str),
    WithJsonSchema(
        {
            "title": "Size",
            "type": "string",
            "pattern": r"^\d+(\.\d+)?\s?([kMGT]?B|[KMGT]iB)$",
            "examples": ["1KiB", "100MiB"],
        }
    ),
]
"""Bytes, written as ``4KiB`` or ``4kB``; >= 0."""

_RATE_SCHEMA = WithJsonSchema(
    {"title": "Rate", "type": "string", "pattern": r"^\d+(\.\d+)?/(s|min|m|h|d)$", "examples": ["97/s", "10/min"]}
)

AnyRate = Annotated[Rate, BeforeValidator(_rate), PlainSerializer(_rate_text, return_type=str), _RATE_SCHEMA]
"""Events for each unit of time, written as ``97/s``, ``10/min`` or ``1200/h``; 0 or more."""

PositiveRate = Annotated[
    Rate,
    BeforeValidator(_rate),
    AfterValidator(_positive),
    PlainSerializer(_rate_text, return_type=str),
    _RATE_SCHEMA,
]
"""As AnyRate, above 0."""

Port = Annotated[int, Field(ge=1, le=65_535), NOT_BOOL]
Count = Annotated[int, Field(ge=0), NOT_BOOL]
PositiveCount = Annotated[int, Field(ge=1), NOT_BOOL]
