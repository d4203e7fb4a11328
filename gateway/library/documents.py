"""Finding documents: by category, topic and language, the newest first; the alerts of the day."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session, selectinload

from gateway.app import App
from gateway.library import access, sealing
from gateway.library.sealing import Sheet
from gateway.notices import words
from gateway.notices.language import Language
from gateway.store import mailing_list
from gateway.store.library import Category, DocumentTopic, Status, Version
from gateway.store.mailing_list import MailingList
from gateway.store.member import Member

MOST_LOOKED_THROUGH = 2000
"""Documents, the newest first, of which titles and descriptions are read for words."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is browsed by; None for all. language: ISO 639-1 code."""

    category: Category | None = None
    topic: MailingList | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """How many documents there are with each value, of those that the other choices leave; values
    without any are left out."""

    total: int
    categories: tuple[tuple[Category, int], ...]
    topics: tuple[tuple[MailingList, int], ...]
    languages: tuple[tuple[str, int], ...]


def listed(
    session: Session, member: Member, chosen: Chosen, most: int, before: int | None = None
) -> list[Version]:
    """The current versions of the documents that a member may read, the newest first. before: id of
    the last one of the page before this."""
    query = select(Version).where(*current(session, member), *_are(chosen))
    if before is not None:
        query = query.where(Version.id < before)
    loaded = query.options(selectinload(Version.topics), selectinload(Version.author))
    return list(session.scalars(loaded.order_by(Version.id.desc()).limit(most)))


def counts(session: Session, member: Member, chosen: Chosen) -> Counts:
    """How many of the documents that a member may read there are of each kind."""
    shown = current(session, member)
    others = {
        "category": Chosen(None, chosen.topic, chosen.language),
        "topic": Chosen(chosen.category, None, chosen.language),
        "language": Chosen(chosen.category, chosen.topic, None),
    }
    count = func.count(Version.id)
    total = session.scalar(select(count).where(*shown, *_are(chosen))) or 0
    categories = session.execute(
        select(Version.category, count)
        .where(*shown, *_are(others["category"]))
        .group_by(Version.category)
    )
    languages = session.execute(
        select(Version.language, count)
        .where(*shown, *_are(others["language"]))
        .group_by(Version.language)
    )
    by_category = {row[0]: row[1] for row in categories}
    return Counts(
        total,
        tuple((one, by_category[one]) for one in Category if one in by_category),
        tuple(_by_topic(session, member, [*shown, *_are(others["topic"])])),
        tuple(sorted((row[0], row[1]) for row in languages)),
    )


def alerts(session: Session, member: Member, now: datetime) -> list[Version]:
    """The alerts that a member is to see now, the newest first; their titles are in
    `sealing.sheet`."""
    is_on = (Version.category == Category.ALERT, Version.until > now)
    query = select(Version).where(*current(session, member), *is_on)
    loaded = query.options(selectinload(Version.topics), selectinload(Version.author))
    return list(session.scalars(loaded.order_by(Version.id.desc())))


def waiting_of(session: Session, author: Member) -> list[Version]:
    """What an author handed in and nobody decided about yet, the oldest first."""
    waits = (Version.status == Status.WAITING, Version.withdrawn_at.is_(None))
    query = select(Version).where(Version.author_id == author.id, *waits)
    return list(session.scalars(query.order_by(Version.id)))


def with_words(
    app: App, to: Language, versions: Sequence[Version], wanted: Sequence[str]
) -> Iterator[tuple[Version, Sheet]]:
    """Those in whose title, description, kind or names of files each of the words stands, either
    case."""
    sought = [one.casefold() for one in wanted]
    for version in versions:
        sheet = sealing.listed(app.vault, version)
        kind = words.word(to, version.category)
        text = " ".join((sheet.title, sheet.description, kind, *(one.name for one in sheet.files)))
        if all(one in text.casefold() for one in sought):
            yield version, sheet


def current(session: Session, member: Member) -> tuple[ColumnElement[bool], ...]:
    """Of each document the newest version that a member may read."""
    newest = (
        select(func.max(Version.id))
        .where(
            Version.status == Status.APPROVED,
            Version.withdrawn_at.is_(None),
            access.readable(session, member),
        )
        .group_by(Version.document_id)
    )
    return (Version.id.in_(newest),)


def _are(chosen: Chosen) -> Iterator[ColumnElement[bool]]:
    if chosen.category is not None:
        yield Version.category == chosen.category
    if chosen.language is not None:
        yield Version.language == chosen.language
    if chosen.topic is not None:
        of_topic = select(DocumentTopic.version_id).where(DocumentTopic.list_id == chosen.topic.id)
        yield Version.id.in_(of_topic)


def _by_topic(
    session: Session, member: Member, of: Sequence[ColumnElement[bool]]
) -> Iterator[tuple[MailingList, int]]:
    query = (
        select(MailingList, func.count(Version.id))
        .join(DocumentTopic, DocumentTopic.list_id == MailingList.id)
        .join(Version, Version.id == DocumentTopic.version_id)
        .where(*of)
        .group_by(MailingList.id)
        .order_by(MailingList.id)
    )
    known = {one.id for one in mailing_list.known_to(session, member.id)}
    for one, count in session.execute(query):
        if one.id in known:
            yield one, count
