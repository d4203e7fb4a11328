"""What is read from the database for monitoring: cheap and bounded, however much is in it.

What was decided is counted from the ledger, and copies from the outbox, by what came since the last
look; nothing old is read again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from gateway.store.ledger import LedgerEntry, LedgerHead
from gateway.store.outbox import Delivery, OutboxEntry

COUNTED_UP_TO: Final = 100_000
"""Entries of one state; so many mean "or more". Each is one step in an index."""
_AT_A_LOOK: Final = 20_000
_FOLLOWED: Final = 1_000
_ENDED_AT_A_LOOK: Final = 20
_SHOWN: Final = (
    Delivery.WAITING, Delivery.COLLECTED, Delivery.LEASED, Delivery.PARKED, Delivery.REFUSED,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Queue:
    """entries: state -> how many, up to COUNTED_UP_TO. overdue: for how long the copy has been due
    that has been due longest."""

    entries: dict[str, int]
    overdue: timedelta


def queue_now(session: Session, now: datetime) -> Queue:
    entries = {}
    for state in _SHOWN:
        some = select(OutboxEntry.id).where(OutboxEntry.state == state).limit(COUNTED_UP_TO)
        entries[str(state)] = session.scalar(select(func.count()).select_from(some.subquery())) or 0
    since = [_first_due(session, now), _first_leased(session)]
    oldest = min((one for one in since if one is not None), default=now)
    return Queue(entries, max(now - oldest, timedelta()))


def _first_due(session: Session, now: datetime) -> datetime | None:
    query = select(OutboxEntry.next_at).where(
        OutboxEntry.state == Delivery.WAITING, OutboxEntry.next_at <= now
    )
    return session.scalar(query.order_by(OutboxEntry.next_at, OutboxEntry.id).limit(1))


def _first_leased(session: Session) -> datetime | None:
    """Those under way are as many as the workers' batches, and in the same index."""
    query = select(OutboxEntry.next_at).where(OutboxEntry.state == Delivery.LEASED)
    return session.scalar(query.order_by(OutboxEntry.next_at, OutboxEntry.id).limit(1))


@dataclass(slots=True)
class Decisions:
    """Decisions in the ledger since this was made, by event and rule ("" for none). Neither is
    anything of a member's."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    _seen: int | None = None

    def look(self, session: Session) -> None:
        if self._seen is None:
            self._seen = session.scalar(select(LedgerHead.sequence)) or 0
            return
        query = select(LedgerEntry.sequence, LedgerEntry.event, LedgerEntry.detail).where(
            LedgerEntry.sequence > self._seen
        )
        for sequence, event, detail in session.execute(
            query.order_by(LedgerEntry.sequence).limit(_AT_A_LOOK)
        ):
            rule = json.loads(detail).get("rule") if '"rule"' in detail else None
            self.counts[event, str(rule or "")] += 1
            self._seen = sequence


@dataclass(slots=True)
class Journeys:
    """Postings on their way: how long it took from the commit that queued the first copy, which the
    250 or the approval waited for, to the last copy's being handed off. took: told the seconds."""

    took: Callable[[float], None]
    queued: int = 0
    _seen: int | None = None
    _under_way: dict[int, None] = field(default_factory=dict)

    def look(self, session: Session) -> None:
        newest = session.scalar(select(func.max(OutboxEntry.id))) or 0
        if self._seen is None or newest - self._seen > 10 * _AT_A_LOOK:
            self._seen = newest  # nobody looked for long: begin anew
        until = min(newest, self._seen + _AT_A_LOOK)
        rows = session.execute(
            select(OutboxEntry.posting_id, func.count())
            .where(OutboxEntry.id > self._seen, OutboxEntry.id <= until)
            .group_by(OutboxEntry.posting_id)
        )
        for posting_id, count in rows:
            self.queued += count
            if posting_id is not None and len(self._under_way) < _FOLLOWED:
                self._under_way[posting_id] = None
        self._seen = until
        ended = 0
        for posting_id in list(self._under_way):
            if ended == _ENDED_AT_A_LOOK:
                break
            if self._ended(session, posting_id):
                ended += 1
                del self._under_way[posting_id]

    def _ended(self, session: Session, posting_id: int) -> bool:
        of = OutboxEntry.posting_id == posting_id
        under_way = OutboxEntry.state.in_((Delivery.WAITING, Delivery.LEASED))
        if session.scalar(select(OutboxEntry.id).where(of, under_way).limit(1)) is not None:
            return False
        first, last = session.execute(
            select(func.min(OutboxEntry.queued_at), func.max(OutboxEntry.finished_at)).where(
                of, _is(Delivery.SENT)
            )
        ).one()
        if first is not None and last is not None:
            self.took(max((last - first).total_seconds(), 0.0))
        return True


def _is(state: Delivery) -> ColumnElement[bool]:
    return OutboxEntry.state == state
