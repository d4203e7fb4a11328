"""Years, months and days as people type them in a query: 2026, 2026-03, 2026-03-14."""

from __future__ import annotations

import calendar
import re
from datetime import date, timedelta

_PERIOD = re.compile(r"([0-9]{4})(?:[-/.]([0-9]{1,2})(?:[-/.]([0-9]{1,2}))?)?", re.ASCII)


def period(text: str) -> tuple[date, date] | None:
    """The first and the last day of what is typed; None where it is no period."""
    found = _PERIOD.fullmatch(text)
    if found is None:
        return None
    year, month, day = (int(one) if one else None for one in found.groups())
    try:
        first = date(year or 0, month or 1, day or 1)
        if day is not None:
            return first, first
        last_month = month or 12
        return first, date(first.year, last_month, calendar.monthrange(first.year, last_month)[1])
    except (ValueError, calendar.IllegalMonthError):
        return None


def before(day: date) -> date:
    """The day before; of the first of all, itself."""
    return day - timedelta(days=1) if day > date.min else day
