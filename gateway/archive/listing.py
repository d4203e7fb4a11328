"""Lists of threads and of postings, the newest first, of what a member may read.

What a page costs follows its length: it is read from the newest end until it is full, and gives up
after so many postings that the reader may not see; the next page goes on from there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, exists, func, select, union_all
from sqlalchemy.orm import Session

from gateway.app import App
from gateway.message.marking import Marking
from gateway.posting import presenting, subjects, visibility
from gateway.store import posting as postings
from gateway.store.archive_entry import ArchiveEntry
from gateway.store.mailing_list import Audience, MailingList
from gateway.store.member import Member
from gateway.store.posting import Placement, Posting, PostingList

MOST_LOOKED_AT = 5_000
"""Postings from which one page is made, unless it is full before."""

_PIECES = 8
"""Postings looked at in one piece, times the rows that are wanted: most threads are short."""


@dataclass(frozen=True, slots=True)
class Row:
    """A thread, as one reader sees it.

    label: of its first posting. subject: "" where it has none; None where what is sealed is
    damaged, which must not take the whole list away. postings, people, attachments: counts.
    newest: id of its newest posting; last_at: when that was taken. marking: label of the strictest.
    withdrawn: whether all of it is. desk: whose thread it is, where it is no list's.
    """

    label: str
    subject: str | None
    author: Member
    postings: int
    people: int
    attachments: int
    newest: int
    last_at: datetime
    marking: str
    withdrawn: bool
    desk: Audience | None

    @property
    def path(self) -> str:
        """Where its page is."""
        return f"{presenting.path(self.label)}/thread"

    def is_new(self, since: datetime | None) -> bool:
        """Whether it has postings of after a reader's last visit; of a first visit none are."""
        return since is not None and self.last_at > since


@dataclass(frozen=True, slots=True)
class Page:
    """older: what `before` is on the page after this one; None where this is the last."""

    rows: tuple[Row, ...]
    older: int | None


@dataclass(frozen=True, slots=True)
class Item:
    """One posting. subject: as of a row."""

    label: str
    subject: str | None
    posting: Posting

    @property
    def path(self) -> str:
        """Where its page is."""
        return presenting.path(self.label)


@dataclass(frozen=True, slots=True)
class _Scope:
    """What is listed of what: readable, for a query on Posting; lists: ids."""

    session: Session
    readable: ColumnElement[bool]
    lists: Sequence[int]

    @property
    def wanted(self) -> ColumnElement[bool]:
        """The postings that the lists accepted and the reader may read."""
        placed = exists().where(
            PostingList.posting_id == Posting.id,
            PostingList.placement == Placement.ACCEPTED,
            PostingList.list_id.in_(self.lists),
        )
        return and_(placed, self.readable)


def threads(
    session: Session,
    app: App,
    member: Member,
    lists: Collection[MailingList],
    before: int | None = None,
    most: int = 30,
) -> Page:
    """The threads of some lists and desks, by the newest posting there that the member may read.

    before: only threads whose newest posting has a lower id.
    """
    scope = _Scope(session, visibility.readable(session, member), [one.id for one in lists])
    known: set[int] = set()
    found: dict[int, int] = {}
    older = None
    for piece in _pieces(scope, before, most * _PIECES):
        fresh: dict[int, int] = {}
        for id_, thread in piece.readable:
            if thread not in known:
                known.add(thread)
                fresh[thread] = id_
        earlier = _on_earlier_pages(scope, fresh, before)
        found.update((thread, id_) for thread, id_ in fresh.items() if thread not in earlier)
        older = piece.last
        if len(found) > most:
            found = dict(list(found.items())[:most])
            older = min(found.values())
            break
    return Page(_rows(scope, app, found), older)


def newest(
    session: Session, app: App, member: Member, lists: Collection[MailingList], most: int
) -> list[Item]:
    """The newest postings of some lists that a member may read."""
    scope = _Scope(session, visibility.readable(session, member), [one.id for one in lists])
    ids: list[int] = []
    for piece in _pieces(scope, None, most * 2):
        ids += [id_ for id_, _ in piece.readable]
        if len(ids) >= most:
            break
    known = subjects.titles(session)
    found = postings.without_content(session, ids[:most])
    return [
        Item(one.label, subjects.listed(app.vault, one, known), one)
        for one in (found[id_] for id_ in ids[:most])
    ]


