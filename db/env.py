"""Alembic's entry: from `Database.migrate`, or a developer who sets ENVIRONET_DATABASE_URL."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from alembic import context
from gateway.db import live
from sqlalchemy import Connection, create_engine

from gateway.store import models

engine = context.config.attributes.get("engine") or create_engine(
    os.environ["ENVIRONET_DATABASE_URL"]
)


@contextmanager
def references_unchecked(connection: Connection) -> Iterator[None]:
    """SQLite can't alter most things in place: a table is copied, dropped and made anew, which it
    would refuse while others refer to its rows. Outside of a transaction, or it does nothing."""
    if connection.dialect.name != "sqlite":
        yield
        return
    driver: Any = connection.connection.driver_connection
    driver.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys=ON")


def check_references(ctx: Any, **_: object) -> None:
    """Before each version's commit: nothing refers to what is not there."""
    if ctx.dialect.name == "sqlite":
        broken = ctx.connection.exec_driver_sql("PRAGMA foreign_key_check").first()
        if broken is not None:
            raise RuntimeError(f"the migration breaks a reference of table {broken[0]}")


with engine.connect() as connection, references_unchecked(connection):
    context.configure(
        connection=connection,
        target_metadata=models.Base.metadata,
        render_as_batch=True,
        on_version_apply=check_references,
        transaction_per_migration=True,
    )
    live.patiently(connection, context.run_migrations)
