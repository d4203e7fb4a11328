"""Logins to the web archive.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "login_request",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("address", sa.LargeBinary(), nullable=False),
        sa.Column("back", sa.LargeBinary(), nullable=False),
        sa.Column("address_hash", sa.String(), nullable=False),
        sa.Column("client_hash", sa.String(), nullable=False),
        sa.Column("browser_hash", sa.String()),
        sa.Column("asked_at", MOMENT, nullable=False),
        sa.Column("answered_at", MOMENT),
        sa.Column("code_hash", sa.String()),
        sa.Column("member_id", sa.Integer()),
        sa.Column("key_fingerprint", sa.String()),
        sa.Column("ends_at", MOMENT),
        sa.Column("used_at", MOMENT),
        sa.ForeignKeyConstraint(
            ["member_id"], ["member.id"], name=op.f("fk_login_request_member_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_request")),
        sa.UniqueConstraint("token", name=op.f("uq_login_request_token")),
        sa.UniqueConstraint("code_hash", name=op.f("uq_login_request_code_hash")),
    )
    op.create_index(
        "ix_login_request_due",
        "login_request",
        ["id"],
        sqlite_where=sa.text("answered_at IS NULL"),
        postgresql_where=sa.text("answered_at IS NULL"),
    )
    op.create_index("ix_login_request_address", "login_request", ["address_hash", "asked_at"])
    op.create_index("ix_login_request_client", "login_request", ["client_hash", "asked_at"])
    op.create_table(
        "web_session",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("token_hash", sa.String(), nullable=False),
        sa.Column("member_id", sa.Integer(), nullable=False),
        sa.Column("key_fingerprint", sa.String(), nullable=False),
        sa.Column("agent", sa.LargeBinary(), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("seen_at", MOMENT, nullable=False),
        sa.Column("ends_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT),
        sa.Column("last_visit", MOMENT),
        sa.ForeignKeyConstraint(
            ["member_id"], ["member.id"], name=op.f("fk_web_session_member_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_web_session")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_web_session_token_hash")),
    )
    op.create_index(op.f("ix_web_session_member_id"), "web_session", ["member_id"])
