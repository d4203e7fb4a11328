"""Copies that wait because their reader's certificate, or their address, does not serve."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, select, update
from sqlalchemy.orm import Session

from gateway.store.outbox import Delivery, OutboxEntry

CERTIFICATE_FAULT = "the certificate "
"""How the reason begins of an entry that is parked so; of others an administrator decides."""

DELIVERY_STOPPED = "delivery is stopped: mails to the address came back"
"""The reason of an entry that waits until its reader's address serves again."""


def _waits(why: str) -> ColumnElement[bool]:
    return and_(OutboxEntry.state == Delivery.PARKED, OutboxEntry.reason.startswith(why))


def release(session: Session, member_id: int, now: datetime, why: str = CERTIFICATE_FAULT) -> int:
    """Send what waits for a member's certificate, or for their address, which serves again. How
    many entries."""
    result = session.execute(
        update(OutboxEntry)
        .where(OutboxEntry.member_id == member_id, _waits(why))
        .values(
            state=Delivery.WAITING, next_at=now, queued_at=now, attempts=0,
            finished_at=None, reason=None,
        )
    )  # fmt: skip
    return int(getattr(result, "rowcount", 0))


def counts(session: Session, why: str = CERTIFICATE_FAULT) -> dict[int, int]:
    """Member id -> how many entries wait so; who is not named has none."""
    query = select(OutboxEntry.member_id, func.count()).where(_waits(why))
    rows = session.execute(query.group_by(OutboxEntry.member_id))
    return {row[0]: row[1] for row in rows}
