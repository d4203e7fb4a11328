"""The search index: what waits is indexed, a few seconds' worth at a time, beside all else."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import chain

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, joinedload, selectinload

from gateway.app import App
from gateway.archive import extraction, parts, terms, tongue
from gateway.errors import GatewayError, Unavailable, trace
from gateway.message import entity
from gateway.message.thread import own_subject
from gateway.posting import evidence, subjects
from gateway.store import search_index
from gateway.store.archive_entry import ArchiveEntry
from gateway.store.posting import Posting

log = logging.getLogger(__name__)

SECONDS = 2.0
"""How long one call goes on taking up more, as others wait for the same thread."""
_BATCH = 20
_MARKED_AT_ONCE = 1000
_ID_BITS = 31
_ID = (1 << _ID_BITS) - 1
_EPOCH = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True)
class _Made:
    """What the index is to have of a posting; place: its key there. withdrawn: nothing is left."""

    posting_id: int
    place: int = 0
    attachments: int = 0
    language: str = ""
    terms: tuple[str, ...] = ()
    withdrawn: bool = False


def run(app: App) -> int:
    """Index what waits, the newest first. Returns how many postings were."""
    done, until = 0, time.monotonic() + SECONDS
    while due := _due(app):
        made = [_made(app, one) for one in due]
        if any(one.withdrawn for one in made):
            purge(app, search_index.POSTINGS)
        with app.database.transaction() as session:
            done += sum(_keep(session, app, one) for one in made)
        if time.monotonic() > until:
            break
    return done


def mark_all(app: App) -> int:
    """Have every posting indexed anew; until it is, it is found as it was. Returns how many."""
    with app.database.reading() as session:
        newest = session.scalar(select(func.max(ArchiveEntry.posting_id))) or 0
    total = 0
    for first in range(0, newest + 1, _MARKED_AT_ONCE):
        some = ArchiveEntry.posting_id.between(first, first + _MARKED_AT_ONCE - 1)
        with app.database.transaction() as session:
            done = session.execute(update(ArchiveEntry).where(some).values(indexed_at=None))
            total += int(getattr(done, "rowcount", 0))
    return total


def mark_every(session: Session) -> None:
    """The same in one transaction, for a database that nobody uses yet."""
    session.execute(update(ArchiveEntry).values(indexed_at=None))


def due_count(app: App) -> int:
    with app.database.reading() as session:
        query = select(func.count()).where(ArchiveEntry.indexed_at.is_(None))
        return session.scalar(query) or 0


def purge(app: App, index: str) -> None:
    """Leave nothing of what was withdrawn in an index's pages: in short steps, so that mails are
    taken meanwhile."""
    left = True
    while left:
        with app.database.transaction() as session:
            left = search_index.purge(session, index)


def place(received_at: datetime, posting_id: int) -> int:
    """A posting's key in the index: by the day that it was taken, UTC, and then by its number, so
    that keys in order are postings in order, those of an older list that were brought in too."""
    return first_of(received_at.astimezone(UTC).date()) | posting_id


def first_of(day: date) -> int:
    """The lowest key of a day; none is lower than 1970's."""
    return max(day.toordinal() - _EPOCH, 0) << _ID_BITS


def posting_id(key: int) -> int:
    return key & _ID


def _due(app: App) -> list[int]:
    with app.database.reading() as session:
        query = select(ArchiveEntry.posting_id).where(ArchiveEntry.indexed_at.is_(None))
        newest = query.order_by(ArchiveEntry.posting_id.desc()).limit(_BATCH)
        return list(session.scalars(newest))


def _made(app: App, id_: int) -> _Made:
    with app.database.reading() as session:
        placed = selectinload(Posting.placements)
        found = session.get_one(Posting, id_, options=[placed, joinedload(Posting.author)])
        if found.withdrawn_at is not None:
            return _Made(id_, withdrawn=True)
        titles = subjects.titles(session)
    key = place(found.received_at, id_)
    facts = terms.Facts(found.author_id, [one.list_id for one in found.placements], found.thread_id)
    try:
        attachments, language, words = _read(app, found, titles)
    except Unavailable:
        raise
    except Exception as error:
        # One posting that can't be read must not keep the others from being found.
        said = str(error) if isinstance(error, GatewayError) else trace(error)
        log.error("posting %d is indexed without its words: %s", id_, said)  # noqa: TRY400
        attachments, language, words = 0, "", []
    known = terms.of_facts(app.vault, facts, has_attachment=attachments > 0)
    return _Made(id_, key, attachments, language, tuple(terms.document(known, words)))


def _read(app: App, posting: Posting, titles: Collection[str]) -> tuple[int, str, list[str]]:
    """(attachments, language, terms of its words)."""
    kept, opened = evidence.opened(app.vault, posting)
    found = parts.sorted_out(entity.read(opened.payload))
    subject = own_subject(kept.fields.subject, titles)
    texts = extraction.texts(found)
    own = next(texts)
    language = tongue.of_text(f"{subject}\n{own}", posting.author.languages.split())
    words = terms.of_text(
        app.vault, language, subject, extraction.names(found), chain([own], texts)
    )
    return len(found.attachments), language, words


def _keep(session: Session, app: App, made: _Made) -> bool:
    """Write down what was made, unless another process did meanwhile."""
    # Its row locked, so that it can't be withdrawn in between; first, as withdrawing does.
    lock = select(Posting.withdrawn_at).where(Posting.id == made.posting_id)
    withdrawn_at = session.scalar(lock.with_for_update(read=True))
    entry = session.get_one(ArchiveEntry, made.posting_id, with_for_update=True)
    if entry.indexed_at is not None:
        return False
    if withdrawn_at is not None and not made.withdrawn:
        return False  # it is taken up again, to leave nothing of it
    if entry.place is not None:
        search_index.remove(session, search_index.POSTINGS, entry.place)
    entry.place = None
    if not made.withdrawn:
        search_index.replace(session, search_index.POSTINGS, made.place, made.terms)
        entry.place = made.place
    entry.attachments, entry.language = made.attachments, made.language
    entry.indexed_at = app.clock()
    session.flush()
    return True
