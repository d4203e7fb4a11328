"""Checks of the database and of the queue in it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.orm import Session

from gateway.errors import GatewayError
from gateway.monitoring.finding import Finding, fault, ok, warning
from gateway.monitoring.sampling import COUNTED_UP_TO, Queue, queue_now
from gateway.monitoring.scene import Scene
from gateway.store.database import Database, Writable, newest_schema, works_with
from gateway.store.models import Base
from gateway.store.web_session import WRITTEN_BY_THE_WEB

_CHECKING_SECONDS: Final = 12.0
_LATE: Final = timedelta(minutes=10)
_VERY_LATE: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_STEPS: Final = 100_000


def database(scene: Scene) -> Iterator[Finding]:
    """Reachable, of this version, whole; on PostgreSQL also what the roles may."""
    scene.check_database_is_there()
    try:
        yield from _looked_into(scene)
    except DatabaseError:
        # Its words are not told: they quote the statement. Unavailable, such as for a database that
        # is busy or gone, is another kind.
        yield _damaged()


def _damaged() -> Finding:
    return fault(
        "it is damaged", "stop the gateway, keep the file, and restore a backup: docs/backup.md"
    )


def _looked_into(scene: Scene) -> Iterator[Finding]:
    begun = time.monotonic()
    there, wanted = scene.database.schema(), newest_schema()
    took = time.monotonic() - begun
    if there is None:
        yield fault("it is empty", "restore it from a backup: docs/backup.md")
    elif not works_with(there):
        yield fault(
            f"its schema is {there}, and this program's is {wanted}",
            "environet upgrade" if there < wanted else "run the newer program",
        )
    elif scene.database_file is not None:
        yield from _whole(scene)
    else:
        yield ok(f"schema {there}, answers in {took * 1000:.0f} ms")
        yield from _rights(scene)


def _whole(scene: Scene) -> Iterator[Finding]:
    """SQLite's own check of its file, as far as the time goes. Raises DatabaseError."""
    until = time.monotonic() + _CHECKING_SECONDS
    with scene.database.reading() as session:
        raw = session.connection().connection.driver_connection
        assert raw is not None  # noqa: S101  it was checked out a moment ago
        raw.set_progress_handler(lambda: int(time.monotonic() > until), _STEPS)
        try:
            answer = session.scalar(text("PRAGMA quick_check(1)"))
        except OperationalError:
            if time.monotonic() <= until:
                raise
            yield ok(f"of this version; too large to be checked in {_CHECKING_SECONDS:.0f} s")
            return
        finally:
            raw.set_progress_handler(None, 0)
    yield ok("schema of this version, the file is whole") if answer == "ok" else _damaged()


def _rights(scene: Scene) -> Iterator[Finding]:
    tables = [one.name for one in Base.metadata.sorted_tables]
    rights = ("SELECT", "INSERT", "UPDATE")
    with scene.database.reading() as session:
        missing = [f"{right} on {table}" for table in tables for right in rights
                   if not _may(session, table, right)]  # fmt: skip
    if missing:
        yield fault(
            f"the role may not {missing[0]}" + (" and more" if missing[1:] else ""),
            "make the role the owner of the tables",
        )
    url = scene.config.web.database_url
    if url:
        web = Database(url, scene.state)
        try:
            yield from _web_rights(web, WRITTEN_BY_THE_WEB)
        except GatewayError as error:
            yield fault(f"the web archive's: {error}", "see web.database_url and docs/web.md")
        finally:
            web.close()


def _web_rights(web: Database, allowed: Writable) -> Iterator[Finding]:
    """The web archive's role must be able to do what it needs, and no more."""
    renew = "run contrib/postgresql/web-role.sql again: docs/web.md"
    kinds = ("INSERT", "UPDATE", "DELETE")
    with web.reading() as session:
        for table in Base.metadata.sorted_tables:
            found = {kind for kind in kinds if _may(session, table.name, kind)}
            wanted = set(allowed.get(table.name, ()))
            if found - wanted:
                kind = sorted(found - wanted)[0]
                yield fault(f"the web archive's role may {kind} on {table.name}", renew)
            if wanted - found or not _may(session, table.name, "SELECT"):
                yield fault(f"the web archive's role may too little on {table.name}", renew)


def _may(session: Session, table: str, right: str) -> bool:
    query = text("SELECT has_table_privilege(current_user, :table, :right)")
    return bool(session.scalar(query, {"table": table, "right": right}))


def queue(scene: Scene) -> Iterator[Finding]:
    """What waits, for how long, and what an administrator has to decide."""
    scene.check_database_is_there()
    now = scene.clock()
    with scene.database.reading() as session:
        found = queue_now(session, now)
    yield from late(found)
    if found.entries["parked"]:
        yield warning(
            f"{_count(found, 'parked')} copies are parked",
            "environet queue; mend the cause, then: environet queue retry --parked",
        )
    if found.entries["refused"]:
        yield warning(
            f"{_count(found, 'refused')} copies were refused by the mail server",
            "environet queue; then environet queue retry or environet queue drop",
        )
    yield ok(f"{_count(found, 'waiting')} waiting, {_count(found, 'leased')} under way")


def late(found: Queue) -> Iterator[Finding]:
    """How long the one that has been due longest has been due."""
    why = "environet queue says why; then see whether workers and mail server run"
    if found.overdue > _VERY_LATE:
        yield fault(f"copies have been due for {_told(found.overdue)}", why)
    elif found.overdue > _LATE:
        yield warning(f"copies have been due for {_told(found.overdue)}", why)


def _count(found: Queue, state: str) -> str:
    count = found.entries[state]
    return f"{count:,}" + (" or more" if count >= COUNTED_UP_TO else "")


def _told(duration: timedelta) -> str:
    if duration >= _DAY:
        return f"{duration // _DAY} days"
    minutes = duration // timedelta(minutes=1)
    return f"{minutes // 60} h {minutes % 60} min"
