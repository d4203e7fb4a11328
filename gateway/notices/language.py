"""Languages that members are written to in: gettext catalogues, and dates as people write them."""

from __future__ import annotations

import gettext
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from io import BytesIO

from babel.dates import format_date, format_datetime
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from jinja2 import Environment

from gateway.errors import N_ as N_
from gateway.resources import catalogues, mail_templates

ENGLISH = "en"
"""The language of the msgids: it needs no catalogue."""


@dataclass(frozen=True, slots=True)
class Language:
    """One language. templates: the Jinja2 environment that renders notices in it."""

    code: str
    translations: gettext.NullTranslations
    templates: Environment

    def say(self, message: str, **values: object) -> str:
        """A msgid in this language, with its %(name)s filled in."""
        told = self.translations.gettext(message) if message else ""
        return told % values if values else told

    def date(self, moment: datetime) -> str:
        return format_date(moment, "long", locale=self.code)

    def moment(self, moment: datetime) -> str:
        """Date and time, UTC."""
        return format_datetime(moment, "d MMMM y HH:mm", locale=self.code) + " UTC"


@cache
def languages() -> tuple[str, ...]:
    """ISO 639-1 codes, English first."""
    return (ENGLISH, *sorted(catalogues()))


@cache
def language(code: str) -> Language:
    """The language of a code; English where there is no catalogue for it."""
    known = code if code in languages() else ENGLISH
    translations = gettext.NullTranslations()
    if known != ENGLISH:
        compiled = BytesIO()
        write_mo(compiled, read_po(BytesIO(catalogues()[known]), locale=known))
        compiled.seek(0)
        translations = gettext.GNUTranslations(compiled)
    made = Language(known, translations, mail_templates())
    made.templates.install_gettext_translations(translations, newstyle=True)  # type: ignore[attr-defined]
    made.templates.filters["date"] = made.date
    made.templates.filters["moment"] = made.moment
    return made
