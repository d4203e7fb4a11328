"""The database: engine, sessions, migrations. SQLite is embedded, PostgreSQL the larger one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    DateTime,
    Dialect,
    Engine,
    Enum,
    MetaData,
    create_engine,
    event,
    inspect,
    text,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker
from sqlalchemy.types import TypeDecorator

from gateway.errors import Unavailable
from gateway.resources import migrations

BUSY_SECONDS = 30
Writable = Mapping[str, frozenset[str]]
_WRITES = {
    sqlite3.SQLITE_INSERT: "INSERT",
    sqlite3.SQLITE_UPDATE: "UPDATE",
    sqlite3.SQLITE_DELETE: "DELETE",
}
_HARMLESS = frozenset({"data_version", "index_info", "index_list", "table_info", "table_xinfo"})
"""What SQLite's search index and SQLAlchemy ask by PRAGMA."""


class UtcDateTime(TypeDecorator[datetime]):
    """A moment, aware, UTC. SQLite keeps no zone, so what comes back is given one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012  SQLAlchemy's own idiom
        datetime: UtcDateTime,
        # Kept as plain text by value, so that adding one is no migration.
        StrEnum: Enum(
            StrEnum,
            native_enum=False,
            length=20,
            values_callable=lambda kind: [one.value for one in kind],
        ),
    }


class Database:
    """Connections to one gateway's database. Safe to share between threads, not across fork.

    writable: the tables that may be written to through it, each with "INSERT", "UPDATE", "DELETE";
    None for all. What else is written fails in the database: on SQLite by its authorizer, on
    PostgreSQL by what the role of the URL was granted (contrib/postgresql).
    """

    def __init__(self, url: str, state: Path, writable: Writable | None = None) -> None:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            parsed = parsed.set(database=str(state / parsed.database))
        self.url = parsed
        self.engine = _engine(parsed.render_as_string(hide_password=False), writable)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session that commits at the end of the block; any fault rolls all of it back.

        Raises Unavailable where the database does not serve (locked, full, gone): our fault, so
        whoever waits is told to try again.
        """
        with _outages(), self._sessions.begin() as session:
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session for reading: the database refuses to write in it. Raises as above."""
        with _outages(), self._sessions() as session:
            session.connection(execution_options={"reading": True})
            yield session

    @contextmanager
    def quick_transaction(self) -> Iterator[Connection]:
        """A transaction without the session's identity map, for statements run thousands of times.

        Raises as `transaction` does.
        """
        with _outages(), self.engine.begin() as connection:
            yield connection

    def migrate(self) -> None:
        """Bring the schema to this version's; harmless when it is there already."""
        # Alembic takes a fifth of a second to import, which no other command should pay.
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(migrations()).replace("%", "%%"))
        config.attributes["engine"] = self.engine
        command.upgrade(config, "head")

    def schema(self) -> str | None:
        """The version of the schema that is there; None where there is none."""
        with self.reading() as session:
            if not inspect(session.connection()).has_table("alembic_version"):
                return None
            found: str | None = session.scalar(text("SELECT version_num FROM alembic_version"))
            return found

    def close(self) -> None:
        self.engine.dispose()


def newest_schema() -> str:
    """The version that this program works with, which its newest migration makes."""
    return max(file.name[1:5] for file in (migrations() / "versions").glob("v[0-9]*.py"))


@contextmanager
def _outages() -> Iterator[None]:
    """Faults of the database, and not of what it was asked, as Unavailable."""
    try:
        yield
    except DBAPIError as error:
        # By SQLAlchemy's kinds: a driver has subclasses of its own, for a deadlock, say.
        outage = isinstance(error, (OperationalError, InterfaceError, InternalError))
        if outage or error.connection_invalidated:
            raise Unavailable(f"database: {type(error.orig).__name__}") from error
        raise


def _engine(url: str, writable: Writable | None) -> Engine:
    if make_url(url).get_backend_name() != "sqlite":
        return _postgresql(url)
    # hide_parameters: a bound value in an exception's text could be content.
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def configure(connection: Any, record: object) -> None:
        connection.isolation_level = None  # this module begins its transactions itself
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",  # a commit that was answered 250 survives a power cut
            "foreign_keys=ON",
            "secure_delete=ON",
            "temp_store=MEMORY",
        ):
            connection.execute(f"PRAGMA {pragma}")
        if writable is not None:
            connection.set_authorizer(partial(_authorize, writable))

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        # A write lock from the start: upgrading a read lock later fails under WAL with SQLITE_BUSY
        # at once, whatever the time-out is.
        reading = connection.get_execution_options().get("reading", False)
        connection.exec_driver_sql(f"PRAGMA query_only={'ON' if reading else 'OFF'}")
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _postgresql(url: str) -> Engine:
    engine = create_engine(url, pool_pre_ping=True, hide_parameters=True)

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        if connection.get_execution_options().get("reading", False):
            connection.exec_driver_sql("SET TRANSACTION READ ONLY")

    return engine


def _authorize(
    writable: Writable, action: int, first: str | None, second: str | None, *_: str | None
) -> int:
    """SQLite asks this of each thing that a statement would do, when it is prepared."""
    match action:
        case (
            sqlite3.SQLITE_SELECT
            | sqlite3.SQLITE_READ
            | sqlite3.SQLITE_FUNCTION
            | (sqlite3.SQLITE_TRANSACTION | sqlite3.SQLITE_RECURSIVE | sqlite3.SQLITE_SAVEPOINT)
        ):
            allowed = True
        case sqlite3.SQLITE_UPDATE if first == "sqlite_master":
            # Asked whenever a search index is opened. SQLite itself lets nobody change that table
            # without PRAGMA writable_schema.
            allowed = True
        case sqlite3.SQLITE_INSERT | sqlite3.SQLITE_UPDATE | sqlite3.SQLITE_DELETE:
            allowed = _WRITES[action] in writable.get(first or "", ())
        case sqlite3.SQLITE_PRAGMA:
            allowed = first == "query_only" or first in _HARMLESS
        case _:
            allowed = False
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY
