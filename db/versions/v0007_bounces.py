"""Bounces: what came back, and how reachable each member is.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "bounce",
        sa.Column("entry_id", sa.Integer(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("hard", sa.Boolean(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("dialect", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["entry_id"], ["outbox.id"], name=op.f("fk_bounce_entry_id")),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_bounce")),
    )
    op.create_index(op.f("ix_bounce_at"), "bounce", ["at"])
    op.create_table(
        "reachability",
        sa.Column("member_id", sa.Integer(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("scored_at", MOMENT, nullable=False),
        sa.Column("counted", sa.Float(), nullable=False),
        sa.Column("counted_at", MOMENT, nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("probe_id", sa.Integer()),
        sa.Column("probed_at", MOMENT),
        sa.Column("stopped_at", MOMENT),
        sa.Column("told_at", MOMENT),
        sa.ForeignKeyConstraint(
            ["member_id"], ["member.id"], name=op.f("fk_reachability_member_id")
        ),
        sa.ForeignKeyConstraint(["probe_id"], ["outbox.id"], name=op.f("fk_reachability_probe_id")),
        sa.PrimaryKeyConstraint("member_id", name=op.f("pk_reachability")),
    )
    op.create_index(op.f("ix_reachability_probe_id"), "reachability", ["probe_id"])
    op.create_index(op.f("ix_reachability_stopped_at"), "reachability", ["stopped_at"])
