"""Search: what a member finds among the postings that they may read, best or newest first."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.app import App
from gateway.archive import hits, indexing, query, wanting
from gateway.archive.facets import Facet, facets
from gateway.archive.hits import Hit
from gateway.archive.query import All, Node
from gateway.archive.terms import Field
from gateway.archive.wanting import Scope, Wanted
from gateway.store import search_index
from gateway.store.archive_entry import ArchiveEntry
from gateway.store.member import Member
from gateway.store.posting import Posting
from gateway.store.search_index import AllOf, AnyOf

MOST_COUNTED = 1_000
"""Postings up to which is counted and sorted; of more, the newest that fit best are shown."""
ON_A_PAGE = 20
_MOST_AT_ONCE = 16_000
_RANKED_WORDS = 8
"""Words of a query that the order by relevance looks at."""


class Order(StrEnum):
    RELEVANCE = "relevance"
    """More of the query's words in the subject first, then in file names, then the newest."""
    NEWEST = "newest"
    OLDEST = "oldest"


@dataclass(frozen=True, slots=True)
class Row:
    """A posting found. key: its place in the index; attachments: how many."""

    key: int
    id: int
    author_id: int
    received_at: datetime
    marking: str
    attachments: int


@dataclass(frozen=True, slots=True)
class Results:
    """What one page shows. query: as understood. count: of postings found; capped: there are more.
    seconds: that finding and opening them took."""

    query: Node
    order: Order
    page: int
    count: int
    capped: bool
    seconds: float
    hits: tuple[Hit, ...]
    facets: tuple[Facet, ...]

    @property
    def pages(self) -> int:
        return -(-self.count // ON_A_PAGE)

    @property
    def numbers(self) -> str:
        """Of the postings of which a passage is shown, for the ledger."""
        return " ".join(str(one) for one in sorted(one.id for one in self.hits))


def search(
    session: Session,
    app: App,
    member: Member,
    text: str,
    *,
    order: Order = Order.RELEVANCE,
    page: int = 1,
    most: int = ON_A_PAGE,
) -> Results:
    """One page of what a member finds. page: from 1; most: hits on it. Raises QueryFault."""
    begun = time.perf_counter()
    understood = query.parse(text)
    if understood == All(()):
        return Results(understood, order, page, 0, False, 0.0, (), ())
    on = wanting.scope(session, app, member, understood)
    rows = _found(on, understood, order, MOST_COUNTED + 1)
    counted = rows[:MOST_COUNTED]
    shown = counted[max(page - 1, 0) * most : max(page, 1) * most]
    opened = hits.opened(on, [one.id for one in shown], wanting.sought(understood))
    counts = facets(on, text, counted)
    return Results(
        understood, order, page, len(counted), len(rows) > MOST_COUNTED,
        time.perf_counter() - begun, opened, counts,
    )  # fmt: skip


def found_ids(session: Session, app: App, member: Member, text: str, most: int) -> list[int]:
    """Ids of the newest `most` postings that a member finds, in the order of their dates. Raises
    QueryFault."""
    understood = query.parse(text)
    if understood == All(()):
        return []
    on = wanting.scope(session, app, member, understood)
    return [one.id for one in reversed(_found(on, understood, Order.NEWEST, most))]


def _found(on: Scope, understood: Node, order: Order, most: int) -> list[Row]:
    """The first of all that is found, in order."""
    wanted = wanting.wanted(on, understood)
    bounds = wanting.bounds(understood)
    found = _rows(on, wanted, bounds, most, descending=order is not Order.OLDEST)
    if order is not Order.RELEVANCE:
        return found
    scores = _scores(on, understood, wanted, bounds, found, most)
    return sorted(found, key=lambda one: (scores.get(one.key, (0, 0)), one.key), reverse=True)


def _rows(
    on: Scope, wanted: Wanted, bounds: tuple[int | None, int | None], most: int, *, descending: bool
) -> list[Row]:
    """Those that a member may find, from the newest or the oldest end of the index until there are
    enough. First keys alone and then who may read them: so both databases go along the index and
    stop, whatever they expect of the rule."""
    found: list[Row] = []
    (above, below), size = bounds, most
    while len(found) < most:
        keys = search_index.keys(
            on.session, search_index.POSTINGS, wanted.match, size,
            above=above, below=below, descending=descending,
        )  # fmt: skip
        found += sorted(_allowed(on, wanted, keys), key=lambda one: one.key, reverse=descending)
        if len(keys) < size:
            break
        above, below = (above, keys[-1]) if descending else (keys[-1], below)
        size = min(2 * size, _MOST_AT_ONCE)
    return found[:most]


def _allowed(on: Scope, wanted: Wanted, keys: Sequence[int]) -> list[Row]:
    ids = {indexing.posting_id(one): one for one in keys}
    columns = (Posting.id, Posting.author_id, Posting.received_at, Posting.marking)
    statement = (
        select(*columns, ArchiveEntry.attachments)
        .join(ArchiveEntry, ArchiveEntry.posting_id == Posting.id)
        .where(search_index.among(on.session, Posting.id, ids), on.allowed)
    )
    if wanted.exactly is not None:
        statement = statement.where(wanted.exactly)
    return [
        Row(ids[id_], id_, author_id, received_at, marking, attachments or 0)
        for id_, author_id, received_at, marking, attachments in on.session.execute(statement)
    ]


def _scores(
    on: Scope,
    understood: Node,
    wanted: Wanted,
    bounds: tuple[int | None, int | None],
    found: list[Row],
    most: int,
) -> dict[int, tuple[int, int]]:
    """Key -> how many of the query's words stand in the subject, and how many in file names. Where
    more is found than is looked at, the newest that have any of them there are put into `found`."""
    words = [one for one in wanting.sought(understood) if one.where is None][:_RANKED_WORDS]
    if not words or not found:
        return {}
    fields = (Field.SUBJECT, Field.NAME)
    there = {field: [wanting.of_words(on, one.text, field) for one in words] for field in fields}
    if len(found) == most:
        any_of = AnyOf((*there[Field.SUBJECT], *there[Field.NAME]))
        best = Wanted(AllOf((wanted.match, any_of)), wanted.exactly)
        known = {one.key for one in found}
        found += [one for one in _rows(on, best, bounds, most, descending=True)
                  if one.key not in known]  # fmt: skip
    lowest = min(one.key for one in found) - 1
    counts = {field: Counter[int]() for field in fields}
    for field in fields:
        for one in there[field]:
            match = AllOf((wanted.match, one))
            counts[field].update(
                search_index.keys(
                    on.session, search_index.POSTINGS, match, _MOST_AT_ONCE,
                    above=lowest, below=bounds[1],
                )
            )  # fmt: skip
    return {one.key: (counts[Field.SUBJECT][one.key], counts[Field.NAME][one.key]) for one in found}
