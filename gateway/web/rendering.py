"""Pages from templates/web, in a reader's language."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from babel import Locale, negotiate_locale
from babel.numbers import format_decimal
from jinja2 import Environment, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse, Response

from gateway.app import App
from gateway.message.thread import plain
from gateway.notices import links, words
from gateway.notices.language import ENGLISH, Language, language, languages
from gateway.resources import style_sheet, web_templates
from gateway.web import hypertext, times

MOST_SHOWN = 300
"""Characters of a name, a subject or a file name that are shown."""


def page(app: App, to: Language, template: str, status: int = 200, **values: object) -> Response:
    """templates/web/TEMPLATE.html as a response. What a page of nobody logged in has no value of
    (visit, reader) is None there."""
    known: dict[str, Any] = {"visit": None, "reader": None, "zone": times.UTC_ZONE,
                             "now": app.clock(), **values}  # fmt: skip
    text = (
        _environment(to.code)
        .get_template(f"{template}.html")
        .render(
            gateway=app.config.name,
            domain=app.config.domain,
            archive=app.config.archive_url,
            language=to,
            direction=direction(to.code),
            style=f"/style.css?{style_hash()}",
            mailto=links.mailto,
            **known,
        )
    )
    return HTMLResponse(text, status, headers={"Content-Language": to.code})


def negotiated(accepted: str) -> Language:
    """The language that an Accept-Language field (RFC 9110 12.5.4) asks for first of those there
    are."""
    wanted = [one.partition(";")[0].strip().replace("-", "_") for one in accepted[:200].split(",")]
    return language(negotiate_locale([one for one in wanted if one], languages()) or ENGLISH)


def direction(code: str) -> str:
    """ "ltr" or "rtl", for the page's dir attribute."""
    return Locale.parse(code).text_direction


def shown(text: str, most: int = MOST_SHOWN) -> str:
    """One line that is what it looks like: no control or direction characters, not endless."""
    line = plain(text[: 8 * most])
    return line if len(line) <= most else line[: most - 1] + "…"


@cache
def style_hash() -> str:
    """Names the style sheet's content, so that browsers may keep it for good."""
    return hashlib.sha256(style_sheet()).hexdigest()[:12]


@cache
def _environment(code: str) -> Environment:
    made, to = web_templates(), language(code)
    made.install_gettext_translations(to.translations, newstyle=True)  # type: ignore[attr-defined]
    made.filters["shown"] = shown
    made.filters["linked"] = hypertext.linked
    made.filters["word"] = lambda value: words.word(to, value)
    made.filters["country"] = lambda value: words.country(to, value)
    made.filters["language_name"] = lambda value: words.language_name(to, value)
    made.filters["fingerprint"] = _fingerprint
    made.filters["size"] = lambda count: _size(to, count)
    made.filters["number"] = lambda value: _number(to, value)
    made.filters["when"] = _when(to, times.moment)
    made.filters["day"] = _when(to, times.day)
    made.filters["ago"] = _ago(to)
    return made


def _when(to: Language, written: Callable[[Language, Any, ZoneInfo], str]) -> Any:
    """A filter: <time> in the reader's zone, with UTC in its title."""

    @pass_context
    def when(context: Context, at: Any) -> Markup:
        return _time(at, written(to, at, context["zone"]), times.utc(at))

    return when


def _ago(to: Language) -> Any:
    """A filter: <time> relative to now, with the moment and UTC in its title."""

    @pass_context
    def ago(context: Context, at: Any) -> Markup:
        zone = context["zone"]
        title = f"{times.moment(to, at, zone)} · {times.utc(at)}"
        return _time(at, times.ago(to, at, zone, context["now"]), title)

    return ago


def _time(at: Any, text: str, title: str) -> Markup:
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        at.isoformat(timespec="seconds"), title, text
    )


def _fingerprint(value: str) -> Markup:
    """In groups of four, as people compare them."""
    groups = " ".join(value[at : at + 4] for at in range(0, len(value), 4))
    return Markup('<span class="mono">{}</span>').format(escape(groups))


def _size(to: Language, count: int) -> str:
    """Bytes as "84 kB"."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= scale:
            return f"{format_decimal(round(count / scale, 1), locale=to.code)} {unit}"
    return f"{count} B"


def _number(to: Language, value: float) -> str:
    return format_decimal(value, locale=to.code)
