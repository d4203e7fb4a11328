"""Alembic's entry: from `Database.migrate`, or a developer who sets ENVIRONET_DATABASE_URL."""

import os

from alembic import context
from sqlalchemy import create_engine

from gateway.store import models

engine = context.config.attributes.get("engine") or create_engine(
    os.environ["ENVIRONET_DATABASE_URL"]
)

with engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=models.Base.metadata,
        render_as_batch=True,  # SQLite can't alter most things in place
    )
    with context.begin_transaction():
        context.run_migrations()
