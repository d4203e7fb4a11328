"""Moments as people read them: in their time zone, UTC beside it."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel.core import get_global
from babel.dates import format_date, format_datetime, format_timedelta

from gateway.notices.language import Language
from gateway.store.member import Member

UTC_ZONE = ZoneInfo("UTC")
_RELATIVE_DAYS = 30


def zone_of(member: Member) -> ZoneInfo:
    """The zone that they chose, else their country's where it has one alone, else UTC."""
    name = member.time_zone or _zones_of().get(member.country, "UTC")
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC_ZONE


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


@cache
def _zones_of() -> dict[str, str]:
    """Country code -> its time zone, of the countries that have one alone."""
    found: dict[str, list[str]] = {}
    for zone, country in get_global("zone_territories").items():
        found.setdefault(country, []).append(zone)
    return {country: zones[0] for country, zones in found.items() if len(zones) == 1}
