"""Profiles, desks, applications, moderation by mail, certificates over time"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    _tables()
    with op.batch_alter_table("member") as table:
        table.add_column(sa.Column("languages", sa.String(), nullable=False, server_default=""))
        table.add_column(
            sa.Column("delivery", sa.String(20), nullable=False, server_default="each")
        )
        table.add_column(sa.Column("none_until", MOMENT))
        table.add_column(
            sa.Column("own_copies", sa.Boolean(), nullable=False, server_default=sa.true())
        )
        table.add_column(sa.Column("digest_at", MOMENT))
        table.add_column(
            sa.Column(
                "suspended_by_country", sa.Boolean(), nullable=False, server_default=sa.false()
            )
        )
        table.create_index(op.f("ix_member_delivery"), ["delivery"])
    with op.batch_alter_table("member_role") as table:
        table.add_column(sa.Column("words", sa.String(), nullable=False, server_default=""))
    with op.batch_alter_table("mailing_list") as table:
        table.add_column(
            sa.Column("audience", sa.String(20), nullable=False, server_default="subscribers")
        )
        table.add_column(sa.Column("parent_id", sa.Integer()))
        table.add_column(
            sa.Column("moderators_needed", sa.Integer(), nullable=False, server_default="1")
        )
        table.create_foreign_key(
            op.f("fk_mailing_list_parent_id"), "mailing_list", ["parent_id"], ["id"]
        )
    with op.batch_alter_table("posting") as table:
        table.add_column(
            sa.Column("standing", sa.String(20), nullable=False, server_default="active")
        )
        table.add_column(
            sa.Column("urgent", sa.Boolean(), nullable=False, server_default=sa.false())
        )
        table.add_column(sa.Column("withdrawn_at", MOMENT))
    with op.batch_alter_table("hold") as table:
        table.add_column(sa.Column("reminded_at", MOMENT))
        table.add_column(sa.Column("escalated_at", MOMENT))
    with op.batch_alter_table("notice") as table:
        table.add_column(
            sa.Column("plain", sa.Boolean(), nullable=False, server_default=sa.false())
        )
        table.add_column(
            sa.Column("regardless", sa.Boolean(), nullable=False, server_default=sa.false())
        )
        table.add_column(sa.Column("enclosed", sa.String(), nullable=False, server_default=""))
        table.add_column(sa.Column("certificate", sa.LargeBinary()))
    with op.batch_alter_table("gateway_key") as table:
        table.add_column(sa.Column("expires_at", MOMENT))
        table.add_column(sa.Column("announced_at", MOMENT))
        table.add_column(sa.Column("announced_to", sa.Integer()))
        table.add_column(sa.Column("warned_days", sa.Integer()))
        table.add_column(sa.Column("told_expired_at", MOMENT))
    with op.batch_alter_table("member_certificate") as table:
        table.add_column(sa.Column("serves_until", MOMENT))
        table.add_column(sa.Column("revoked_at", MOMENT))
        table.add_column(sa.Column("warned_days", sa.Integer()))
        table.add_column(sa.Column("told_expired_at", MOMENT))


def _tables() -> None:
    op.create_table(
        "trust",
        sa.Column("list_id", sa.Integer(), nullable=False),
        sa.Column("member_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["list_id"], ["mailing_list.id"], name=op.f("fk_trust_list_id")),
        sa.ForeignKeyConstraint(["member_id"], ["member.id"], name=op.f("fk_trust_member_id")),
        sa.PrimaryKeyConstraint("list_id", "member_id", name=op.f("pk_trust")),
    )
    op.create_table(
        "approval",
        sa.Column("hold_id", sa.Integer(), nullable=False),
        sa.Column("member_id", sa.Integer(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["hold_id"], ["hold.id"], name=op.f("fk_approval_hold_id")),
        sa.ForeignKeyConstraint(["member_id"], ["member.id"], name=op.f("fk_approval_member_id")),
        sa.PrimaryKeyConstraint("hold_id", "member_id", name=op.f("pk_approval")),
    )
    op.create_table(
        "application",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("member_id", sa.Integer(), nullable=False),
        sa.Column("purpose", sa.String(20), nullable=False),
        sa.Column("step", sa.String(20), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("certificate", sa.LargeBinary(), nullable=False),
        sa.Column("code_hash", sa.String(), nullable=False),
        sa.Column("challenges", sa.Integer(), nullable=False),
        sa.Column("tick_off", sa.String(), nullable=False),
        sa.Column("made_by", sa.Integer()),
        sa.Column("made_at", MOMENT, nullable=False),
        sa.Column("changed_at", MOMENT, nullable=False),
        sa.Column("reminded_at", MOMENT),
        sa.Column("helped_at", MOMENT),
        sa.Column("reported_at", MOMENT),
        sa.Column("decided_by", sa.String()),
        sa.ForeignKeyConstraint(["made_by"], ["member.id"], name=op.f("fk_application_made_by")),
        sa.ForeignKeyConstraint(
            ["member_id"], ["member.id"], name=op.f("fk_application_member_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_application")),
    )
    for column in ("code_hash", "member_id", "step"):
        op.create_index(op.f(f"ix_application_{column}"), "application", [column])
    op.create_table(
        "stranger",
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", name=op.f("pk_stranger")),
    )
    op.create_index(op.f("ix_stranger_at"), "stranger", ["at"])
    op.create_table(
        "request",
        sa.Column("posting_id", sa.Integer(), nullable=False),
        sa.Column("list_id", sa.Integer(), nullable=False),
        sa.Column("opened_at", MOMENT, nullable=False),
        sa.Column("answer_by", MOMENT, nullable=False),
        sa.Column("reminded_at", MOMENT),
        sa.Column("escalated_at", MOMENT),
        sa.Column("closed_at", MOMENT),
        sa.Column("closed_by", sa.Integer()),
        sa.ForeignKeyConstraint(["closed_by"], ["member.id"], name=op.f("fk_request_closed_by")),
        sa.ForeignKeyConstraint(["list_id"], ["mailing_list.id"], name=op.f("fk_request_list_id")),
        sa.ForeignKeyConstraint(["posting_id"], ["posting.id"], name=op.f("fk_request_posting_id")),
        sa.PrimaryKeyConstraint("posting_id", "list_id", name=op.f("pk_request")),
    )
    op.create_index(op.f("ix_request_closed_at"), "request", ["closed_at"])
    op.create_table(
        "command_mail",
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("member_id", sa.Integer(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["member_id"], ["member.id"], name=op.f("fk_command_mail_member_id")
        ),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_command_mail")),
    )
    op.create_index("ix_command_mail_rate", "command_mail", ["member_id", "at"])
    op.create_table(
        "unconfirmed",
        sa.Column("code_hash", sa.String(), nullable=False),
        sa.Column("member_id", sa.Integer(), nullable=False),
        sa.Column("lines", sa.LargeBinary(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["member_id"], ["member.id"], name=op.f("fk_unconfirmed_member_id")
        ),
        sa.PrimaryKeyConstraint("code_hash", name=op.f("pk_unconfirmed")),
    )
