"""The outbox: whose turn it is. What waits already gets its turn with the next lease.

Processes of the previous version know no turn: what they queue is given one when it is due.

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from gateway.db import live

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

IN_TURN = "state IN ('waiting', 'leased') AND turn IS NOT NULL"
LATER = "state = 'waiting' AND turn IS NULL"


def upgrade() -> None:
    live.add_column("outbox", sa.Column("turn", sa.BigInteger(), nullable=True))
    subject = ["posting_id", "list_id", "turn", "id"]
    live.create_index("ix_outbox_turn", "outbox", ["turn", "id"], IN_TURN)
    live.create_index("ix_outbox_subject", "outbox", subject, IN_TURN)
    live.create_index("ix_outbox_later", "outbox", ["next_at", "id"], LATER)
    live.create_index("ix_outbox_notice", "outbox", ["notice_id"], "notice_id IS NOT NULL")
    live.create_index("ix_notice_kind", "notice", ["template", "id"])
