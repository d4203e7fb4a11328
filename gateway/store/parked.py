"""Copies that wait because their reader's certificate does not serve."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import and_, func, select, update
from sqlalchemy.orm import Session

from gateway.store.outbox import Delivery, OutboxEntry

CERTIFICATE_FAULT = "the certificate "
"""How the reason begins of an entry that is parked so; of others an administrator decides."""

_WAITS = and_(
    OutboxEntry.state == Delivery.PARKED, OutboxEntry.reason.startswith(CERTIFICATE_FAULT)
)


def release(session: Session, member_id: int, now: datetime) -> int:
    """Send what waits for a member's certificate, which serves again. How many entries."""
    result = session.execute(
        update(OutboxEntry)
        .where(OutboxEntry.member_id == member_id, _WAITS)
        .values(
            state=Delivery.WAITING, next_at=now, queued_at=now, attempts=0,
            finished_at=None, reason=None,
        )
    )  # fmt: skip
    return int(getattr(result, "rowcount", 0))


def counts(session: Session) -> dict[int, int]:
    """Member id -> how many entries wait so; who is not named has none."""
    query = select(OutboxEntry.member_id, func.count()).where(_WAITS)
    rows = session.execute(query.group_by(OutboxEntry.member_id))
    return {row[0]: row[1] for row in rows}
