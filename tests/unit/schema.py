"""What a database's schema differs in from the code's tables."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from gateway.store import models
from gateway.store.database import Database


def differences(database: Database) -> list[object]:
    """The search indexes left out: each engine has its own kind, and they are no ORM tables."""

    def is_ours(name: str | None, kind: str, _: object) -> bool:
        return not (kind == "table" and "_index" in (name or ""))

    with database.engine.connect() as connection:
        opts = {"compare_type": False, "include_name": is_ours}
        context = MigrationContext.configure(connection, opts=opts)
        return list(compare_metadata(context, models.Base.metadata))
