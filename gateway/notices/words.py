"""What states, roles and the like are called to people, in their language."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from babel import Locale

from gateway.notices.language import N_, Language
from gateway.store.library import Category
from gateway.store.mailing_list import Moderation
from gateway.store.member import DeliveryMode, Kind, Role, State

WORDS: Mapping[StrEnum, str] = {
    State.APPLICANT: N_("applicant"),
    State.ACTIVE: N_("active"),
    State.SUSPENDED: N_("suspended"),
    State.REMOVED: N_("removed"),
    Kind.CUSTOMS: N_("customs"),
    Kind.POLICE: N_("police"),
    Kind.AGENCY: N_("agency"),
    Kind.INTERNATIONAL: N_("international organisation"),
    Kind.REGIONAL: N_("regional organisation"),
    Role.EXPERT: N_("expert"),
    Role.CONTACT_POINT: N_("contact point"),
    Role.MODERATOR: N_("moderator"),
    Role.LIBRARIAN: N_("librarian"),
    Role.ADMINISTRATOR: N_("administrator"),
    Role.AUDITOR: N_("auditor"),
    Role.SUPPORT: N_("technical staff"),
    DeliveryMode.EACH: N_("each posting as it comes"),
    DeliveryMode.DAILY: N_("a digest each day"),
    DeliveryMode.WEEKLY: N_("a digest each Monday"),
    Moderation.OPEN: N_("open"),
    Moderation.NEW: N_("new members' first postings are held"),
    Moderation.ALL: N_("all postings are held"),
    Moderation.ANNOUNCEMENT: N_("only moderators write"),
    Category.TRAINING: N_("training"),
    Category.GUIDE: N_("identification guide"),
    Category.MANUAL: N_("manual"),
    Category.ALERT: N_("alert"),
    Category.PRACTICE: N_("best practice"),
    Category.BACKGROUND: N_("background"),
    Category.LEGAL: N_("legal text"),
}
"""Value -> msgid."""


def word(language: Language, value: StrEnum) -> str:
    return language.say(WORDS[value])


def country(language: Language, code: str) -> str:
    """ "Kenya (KE)"."""
    name = Locale.parse(language.code).territories.get(code)
    return f"{name} ({code})" if name else code


def language_name(language: Language, code: str) -> str:
    """ "swahili (sw)"."""
    name = Locale.parse(language.code).languages.get(code)
    return f"{name} ({code})" if name else code
