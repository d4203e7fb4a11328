"""How delivery to an address is tried, stopped and resumed."""

from __future__ import annotations

import hmac
import logging
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.app import App
from gateway.errors import UsageError
from gateway.notices.notice import tell
from gateway.store import bounce as store
from gateway.store import ledger, outbox, parked
from gateway.store.actor import GATEWAY, Actor
from gateway.store.bounce import Reachability
from gateway.store.member import Member
from gateway.store.outbox import Notice, OutboxEntry

log = logging.getLogger(__name__)

PROBED_AGAIN_AFTER = timedelta(days=1)
"""A stopped member who writes is probed once a day at most."""


def probe(session: Session, app: App, row: Reachability, member: Member) -> None:
    """Send a notice without content, encrypted, with a bounce address of its own. With the code in
    it the member can say that it arrived."""
    now = app.clock()
    row.probed_at = now
    tell(
        session, app, member, outbox.PROBE,
        stopped=row.stopped_at is not None, code=_code(app, row),
        days=app.config.bounce.probe_days,
    )  # fmt: skip
    newest = (
        select(OutboxEntry.id)
        .join(Notice, Notice.id == OutboxEntry.notice_id)
        .where(OutboxEntry.member_id == member.id, Notice.template == outbox.PROBE)
        .order_by(OutboxEntry.id.desc())
    )
    row.probe_id = session.scalars(newest.limit(1)).one()
    session.flush()
    ledger.enter(session, now, "probed", member=member.id, entry=row.probe_id, by=GATEWAY.ledger)


def probe_came_back(session: Session, app: App, row: Reachability) -> None:
    """Copies for the member wait from now on; others are told in the next round of upkeep."""
    row.probe_id = None
    if row.stopped_at is None:
        row.stopped_at = app.clock()
        log.warning("delivery to member %d is stopped: mails and a probe came back", row.member_id)
        ledger.enter(
            session, app.clock(), "delivery-stopped", member=row.member_id, status=row.status,
            by=GATEWAY.ledger,
        )  # fmt: skip
    session.flush()


def probe_arrived(session: Session, app: App, row: Reachability) -> None:
    """A probe did not come back in time: what the member's mails did before is forgotten."""
    if row.stopped_at is not None:
        _resume(session, app, GATEWAY, row)
    else:
        session.delete(row)
        session.flush()


def heard(session: Session, app: App, member: Member) -> None:
    """A stopped member signed a mail, so they are there; whether mail reaches them a fresh probe
    tells."""
    if store.stopped_since(session, member.id) is None:
        return
    row = store.of(session, member.id)
    if row is None or row.stopped_at is None or row.probe_id is not None:
        return
    if row.probed_at is None or app.clock() - row.probed_at >= PROBED_AGAIN_AFTER:
        probe(session, app, row, member)


def resume(session: Session, app: App, by: Actor, member: Member) -> int:
    """Deliver to a member again, what waits included: how many copies. The score is forgotten.

    Raises UsageError where delivery is not stopped.
    """
    row = store.of(session, member.id)
    if row is None or row.stopped_at is None:
        raise UsageError("delivery to %(address)s is not stopped", address=member.address)
    return _resume(session, app, by, row)


def confirm(session: Session, app: App, by: Actor, member: Member, code: str) -> int:
    """The same by the code of the last probe, which says that this arrived; before delivery was
    stopped too. Raises UsageError where it is another."""
    row = store.of(session, member.id)
    if row is None or row.probed_at is None:
        raise UsageError("nothing is wrong with mails to you: delivery is not stopped")
    if not hmac.compare_digest(_code(app, row).encode(), code.lower().encode("utf-8", "replace")):
        raise UsageError("that is not the code of the last mail that asked for one")
    if row.stopped_at is not None:
        return _resume(session, app, by, row)
    session.delete(row)
    session.flush()
    return 0


def _resume(session: Session, app: App, by: Actor, row: Reachability) -> int:
    copies = parked.release(session, row.member_id, app.clock(), parked.DELIVERY_STOPPED)
    ledger.enter(
        session, app.clock(), "delivery-resumed", member=row.member_id, copies=copies, by=by.ledger
    )
    session.delete(row)
    session.flush()
    return copies


def _code(app: App, row: Reachability) -> str:
    if row.probed_at is None:
        raise AssertionError("no probe was made")
    return app.vault.short_hash("probe", f"{row.member_id} {row.probed_at.timestamp():.3f}")
