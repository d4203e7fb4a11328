"""The database: engine, sessions, migrations. SQLite is embedded, PostgreSQL the larger one."""

from __future__ import annotations

import sqlite3
import time
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
    exists,
    func,
    inspect,
    select,
    table,
    text,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker
from sqlalchemy.types import TypeDecorator

from gateway.errors import Unavailable
from gateway.resources import migrations

BUSY_SECONDS = 30
"""How long to wait for another's lock, or for a connection of the pool."""
STATEMENT_SECONDS = 300
GONE_SECONDS = 20
"""After which a server, or to the server a client, that answers nothing is given up."""
_MOST_CONNECTIONS = 64
_QUERY_ONLY = "query_only"  # what a connection of SQLite's was last set to
_VERSION = "alembic_version"
_ALONE = 0x454E5649  # an advisory lock's number, which PostgreSQL gives no meaning
_OTHERS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
    "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
)
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
    def reading(self, *, snapshot: bool = False) -> Iterator[Session]:
        """A session for reading: the database refuses to write in it. Raises as above.

        snapshot: all that is read is of one moment, as it always is on SQLite.
        """
        options: dict[str, object] = {"reading": True}
        if snapshot and self.engine.dialect.name != "sqlite":
            options |= {"isolation_level": "REPEATABLE READ"}
        with _outages(), self._sessions() as session:
            session.connection(execution_options=options)
            yield session

    @contextmanager
    def quick_transaction(self) -> Iterator[Connection]:
        """A transaction without the session's identity map, for statements run thousands of times.

        Raises as `transaction` does.
        """
        with _outages(), self.engine.begin() as connection:
            yield connection

    def migrate(self, version: str = "head") -> None:
        """Bring the schema to this program's version, or to one before it; harmless when it is
        there already."""
        # Alembic takes a fifth of a second to import, which no other command should pay.
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(migrations()).replace("%", "%%"))
        config.attributes["engine"] = self.engine
        command.upgrade(config, version)

    def schema(self) -> str | None:
        """The version of the schema that is there; None where there is none."""
        with self.reading() as session:
            return schema_of(session)

    def is_empty(self) -> bool:
        """Whether no table has a row; tables without any may be there, as after a founding that
        was cut off."""
        with self.reading() as session:
            names = inspect(session.connection()).get_table_names()
            asked = (table(name) for name in names if is_kept(name))
            return not any(
                session.scalar(select(exists(select(text("1")).select_from(one)))) for one in asked
            )

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While it lasts, nobody else on any machine is in such a block. SQLite has one machine,
        whose files lock it. Raises as `transaction` does."""
        if not self.is_shared:
            yield
            return
        with _outages(), self.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            # Whoever waits in a statement is waited for by CREATE INDEX CONCURRENTLY.
            while not connection.scalar(select(func.pg_try_advisory_lock(_ALONE))):
                time.sleep(1)
            try:
                yield
            finally:
                connection.invalidate()  # which unlocks it

    @property
    def is_shared(self) -> bool:
        """Whether several machines may have it: PostgreSQL."""
        return self.engine.dialect.name != "sqlite"

    def others(self) -> int:
        """How many connections there are beside this process's; 0 on SQLite, which has none."""
        if not self.is_shared:
            return 0
        self.close()  # what is idle in the pool is this process's own
        with self.reading() as session:
            return session.scalar(_OTHERS) or 0

    def close(self) -> None:
        self.engine.dispose()


def schema_of(session: Session) -> str | None:
    """As `Database.schema`, in a session that also reads what is in it."""
    if not inspect(session.connection()).has_table(_VERSION):
        return None
    found: str | None = session.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def is_kept(table: str) -> bool:
    """Whether a table has what is remembered: not Alembic's, nor those of the search index, which
    on SQLite are never without rows."""
    return "_index" not in table and table != _VERSION


def locking(session: Session, of: type[Base]) -> dict[str, type[Base]] | None:
    """with_for_update of a row that may be looked at in a session for reading too, where PostgreSQL
    locks nothing."""
    reading = session.connection().get_execution_options().get("reading", False)
    return None if reading else {"of": of}


def newest_schema() -> str:
    """The version that this program works with, which its newest migration makes."""
    return max(file.name[1:5] for file in (migrations() / "versions").glob("v[0-9]*.py"))


def works_with(schema: str) -> bool:
    """Whether this program does with a database of that version: its own, or a later one which only
    adds to it. A version that takes something away changes the first two digits."""
    newest = newest_schema()
    return schema >= newest and schema[:2] == newest[:2]


@contextmanager
def _outages() -> Iterator[None]:
    """Faults of the database, and not of what it was asked, as Unavailable."""
    try:
        yield
    except PoolTimeout as error:
        raise Unavailable("database: no connection is free") from error
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
        if connection.info.get(_QUERY_ONLY) is not reading:
            connection.exec_driver_sql(f"PRAGMA query_only={'ON' if reading else 'OFF'}")
            connection.info[_QUERY_ONLY] = reading
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _postgresql(url: str) -> Engine:
    engine = create_engine(
        url,
        pool_pre_ping=True,  # a connection that was lost while it was idle is made anew
        pool_size=5,
        max_overflow=_MOST_CONNECTIONS - 5,
        pool_timeout=BUSY_SECONDS,
        hide_parameters=True,
        connect_args=_NEVER_FOR_EVER,
    )

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        if connection.get_execution_options().get("reading", False):
            connection.exec_driver_sql("SET TRANSACTION READ ONLY")

    return engine


_NEVER_FOR_EVER = {
    "connect_timeout": GONE_SECONDS // 2,
    # libpq's: so that whoever is cut off learns of it, with a statement under way too.
    "keepalives_idle": GONE_SECONDS // 2,
    "keepalives_interval": GONE_SECONDS // 4,
    "keepalives_count": 2,
    "tcp_user_timeout": GONE_SECONDS * 1000,
    # The server's: so that whoever is cut off does not keep its locks.
    "options": " ".join(
        f"-c {name}={seconds}{unit}"
        for name, seconds, unit in (
            ("lock_timeout", BUSY_SECONDS, "s"),
            ("statement_timeout", STATEMENT_SECONDS, "s"),
            ("idle_in_transaction_session_timeout", STATEMENT_SECONDS, "s"),
            ("tcp_keepalives_idle", GONE_SECONDS // 2, "s"),
            ("tcp_keepalives_interval", GONE_SECONDS // 4, "s"),
            ("tcp_keepalives_count", 2, ""),
            ("tcp_user_timeout", GONE_SECONDS, "s"),
        )
    ),
}
"""How long a connection waits for what does not come, on either end."""


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
