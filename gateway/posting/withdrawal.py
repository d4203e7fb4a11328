"""Withdrawing a posting: nothing of it is left but that it was there."""

from __future__ import annotations

from typing import Any

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from gateway.app import App
from gateway.errors import UsageError
from gateway.notices.notice import Manner, tell, tell_all
from gateway.posting import moderation
from gateway.store import archive_entry, hold, ledger
from gateway.store import request as requests
from gateway.store.actor import Actor
from gateway.store.hold import Decision, Hold
from gateway.store.member import Member, State
from gateway.store.outbox import Delivery, Notice, OutboxEntry
from gateway.store.posting import Posting

_MAY_HAVE_GOT = (Delivery.SENT, Delivery.LEASED)
"""What is leased may be under way in this moment."""


def withdraw(session: Session, app: App, posting: Posting, by: Actor) -> int:
    """Erase a posting's text and attachments, drop the copies that did not go yet, discard its
    holds, and tell whoever got it. How many were told. Raises UsageError where it was withdrawn
    before."""
    session.refresh(posting, ["withdrawn_at"], with_for_update=True)
    if posting.withdrawn_at is not None:
        raise UsageError(
            "%(label)s was withdrawn already, on %(date)s",
            label=posting.label,
            date=f"{posting.withdrawn_at:%Y-%m-%d}",
        )
    now, readers = app.clock(), _readers(session, posting)
    posting.submission = posting.details = posting.certificate = b""
    posting.withdrawn_at = now
    archive_entry.forget(session, posting.id)
    session.flush()
    dropped = session.execute(
        update(OutboxEntry)
        .where(
            OutboxEntry.posting_id == posting.id,
            OutboxEntry.state.not_in((Delivery.SENT, Delivery.DROPPED)),
        )
        .values(
            state=Delivery.DROPPED,
            lease_owner=None,
            lease_until=None,
            finished_at=now,
            reason="the posting was withdrawn",
        )
    )
    for one in _open_holds(session, posting):
        moderation.decide(session, app, one, Decision.DISCARDED, by)
    for request in requests.of_posting(session, posting.id):
        request.closed_at, request.closed_by = request.closed_at or now, by.member_id
    told = [one for one in readers if one.id not in (by.member_id, posting.author_id)]
    ledger.enter(
        session, now, "withdrawn", posting=posting.label, member=posting.author_id, by=by.ledger,
        dropped=int(getattr(dropped, "rowcount", 0)), told=len(told),
    )  # fmt: skip
    _tell(session, app, posting, told, by)
    return len(told)


def _readers(session: Session, posting: Posting) -> list[Member]:
    """Who has a copy, as a subscriber or with a notice, such as a moderator; suspended members
    too."""
    copies = select(OutboxEntry.member_id).where(
        OutboxEntry.posting_id == posting.id, OutboxEntry.state.in_(_MAY_HAVE_GOT)
    )
    enclosed = (
        select(OutboxEntry.member_id)
        .join(Notice, Notice.id == OutboxEntry.notice_id)
        .where(
            Notice.enclosed != "",
            (" " + Notice.enclosed + " ").contains(f" {posting.id} "),
            OutboxEntry.state.in_(_MAY_HAVE_GOT),
        )
    )
    query = select(Member).where(
        or_(Member.id.in_(copies), Member.id.in_(enclosed)),
        Member.state.in_((State.ACTIVE, State.SUSPENDED)),
    )
    return list(session.scalars(query.order_by(Member.id)))


def _open_holds(session: Session, posting: Posting) -> list[Hold]:
    query = select(Hold.id).where(Hold.posting_id == posting.id, Hold.decision == Decision.OPEN)
    return [hold.get(session, str(one)) for one in session.scalars(query)]


def _tell(session: Session, app: App, posting: Posting, readers: list[Member], by: Actor) -> None:
    by_author = by.member_id == posting.author_id
    values: dict[str, Any] = {
        "label": posting.label,
        "author": posting.author.described,
        "sent_at": posting.received_at,
        "by_author": by_author,
    }
    # Whoever was suspended since has a copy all the same.
    manner = Manner(regardless=True)
    tell_all(session, app, readers, "withdrawn", manner, **values)
    if not by_author:
        tell(session, app, posting.author, "withdrawn-for-author", **values)
