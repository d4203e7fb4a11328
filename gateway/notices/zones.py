"""Time zones: which one a member is shown times in, and what people call one."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from babel.core import get_global

from gateway.errors import UsageError
from gateway.store.member import Member

UTC_ZONE = ZoneInfo("UTC")


def zone_of(member: Member) -> ZoneInfo:
    """The zone that they chose, else their country's where it has one alone, else UTC."""
    name = member.time_zone or _of_countries().get(member.country, "UTC")
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC_ZONE


def named(text: str) -> str:
    """The IANA name of a zone as somebody typed it: "europe/paris", "New York". Raises UsageError,
    which has what is near."""
    typed = "_".join(text.split()).casefold()
    known = {name.casefold(): name for name in _names()}
    if typed in known:
        return known[typed]
    cities = [name for name in _names() if name.rpartition("/")[2].casefold() == typed]
    if len(cities) == 1:
        return cities[0]
    near = cities or [known[one] for one in get_close_matches(typed, known, n=3)]
    if near:
        raise UsageError(
            "there is no time zone '%(name)s'; did you mean: %(near)s",
            name=text,
            near=", ".join(near),
        )
    raise UsageError(
        "there is no time zone '%(name)s'; name a continent and a city, such as: Europe/Paris",
        name=text,
    )


@cache
def _names() -> tuple[str, ...]:
    """Those of a continent or an ocean, and UTC."""
    known = available_timezones()
    return ("UTC", *sorted(one for one in known if "/" in one and not one.startswith("Etc/")))


@cache
def _of_countries() -> dict[str, str]:
    """Country code -> its time zone, of the countries that have one alone."""
    found: dict[str, list[str]] = {}
    for zone, country in get_global("zone_territories").items():
        found.setdefault(country, []).append(zone)
    return {country: zones[0] for country, zones in found.items() if len(zones) == 1}
