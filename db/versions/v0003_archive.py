"""The archive: what is noted of each posting, and the blind search index.

The index holds keyed hashes alone: FTS5 on SQLite, a tsvector on PostgreSQL.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "archive_entry",
        sa.Column("posting_id", sa.Integer(), nullable=False),
        sa.Column("attachments", sa.Integer(), nullable=True),
        sa.Column("language", sa.String(), nullable=True),
        sa.Column("place", sa.BigInteger(), nullable=True),
        sa.Column("indexed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["posting_id"], ["posting.id"], name=op.f("fk_archive_entry_posting_id")
        ),
        sa.PrimaryKeyConstraint("posting_id", name=op.f("pk_archive_entry")),
    )
    op.create_index(
        "ix_archive_entry_due",
        "archive_entry",
        ["posting_id"],
        sqlite_where=sa.text("indexed_at IS NULL"),
        postgresql_where=sa.text("indexed_at IS NULL"),
    )
    op.create_index("ix_archive_entry_language", "archive_entry", ["language"])
    op.execute("INSERT INTO archive_entry (posting_id) SELECT id FROM posting")
    # A topic's newest postings are read from its end.
    op.create_index("ix_posting_list_newest", "posting_list", ["list_id", "posting_id"])
    op.add_column("member", sa.Column("time_zone", sa.String(), nullable=False, server_default=""))
    _create_index("posting_index")


def _create_index(name: str) -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"CREATE VIRTUAL TABLE {name} USING fts5(terms, tokenize='ascii')")
        return
    op.create_table(
        name,
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("terms", sa.dialects.postgresql.TSVECTOR(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{name}")),
    )
    op.create_index(f"ix_{name}_terms", name, ["terms"], postgresql_using="gin")
