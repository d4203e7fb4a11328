"""Moments as people read them: in their time zone, UTC beside it."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from babel.dates import format_date, format_datetime, format_timedelta

from gateway.notices.language import Language
from gateway.notices.zones import UTC_ZONE as UTC_ZONE

_RELATIVE_DAYS = 30


def moment(language: Language, at: datetime, zone: ZoneInfo) -> str:
    """ "14 March 2026, 05:08" in their zone."""
    local = at.astimezone(zone)
    return format_datetime(local, "d MMMM y, HH:mm", locale=language.code)


def day(language: Language, at: datetime, zone: ZoneInfo) -> str:
    return format_date(at.astimezone(zone).date(), "d MMM y", locale=language.code)


def utc(at: datetime) -> str:
    """ "2026-03-14 02:08 UTC", the same in every language."""
    return f"{at:%Y-%m-%d %H:%M} UTC"


def ago(language: Language, at: datetime, zone: ZoneInfo, now: datetime) -> str:
    """ "3 hours ago"; a date where that is a month ago or more."""
    if (now - at).days >= _RELATIVE_DAYS:
        return day(language, at, zone)
    return format_timedelta(at - now, add_direction=True, locale=language.code)
