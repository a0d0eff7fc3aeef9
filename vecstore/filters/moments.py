"""Timestamps and intervals of ISO 8601."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from .errors import Fault

_NUMBER = r"([+-]?[0-9]{1,9})"
_PERIOD = re.compile(
    rf"(?P<sign>[+-]?)P(?=[0-9T+-])(?:{_NUMBER}Y)?(?:{_NUMBER}M)?(?:{_NUMBER}W)?(?:{_NUMBER}D)?"
    rf"(?:T(?=[0-9+-])(?:{_NUMBER}H)?(?:{_NUMBER}M)?(?:([+-]?[0-9]{{1,9}}(?:\.[0-9]{{1,6}})?)S)?)?"
)
_MAX_YEARS = 4_000  # less than what lies between year 1 and the first timestamp of PostgreSQL
_SECONDS_A_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Span:
    """An interval as PostgreSQL keeps it: months and days have no fixed length."""

    months: int
    days: int
    seconds: float

    def __neg__(self) -> Span:
        return Span(-self.months, -self.days, -self.seconds)


def moment_of(text: str, position: int) -> datetime:
    """The time that a text says, in UTC if it names no zone."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Fault(position, f"{text[:40]!r} is no timestamp of ISO 8601", ("'2025-01-31T08:00:00Z'",)) from None


def span_of(text: str, position: int) -> Span:
    """The interval that a text says."""
    found = _PERIOD.fullmatch(text)
    if found is None:
        raise Fault(position, f"{text[:40]!r} is no interval of ISO 8601", ("'P1Y2M10DT2H30M'",))
    years, months, weeks, days, hours, minutes = (int(part or 0) for part in found.groups()[1:7])
    seconds = float(found[8] or 0)
    span = Span(years * 12 + months, weeks * 7 + days, hours * 3600 + minutes * 60 + seconds)
    length = abs(span.months) / 12 + abs(span.days) / 365 + abs(span.seconds) / (365 * _SECONDS_A_DAY)
    if length > _MAX_YEARS:
        raise Fault(position, f"the interval is longer than {_MAX_YEARS:,} years")
    return -span if found["sign"] == "-" else span
