"""A gateway's database copied into another one: from SQLite to PostgreSQL, or back.

All is filled in one transaction, so that where it is cut off the target is as empty as before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from sqlalchemy import Row, Table, insert
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm import Session

from gateway.app import App, not_served
from gateway.archive import indexing
from gateway.errors import UsageError
from gateway.library import indexing as documents
from gateway.store import ledger, models, rows
from gateway.store.database import Database, newest_schema

_MODULUS = 2**256

Progress = Callable[[str, int], None]
"""Told a table's name and how many of its rows were copied or read back since it was last told."""


@dataclass(frozen=True, slots=True)
class Copied:
    """A table as it is in both databases. digest: of all its rows, whatever their order."""

    table: str
    rows: int
    digest: str


def rows_to_copy(app: App) -> int:
    """How many rows there are in all; each is copied and then read back."""
    with app.database.reading() as session:
        return sum(rows.count(session, one) for one in models.Base.metadata.sorted_tables)


def copy(app: App, url: str, progress: Progress) -> list[Copied]:
    """Copy all into an empty database, and read it back. The search index is not copied: all is
    marked, and the gateway indexes it anew where it goes on.

    Raises UsageError where the gateway is running, the target is not empty, or it has not what the
    source has.
    """
    if make_url(url).password is not None:
        raise UsageError("leave the password out of the URL: it belongs into ~/.pgpass")
    with not_served(app.state), closing(Database(url, app.state)) as target:
        _refuse_while_used(app.database)
        if app.database.schema() != newest_schema():
            raise UsageError("a newer program has upgraded the database: use that one")
        if not target.is_empty():
            raise UsageError("the target is not empty; give it a new database")
        target.migrate()
        with target.transaction() as session:
            with app.database.reading(snapshot=True) as source:
                expected = [_fill(source, session, one, progress) for one in _tables()]
            found = [_summed(session, one, progress) for one in _tables()]
            wrong = [one.table for one, there in zip(expected, found, strict=True) if one != there]
            if wrong:
                raise UsageError(f"the target has something else in {', '.join(wrong)}")
            verdict = ledger.verify(session)
            if verdict.fault is not None:
                raise UsageError(f"the ledger is not sound: {verdict.fault}")
            rows.set_sequences(session, _tables())
            indexing.mark_every(session)
            documents.mark_all(session)
    return found


def _tables() -> list[Table]:
    """In an order in which a row's references are there before it."""
    return models.Base.metadata.sorted_tables


def _refuse_while_used(database: Database) -> None:
    """Another machine's gateway is not told by the lock of this one's state."""
    others = database.others()
    if others:
        raise UsageError(
            f"{others} others are connected to the database: stop the gateway on every machine"
        )


def _fill(source: Session, target: Session, table: Table, progress: Progress) -> Copied:
    digest = count = 0
    with closing(rows.batches(source, table)) as batches:
        for batch in batches:
            digest = (digest + sum(map(_digest, batch))) % _MODULUS
            count += len(batch)
            try:
                target.connection().execute(insert(table), [dict(one._mapping) for one in batch])
            except (DataError, IntegrityError) as error:
                kind = type(error.orig).__name__
                told = f"the target does not take a row of {table.name}: {kind}"
                raise UsageError(told) from None
            progress(table.name, len(batch))
    return Copied(table.name, count, f"{digest:064x}")


def _summed(session: Session, table: Table, progress: Progress) -> Copied:
    digest = count = 0
    with closing(rows.batches(session, table)) as batches:
        for batch in batches:
            digest = (digest + sum(map(_digest, batch))) % _MODULUS
            count += len(batch)
            progress(table.name, len(batch))
    return Copied(table.name, count, f"{digest:064x}")


def _digest(row: Row[tuple[object, ...]]) -> int:
    """Rows' digests are added up, as databases differ in how they order text."""
    made = hashlib.sha256()
    for value in row:
        # Its length first, so that no two rows' values run into the same octets.
        octets = value if isinstance(value, bytes) else repr(value).encode()
        made.update(b"%s %d " % (type(value).__name__.encode(), len(octets)))
        made.update(octets)
    return int.from_bytes(made.digest(), "big")
