"""Held postings that nobody decides: moderators are reminded, then administrators told."""

from __future__ import annotations

import logging
from datetime import timedelta

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from gateway.app import App
from gateway.notices.notice import holders
from gateway.posting import moderators, notice
from gateway.store import hold as store
from gateway.store import ledger
from gateway.store.actor import GATEWAY
from gateway.store.hold import Decision, Hold
from gateway.store.member import Member, Role

REMIND_AFTER = timedelta(days=1)
ESCALATE_AFTER = timedelta(days=3)
log = logging.getLogger(__name__)


def run(app: App) -> int:
    """Remind of what was held for a day, and escalate what was for three; of each hold once. How
    many holds."""
    return _remind(app) + _escalate(app)


def _remind(app: App) -> int:
    """Each moderator gets one mail with all that waits for them."""
    now = app.clock()
    with app.database.transaction() as session:
        due = _due(session, Hold.reminded_at.is_(None), Hold.held_at <= now - REMIND_AFTER)
        waiting = store.held(session) if due else []
        asked = {one.id: moderators.asked(session, one) for one in waiting}
        told: dict[int, Member] = {}
        for one in due:
            told |= {member.id: member for member in asked[one.id]}
            one.reminded_at = now
            ledger.enter(session, now, "reminded", hold=one.label, by=GATEWAY.ledger)
        for member in told.values():
            theirs = [one for one in waiting if member in asked[one.id]]
            notice.waiting(session, app, member, theirs, escalated=False)
    return len(due)


def _escalate(app: App) -> int:
    now = app.clock()
    with app.database.transaction() as session:
        due = _due(session, Hold.escalated_at.is_(None), Hold.held_at <= now - ESCALATE_AFTER)
        administrators = holders(session, Role.ADMINISTRATOR) if due else []
        for one in due:
            one.escalated_at = now
            ledger.enter(session, now, "escalated", hold=one.label, by=GATEWAY.ledger)
            if not administrators:
                log.warning("%s waits for three days, and there is no administrator", one.label)
        for member in administrators:
            notice.waiting(session, app, member, due, escalated=True)
    return len(due)


def _due(session: Session, *conditions: ColumnElement[bool]) -> list[Hold]:
    """Open holds, locked; those that another round has locked are its own to act on."""
    query = select(Hold).where(Hold.decision == Decision.OPEN, *conditions).order_by(Hold.id)
    return list(session.scalars(query.with_for_update(of=Hold, skip_locked=True)))
