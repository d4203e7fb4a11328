"""What somebody hands in, checked: a document that a librarian can decide about, or every fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar

from babel import Locale
from sqlalchemy.orm import Session

from gateway.app import App
from gateway.errors import Faults, UsageError
from gateway.library import access, sealing
from gateway.library.form import Written
from gateway.message import marking
from gateway.message.marking import Found, Marking
from gateway.notices import words
from gateway.notices.language import ENGLISH, language
from gateway.store import library, mailing_list
from gateway.store import member as members
from gateway.store.library import Category, Version
from gateway.store.mailing_list import MailingList
from gateway.store.member import Member

LONGEST_TITLE = 150
MOST_FILES = 50
MOST_TOPICS = 20
LONGEST_ALERT = timedelta(days=366)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Checked:
    """language: ISO 639-1 code. replaced: the version before, of the same document. until: moment
    at which an alert ends."""

    title: str
    category: Category
    topics: tuple[MailingList, ...]
    language: str
    replaced: Version | None
    until: datetime | None
    marking: Marking


def check(
    session: Session, app: App, author: Member, written: Written, stated: Found, files: int
) -> Checked:
    """stated: the marking of the mail's subject and first lines; files: how many it has. Raises
    Faults with all that is wrong. What is not written stays as it is in what is replaced."""
    faults: list[UsageError] = []

    def tried(made: Callable[[], _T]) -> _T | None:
        try:
            return made()
        except UsageError as fault:
            faults.append(fault)
            return None

    values = written.values
    replaced = tried(lambda: _replaced(session, author, values.get("replaces", "")))
    title = tried(lambda: _title(app, values.get("title", ""), replaced))
    category = tried(lambda: _category(author, values.get("category", ""), replaced))
    topics = tried(lambda: _topics(session, author, values.get("topics", ""), replaced))
    spoken = tried(lambda: _language(author, values.get("language", ""), replaced))
    until = tried(lambda: _until(values.get("until", ""), category, app.clock()))
    marked = tried(lambda: _marking(stated, title or "", written.description, replaced))
    if files == 0:
        faults.append(UsageError("no file is attached, and the document is what is attached"))
    if files > MOST_FILES:
        faults.append(UsageError("more than %(most)s files are attached", most=MOST_FILES))
    if faults or not title or category is None or topics is None or not spoken or marked is None:
        raise Faults(faults)
    return Checked(title, category, topics, spoken, replaced, until, marked)


def _replaced(session: Session, author: Member, label: str) -> Version | None:
    if not label:
        return None
    typed = library.typed_label(label)
    if typed is None:
        raise UsageError("replaces: write the document's number, such as L-7")
    found = access.find(session, author, f"L-{typed[0]}")
    if found is None:
        raise library.no_such_document(label)
    if found.withdrawn_at is not None:
        raise UsageError("%(label)s is withdrawn", label=found.document.label)
    return found


def _title(app: App, text: str, replaced: Version | None) -> str:
    if not text and replaced is not None:
        return sealing.sheet(app.vault, replaced).title
    if not text:
        raise UsageError("title: is missing")
    if len(text) > LONGEST_TITLE:
        raise UsageError("title: has more than %(most)s characters", most=LONGEST_TITLE)
    return text


def _category(author: Member, text: str, replaced: Version | None) -> Category:
    if not text and replaced is not None:
        return replaced.category
    spoken = language(author.language)
    names = {words.word(one, each).casefold(): each for one in (spoken, language(ENGLISH))
             for each in Category}  # fmt: skip
    plain = text.casefold().strip('."').replace("-", " ").replace("’", "'")
    found = names.get(" ".join(plain.split()))
    if found is None:
        known = ", ".join(words.word(spoken, one) for one in Category)
        raise UsageError("category: write one of: %(names)s", names=known)
    return found


def _topics(
    session: Session, author: Member, text: str, replaced: Version | None
) -> tuple[MailingList, ...]:
    if not text and replaced is not None:
        return tuple(replaced.topics)
    known = [one for one in mailing_list.known_to(session, author.id) if one.closed_at is None]
    by_name = {name: one for one in known for name in one.called}
    wanted = text.casefold().replace(";", ",").split(",")
    if not set(map(str.strip, wanted)) <= {*by_name, ""}:
        wanted = [word for part in wanted for word in part.split()]
    wanted = [one.strip() for one in wanted if one.strip()]
    strange = [one for one in wanted if one not in by_name]
    if strange or len(wanted) > MOST_TOPICS:
        names = ", ".join(f"{one.letter} ({one.local_part})" for one in known)
        raise UsageError(
            "topics: there is no list '%(name)s'; there are %(names)s",
            name=" ".join(strange)[:100], names=names,
        )  # fmt: skip
    return tuple(dict.fromkeys(by_name[one] for one in wanted))


def _language(author: Member, text: str, replaced: Version | None) -> str:
    """By ISO 639-1 code or by name, in English or the author's own language."""
    if not text and replaced is not None:
        return replaced.language
    wanted = text.casefold().strip(". ")
    for code in (ENGLISH, author.language):
        for known, name in Locale.parse(language(code).code).languages.items():
            if len(known) == 2 and str(name).casefold() == wanted:
                return str(known)
    codes = members.checked_languages(wanted).split() if wanted else []
    if len(codes) != 1:
        raise UsageError("language: write the document's language, such as fr")
    return codes[0]


def _until(text: str, category: Category | None, now: datetime) -> datetime | None:
    """The end, UTC, of the last day on which an alert is shown."""
    if category is not Category.ALERT:
        if text and category is not None:
            raise UsageError("until: is for alerts alone")
        return None
    try:
        last = date.fromisoformat(text.strip(". "))
    except ValueError:
        raise UsageError(
            "until: write the last day on which the alert is shown, such as %(day)s",
            day=f"{now + timedelta(days=30):%Y-%m-%d}",
        ) from None
    if not now.date() <= last <= (now + LONGEST_ALERT).date():
        raise UsageError("until: write a day within a year from now")
    return datetime(last.year, last.month, last.day, tzinfo=UTC) + timedelta(days=1)


def _marking(stated: Found, title: str, description: str, replaced: Version | None) -> Marking:
    """What is stated; where nothing is, that of what is replaced, and else TLP:GREEN. A document is
    for everybody who sees its topics, for as long as it is there, so what is stricter than
    TLP:AMBER is none."""
    written = [line for line in description.split("\n") if line.strip()][:2]
    found = [one for one in (stated, marking.find(title, *written)) if one.stated]
    if any(one.malformed for one in found):
        raise UsageError("its handling marking is misspelt (write it as TLP:AMBER, in capitals)")
    usual = Marking.GREEN if replaced is None else marking.of_label(replaced.marking)
    marked = max((one.marking for one in found), default=usual)
    if marked > Marking.AMBER:
        raise UsageError(
            "it is marked %(marking)s: the Library takes TLP:AMBER and what is laxer",
            marking=marked.label,
        )
    return marked
