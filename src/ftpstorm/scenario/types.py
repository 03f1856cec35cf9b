"""Field types of scenario models: text with units on disk, exact integers inside."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema

from ftpstorm.units import Rate, format_duration, parse_duration, parse_rate, parse_size


class Frozen(BaseModel):
    """Base of all scenario models: immutable, unknown keys refused, defaults validated."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, arbitrary_types_allowed=True)


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
    for unit, factor in (("s", 1), ("min", 60), ("h", 3600), ("d", 86_400)):
        scaled = rate.per_s * factor
        if scaled.denominator == 1:
            return f"{scaled.numerator}/{unit}"
    return f"{float(rate.per_s):.12g}/s"


DurationNs = Annotated[
    int,
    BeforeValidator(_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^(\d+(\.\d+)?(ns|us|ms|min|s|m|h|d))+$",
            "examples": ["2s", "250ms", "1m30s"],
        }
    ),
]
"""Nanoseconds, written as ``2s``, ``250ms`` or ``1m30s``; >= 0."""

SizeBytes = Annotated[
    int,
    BeforeValidator(_size),
    PlainSerializer(lambda value: f"{value}B", return_type=str),
    WithJsonSchema(
        {"type": "string", "pattern": r"^\d+(\.\d+)?\s?([kMGT]?B|[KMGT]iB)$", "examples": ["1KiB", "100MiB"]}
    ),
]
"""Bytes, written as ``4KiB`` or ``4kB``; >= 0."""

PositiveRate = Annotated[
    Rate,
    BeforeValidator(_rate),
    AfterValidator(_positive),
    PlainSerializer(_rate_text, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?/(s|min|m|h|d)$", "examples": ["97/s", "10/min"]}),
]
"""Events for each unit of time, written as ``97/s``, ``10/min`` or ``1200/h``; above 0."""