@dataclass(frozen=True, slots=True)
class _Piece:
    """readable: (posting's id, thread's id) of those that the reader may read, newest first. last:
    the lowest id looked at; None where there is nothing older."""

    readable: list[tuple[int, int]]
    last: int | None


def _pieces(scope: _Scope, before: int | None, size: int) -> Iterator[_Piece]:
    """What lists accepted, from its newest end. First ids alone and then who may read them: so both
    databases go along the index and stop, whatever they expect of the rule."""
    looked_at, last = 0, before
    while scope.lists and looked_at < MOST_LOOKED_AT:
        ids = list(scope.session.scalars(_accepted(scope.lists, last, size)))
        query = select(Posting.id, Posting.thread_id).where(Posting.id.in_(ids), scope.readable)
        rows = scope.session.execute(query.order_by(Posting.id.desc()))
        looked_at += len(ids)
        if len(ids) < size:
            yield _Piece([(row[0], row[1]) for row in rows], None)
            return
        last = ids[-1]
        yield _Piece([(row[0], row[1]) for row in rows], last)


def _accepted(lists: Sequence[int], before: int | None, most: int) -> Select[Any]:
    """Ids of the newest postings of lists: the newest of each, joined, as that needs no sorting of
    more than it gives."""
    parts = []
    for one in lists:
        query = select(PostingList.posting_id.label("id")).where(
            PostingList.list_id == one, PostingList.placement == Placement.ACCEPTED
        )
        if before is not None:
            query = query.where(PostingList.posting_id < before)
        part = query.order_by(PostingList.posting_id.desc()).limit(most).subquery()
        parts.append(select(part.c.id))
    joined = union_all(*parts).subquery()
    return select(joined.c.id).distinct().order_by(joined.c.id.desc()).limit(most)


def _on_earlier_pages(scope: _Scope, threads: Collection[int], before: int | None) -> set[int]:
    """Those threads that have a newer posting than this page has."""
    if before is None or not threads:
        return set()
    query = select(Posting.thread_id).where(
        Posting.thread_id.in_(threads), Posting.id >= before, scope.wanted
    )
    return set(scope.session.scalars(query.distinct()))


def _rows(scope: _Scope, app: App, found: Mapping[int, int]) -> tuple[Row, ...]:
    """found: thread's id -> its newest posting's, in the order of the rows."""
    there = Posting.withdrawn_at.is_(None)
    strictness = case(
        {one.label: int(one) for one in Marking}, value=Posting.marking, else_=int(Marking.RED)
    )
    query = (
        select(
            Posting.thread_id,
            func.count().label("postings"),
            func.count(Posting.author_id.distinct()).label("people"),
            func.sum(case((there, ArchiveEntry.attachments))).label("attachments"),
            func.max(strictness).label("strictness"),
            func.max(Posting.received_at).label("last_at"),
            func.min(Posting.id).label("first"),
            func.min(case((there, Posting.id))).label("named"),
        )
        .outerjoin(ArchiveEntry, ArchiveEntry.posting_id == Posting.id)
        .where(Posting.thread_id.in_(found), scope.wanted)
        .group_by(Posting.thread_id)
    )
    counted = {row.thread_id: row for row in scope.session.execute(query)}
    known = subjects.titles(scope.session)
    wanted = {id_ for row in counted.values() for id_ in (row.first, row.named) if id_}
    opened = postings.without_content(scope.session, wanted)
    rows = []
    for thread, newest_id in found.items():
        row = counted[thread]
        first = opened[row.first]
        named = opened[row.named or row.first]
        rows.append(
            Row(
                label=first.label,
                subject=subjects.listed(app.vault, named, known),
                author=first.author,
                postings=row.postings,
                people=row.people,
                attachments=row.attachments or 0,
                newest=newest_id,
                last_at=row.last_at,
                marking=Marking(row.strictness).label,
                withdrawn=row.named is None,
                desk=_desk(first, scope.lists),
            )
        )
    return tuple(rows)


def _desk(posting: Posting, lists: Collection[int]) -> Audience | None:
    """Whose thread a posting begins, among the lists that are shown."""
    on = [one.mailing_list for one in posting.placements if one.list_id in lists]
    return on[0].audience if all(one.is_desk for one in on) else None
