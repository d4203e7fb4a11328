"""The blind search index: which keys have which terms, where a term is a keyed hash.

SQLite keeps it with FTS5, PostgreSQL as a tsvector; what differs between them is in this file.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Select,
    SQLColumnExpression,
    TableClause,
    any_,
    cast,
    column,
    delete,
    func,
    insert,
    literal_column,
    select,
    table,
)
from sqlalchemy.dialects.postgresql import TSQUERY, TSVECTOR
from sqlalchemy.orm import Session

POSTINGS = "posting_index"
GAP = "0"
"""Stands where a field ends, so that no phrase goes on into the next; no term is like it."""

MOST_PLACES = 16_383
"""The highest position in a tsvector; what is further back could not be told apart."""
MOST_OF_ONE = 255
"""Positions of one term that a tsvector keeps. Both databases are given the same."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """Terms that stand next to each other; one alone is a word."""

    terms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    parts: tuple[Match, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    parts: tuple[Match, ...]


@dataclass(frozen=True, slots=True)
class Without:
    """What matches `part` and not `but`."""

    part: Match
    but: Match


Match = Phrase | AllOf | AnyOf | Without


def bounded(terms: Iterable[str]) -> list[str]:
    """What both databases keep of a text's terms, in order: so many in all, so many of each."""
    counts: dict[str, int] = {}
    kept: list[str] = []
    for term in terms:
        if len(kept) == MOST_PLACES:
            break
        counts[term] = count = counts.get(term, 0) + 1
        kept.append(term if count <= MOST_OF_ONE else GAP)
    return kept


def replace(session: Session, index: str, key: int, terms: Sequence[str]) -> None:
    """Have a key found by these terms, in this order, and no longer by what it had."""
    remove(session, index, key)
    values: dict[Any, Any] = {_key(session): key}
    if _is_sqlite(session):
        values["terms"] = " ".join(terms)
    else:
        values["terms"] = cast(_vector(terms), TSVECTOR)
    session.execute(insert(_table(session, index)).values(values))


def remove(session: Session, index: str, key: int) -> None:
    """Have a key found by nothing."""
    found = _table(session, index)
    session.execute(delete(found).where(found.c[_key(session)] == key))


def purge(session: Session, index: str, pages: int = 500) -> bool:
    """Rewrite some of the index, so that what was removed is not even left in pages that nothing
    reads. False once nothing is left to do. On PostgreSQL that is VACUUM's."""
    if not _is_sqlite(session):
        return False
    # FTS5 notes a removal beside what was there before, until it merges the two. A negative number
    # has it merge what it would leave alone; two changes or more say that it did something.
    before = session.scalar(select(func.total_changes())) or 0
    columns = table(index, column(index), column("rank"))
    session.execute(insert(columns).values({index: "merge", "rank": -pages}))
    after = session.scalar(select(func.total_changes())) or 0
    return after - before >= 2


def keys(
    session: Session,
    index: str,
    match: Match,
    most: int,
    *,
    above: int | None = None,
    below: int | None = None,
    descending: bool = True,
) -> list[int]:
    """The first `most` keys that match, in their order, of those above and below a key."""
    query = matching(session, index, match)
    (key,) = query.selected_columns
    if above is not None:
        query = query.where(key > above)
    if below is not None:
        query = query.where(key < below)
    return list(session.scalars(query.order_by(key.desc() if descending else key).limit(most)))


def matching(session: Session, index: str, match: Match) -> Select[tuple[int]]:
    """Every key that matches, for a part of another query."""
    found = _table(session, index)
    condition: ColumnElement[bool]
    if _is_sqlite(session):
        condition = literal_column(index).op("MATCH")(_fts5(match))
    else:
        condition = found.c.terms.op("@@")(cast(_tsquery(match), TSQUERY))
    return select(found.c[_key(session)]).where(condition)


def among(
    session: Session, number: SQLColumnExpression[int], values: Collection[int]
) -> ColumnElement[bool]:
    """Whether a column has one of thousands of numbers, which go along as one parameter."""
    if _is_sqlite(session):
        rows = func.json_each(json.dumps(list(values))).table_valued("value")
        return number.in_(select(rows.c.value))
    return number == any_(cast(list(values), ARRAY(BigInteger)))


def _fts5(match: Match) -> str:
    match match:
        case Phrase(terms):
            return f'"{" ".join(terms)}"'
        case AllOf(parts):
            return f"({' AND '.join(map(_fts5, parts))})"
        case AnyOf(parts):
            return f"({' OR '.join(map(_fts5, parts))})"
        case Without(part, but):
            return f"({_fts5(part)} NOT {_fts5(but)})"


def _tsquery(match: Match) -> str:
    match match:
        case Phrase(terms):
            return f"({' <-> '.join(terms)})"
        case AllOf(parts):
            return f"({' & '.join(map(_tsquery, parts))})"
        case AnyOf(parts):
            return f"({' | '.join(map(_tsquery, parts))})"
        case Without(part, but):
            return f"({_tsquery(part)} & !{_tsquery(but)})"


def _vector(terms: Sequence[str]) -> str:
    """A tsvector as text: each term with its positions."""
    places: dict[str, list[str]] = {}
    for place, term in enumerate(terms, 1):
        if term != GAP:
            places.setdefault(term, []).append(str(place))
    return " ".join(f"{term}:{','.join(found)}" for term, found in places.items())


def _table(session: Session, index: str) -> TableClause:
    return table(index, column(_key(session), BigInteger), column("terms"))


def _key(session: Session) -> str:
    return "rowid" if _is_sqlite(session) else "id"


def _is_sqlite(session: Session) -> bool:
    return session.get_bind().dialect.name == "sqlite"
