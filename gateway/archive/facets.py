"""What a search found, counted by topic, year, author, marking and attachment: each count with the
query that finds those alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from sqlalchemy import or_, select

from gateway.archive import query
from gateway.archive.wanting import Scope
from gateway.errors import N_
from gateway.store import search_index
from gateway.store.member import Member
from gateway.store.posting import Placement, Posting, PostingList

_MOST_AUTHORS = 10


class Kind(StrEnum):
    TOPIC = N_("Topic")
    YEAR = N_("Year")
    AUTHOR = N_("Author")
    MARKING = N_("Marking")
    ATTACHMENT = N_("With attachment")


@dataclass(frozen=True, slots=True)
class Choice:
    """query: what was searched for, narrowed to it."""

    label: str
    count: int
    query: str


@dataclass(frozen=True, slots=True)
class Facet:
    kind: Kind
    choices: tuple[Choice, ...]


class Found(Protocol):
    """What of a posting is counted."""

    @property
    def id(self) -> int: ...
    @property
    def author_id(self) -> int: ...
    @property
    def received_at(self) -> datetime: ...
    @property
    def marking(self) -> str: ...
    @property
    def attachments(self) -> int: ...


def facets(on: Scope, text: str, rows: Sequence[Found]) -> tuple[Facet, ...]:
    """Those that would leave something out; text: the query."""
    attached = sum(one.attachments > 0 for one in rows)
    years = Counter(str(one.received_at.year) for one in rows)
    markings = Counter(one.marking for one in rows)
    found = (
        (Kind.TOPIC, _topics(on, rows)),
        (Kind.YEAR, [(f"date:{one}", one, years[one]) for one in sorted(years, reverse=True)]),
        (Kind.AUTHOR, _authors(on, rows)),
        (
            Kind.MARKING,
            [
                (f"marking:{one.removeprefix('TLP:').lower()}", one, count)
                for one, count in sorted(markings.items())
            ],
        ),
        (Kind.ATTACHMENT, [("has:attachment", "", attached)] if attached else []),
    )
    return tuple(
        Facet(kind, tuple(Choice(label, count, query.narrowed(text, by))
                          for by, label, count in choices))
        for kind, choices in found
        if len(choices) > 1 or any(count < len(rows) for _, _, count in choices)
    )  # fmt: skip


def _topics(on: Scope, rows: Sequence[Found]) -> list[tuple[str, str, int]]:
    """Of the lists that the reader may know of, and where the posting is."""
    letters = {one.id: one.topic_letter for one in on.lists}
    titles = {one.letter: one.title for one in on.lists}
    visible = or_(PostingList.placement == Placement.ACCEPTED, Posting.author_id == on.member.id)
    if on.is_held:
        visible = or_(visible, PostingList.placement == Placement.HELD)
    placed = (
        select(PostingList.posting_id, PostingList.list_id)
        .join(Posting, Posting.id == PostingList.posting_id)
        .where(
            search_index.among(on.session, PostingList.posting_id, [one.id for one in rows]),
            PostingList.list_id.in_(letters),
            visible,
        )
    )
    each = {(id_, letters[on_list]) for id_, on_list in on.session.execute(placed)}
    counts = Counter(letter for _, letter in each)
    return [
        (f"topic:{letter}", f"{letter} {titles[letter]}", counts[letter])
        for letter in sorted(counts)
    ]


def _authors(on: Scope, rows: Sequence[Found]) -> list[tuple[str, str, int]]:
    counts = Counter(one.author_id for one in rows)
    most = sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:_MOST_AUTHORS]
    columns = select(Member.id, Member.address, Member.name)
    known = {
        id_: (address, name)
        for id_, address, name in on.session.execute(columns.where(Member.id.in_(dict(most))))
    }
    return [(f"from:{known[id_][0]}", known[id_][1], count) for id_, count in most]
