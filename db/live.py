"""Changes of a schema while processes of the version before work with it.

Each only adds, so that those processes go on. On PostgreSQL no change waits long for a lock, since
all others would wait behind it, and indexes are built beside who writes; as that can't be in one
transaction, what is there already is left, and a migration that was cut off is run again. SQLite
has no such processes, and a version's changes are one transaction.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import sqlalchemy as sa
from alembic import op
from psycopg.errors import LockNotAvailable

LOCK_SECONDS = 3
_TRIES = 100
_PAUSE_SECONDS = 1.0


def add_column(table: str, column: sa.Column[object]) -> None:
    there = sa.inspect(op.get_bind()).get_columns(table)
    if not any(one["name"] == column.name for one in there):
        op.add_column(table, column)


def create_index(name: str, table: str, columns: Sequence[str], where: str | None = None) -> None:
    """where: the condition of a partial index."""
    of = None if where is None else sa.text(where)
    if op.get_bind().dialect.name == "sqlite":
        op.create_index(name, table, columns, sqlite_where=of)
        return
    with op.get_context().autocommit_block():
        # It waits for transactions that are under way, and nobody waits for it.
        op.execute("SET lock_timeout = 0")
        if op.get_bind().scalar(_UNFINISHED, {"name": name}):
            op.drop_index(name, table, postgresql_concurrently=True)
        op.create_index(
            name, table, columns, postgresql_where=of,
            postgresql_concurrently=True, if_not_exists=True,
        )  # fmt: skip
        op.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")


def patiently(connection: sa.Connection, migrate: Callable[[], None]) -> None:
    """Run migrations; again where one had no lock in time."""
    if connection.dialect.name == "sqlite":
        migrate()
        return
    with _patience(connection):
        for _ in range(_TRIES):
            try:
                migrate()
            except sa.exc.OperationalError as error:
                if not isinstance(error.orig, LockNotAvailable):
                    raise
                connection.rollback()
                time.sleep(_PAUSE_SECONDS)
            else:
                return
        migrate()


@contextmanager
def _patience(connection: sa.Connection) -> Iterator[None]:
    """lock_timeout is for each lock; an index of a large table takes its time."""
    connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_SECONDS}s'")
    connection.exec_driver_sql("SET statement_timeout = 0")
    connection.commit()
    try:
        yield
    finally:
        connection.invalidate()  # others must not be given it with these settings


_UNFINISHED = sa.text(
    "SELECT count(*) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid "
    "WHERE relname = :name AND NOT indisvalid"
)
