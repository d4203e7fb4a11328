"""Applications that wait: for an administrator, or for an officer who does not answer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.administration import joining, proving
from gateway.app import App
from gateway.notices.notice import holders, tell_all
from gateway.store import application as applications
from gateway.store import ledger
from gateway.store.actor import GATEWAY
from gateway.store.application import Application, Purpose, Step
from gateway.store.member import Member, Role, State

DECISION = timedelta(days=1)
"""After which administrators are reminded of a proved key, once."""
ANSWER = timedelta(days=14)
"""After which whoever nominated learns that the officer has not answered, once."""
_BATCH = 100
log = logging.getLogger(__name__)


def run(app: App) -> int:
    """Remind, and close what came to nothing. How many applications were acted on."""
    return sum(_all(app, one) for one in (_close_moot, _remind, _tell_unanswered))


def _all(app: App, step: Callable[[Session, App], int]) -> int:
    """Do a step until nothing is left for it, in transactions of a hundred applications each."""
    done = 0
    while True:
        with app.database.transaction() as session:
            count = step(session, app)
        done += count
        if count < _BATCH:
            return done


def _close_moot(session: Session, app: App) -> int:
    """Those whose member was added, suspended or removed in another way."""
    found = applications.moot(session, _BATCH)
    for one in found:
        joining.close_moot(session, app, one, GATEWAY)
    return len(found)


def _remind(session: Session, app: App) -> int:
    found = _due(session, app.clock(), DECISION, Step.PROVED)
    if found:
        administrators = holders(session, Role.ADMINISTRATOR)
        if not administrators:
            log.warning("%d proved keys wait, and there is no administrator", len(found))
        tell_all(session, app, administrators, "applications-waiting", waiting=found)
    return len(found)


def _tell_unanswered(session: Session, app: App) -> int:
    found = _due(session, app.clock(), ANSWER, Step.INVITED, Step.CHALLENGED)
    for one in found:
        tell_all(
            session, app, _who_asked(session, one), "application-unanswered",
            days=ANSWER.days, **proving.about(one),
        )  # fmt: skip
    return len(found)


def _who_asked(session: Session, found: Application) -> list[Member]:
    if found.purpose is Purpose.REPLACE:
        return [found.member]
    if found.nominator is not None and found.nominator.state is State.ACTIVE:
        return [found.nominator]
    return holders(session, Role.ADMINISTRATOR)


def _due(session: Session, now: datetime, after: timedelta, *steps: Step) -> list[Application]:
    """Those that have waited so long at one of these steps, locked, and noted as told of."""
    query = select(Application).where(
        Application.step.in_(steps),
        Application.reminded_at.is_(None),
        Application.changed_at <= now - after,
    )
    query = query.order_by(Application.id).limit(_BATCH)
    found = list(session.scalars(query.with_for_update(skip_locked=True, of=Application)))
    for one in found:
        one.reminded_at = now
        ledger.enter(session, now, "reminded", application=one.label, by=GATEWAY.ledger)
    return found
