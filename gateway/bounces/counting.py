"""What came back is counted: one bounce a member a day, and a score that fades."""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.app import App
from gateway.bounces import standing
from gateway.bounces.report import Failure
from gateway.settings import BounceSection
from gateway.store import bounce as store
from gateway.store import ledger
from gateway.store.actor import GATEWAY
from gateway.store.bounce import Bounce, Reachability
from gateway.store.member import Member, State
from gateway.store.outbox import OutboxEntry

log = logging.getLogger(__name__)

DAY = timedelta(days=1)
"""So a mail server's bad day counts once, however many copies it gave back."""
OLDEST = timedelta(days=30)
"""A copy that went out longer ago comes back for nothing: mail servers give up after days."""


def may_count(session: Session, app: App, entry_id: int) -> bool:
    """Whether it is worth reading what came back for an outbox entry. Only reads."""
    entry = session.get(OutboxEntry, entry_id)
    if entry is None or _is_old(entry, app.clock()) or session.get(Bounce, entry_id) is not None:
        return False
    row = session.get(Reachability, entry.member_id)
    if row is None or row.probe_id == entry_id:
        return True
    counted_today = app.clock() - row.counted_at < DAY and row.counted >= app.config.bounce.hard
    return row.stopped_at is None and not counted_today


def reserve(session: Session, entry_ids: Collection[int]) -> None:
    """Lock the members whose copies came back, in one order for everybody, before any is counted:
    each also writes to the ledger, and two that wait for each other's would both fail."""
    if entry_ids:
        of_entries = select(OutboxEntry.member_id).where(OutboxEntry.id.in_(entry_ids))
        query = select(Member.id).where(Member.id.in_(of_entries)).order_by(Member.id)
        session.execute(query.with_for_update(key_share=True)).all()


def count(session: Session, app: App, entry_id: int, failure: Failure) -> bool:
    """Count a copy that came back, in the caller's transaction, and do what follows: a probe where
    the limit is reached, and where the probe itself came back, no delivery. Whether it counted."""
    now = app.clock()
    entry = session.get(OutboxEntry, entry_id)
    if entry is None or _is_old(entry, now):
        return False
    # Of bounces that come at once for one member the second waits here, and then sees the first.
    member = session.get_one(Member, entry.member_id, with_for_update={"key_share": True})
    if session.get(Bounce, entry_id) is not None:
        return False
    session.add(
        Bounce(
            entry_id=entry_id, at=now, hard=failure.hard, status=failure.status,
            dialect=failure.dialect,
        )
    )  # fmt: skip
    session.flush()
    if member.state is not State.ACTIVE:
        return False
    row = store.of(session, member.id) or _new(session, member, now)
    is_probe = row.probe_id == entry_id
    added = _added(row, failure, app.config.bounce, now)
    if not is_probe and (row.stopped_at is not None or added <= 0):
        return False
    if added > 0:
        half_life = timedelta(days=app.config.bounce.half_life_days)
        row.score, row.scored_at = row.score_at(now, half_life) + added, now
    row.status = failure.status
    session.flush()
    ledger.enter(
        session, now, "bounced", member=member.id, entry=entry_id, status=failure.status,
        kind="hard" if failure.hard else "soft", dialect=failure.dialect, by=GATEWAY.ledger,
    )  # fmt: skip
    log.info(
        "bounce of outbox %d: %s %s (%s), member %d has %s", entry_id,
        "hard" if failure.hard else "soft", failure.status or "-", failure.dialect, member.id,
        round(row.score, 1),
    )  # fmt: skip
    if is_probe:
        standing.probe_came_back(session, app, row)
    elif row.score >= app.config.bounce.limit and row.probe_id is None:
        standing.probe(session, app, row, member)
    return True


def _added(row: Reachability, failure: Failure, settings: BounceSection, now: datetime) -> float:
    """What a bounce adds to a score: on one day no more than the worst of them."""
    weight = settings.hard if failure.hard else settings.soft
    if now - row.counted_at >= DAY:
        row.counted, row.counted_at = 0.0, now
    added = max(0.0, weight - row.counted)
    row.counted += added
    return added


def _new(session: Session, member: Member, now: datetime) -> Reachability:
    row = Reachability(
        member_id=member.id, score=0.0, scored_at=now, counted=0.0, counted_at=now, status=""
    )
    session.add(row)
    return row


def _is_old(entry: OutboxEntry, now: datetime) -> bool:
    return now - (entry.finished_at or entry.queued_at) > OLDEST
