"""Copies that wait for their reader's digest, and not for a delivery worker."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import and_, exists, or_, select, update
from sqlalchemy.orm import Session

from gateway.store.mailing_list import Audience, Invitation, MailingList
from gateway.store.member import DeliveryMode, Member, State, TickOff
from gateway.store.outbox import Delivery, OutboxEntry
from gateway.store.posting import Placement, PostingList

IN_DIGEST = "in a digest"
"""Reason of an entry that was sent so."""


def due(session: Session, now: datetime, most: int) -> list[int]:
    """Ids of members whose digest falls due, or has no date yet."""
    query = (
        select(Member.id)
        .where(
            Member.delivery.in_((DeliveryMode.DAILY, DeliveryMode.WEEKLY)),
            Member.state.in_((State.ACTIVE, State.SUSPENDED)),
            or_(Member.digest_at.is_(None), Member.digest_at <= now),
        )
        .order_by(Member.digest_at, Member.id)
    )
    return list(session.scalars(query.limit(most)))


def of(session: Session, member_id: int, most: int | None = None) -> list[OutboxEntry]:
    """The oldest first."""
    query = select(OutboxEntry).where(
        OutboxEntry.member_id == member_id, OutboxEntry.state == Delivery.COLLECTED
    )
    return list(session.scalars(query.order_by(OutboxEntry.id).limit(most)))


def settle(
    session: Session, ids: Sequence[int], state: Delivery, reason: str, now: datetime
) -> bool:
    """Note what became of entries. False where one of them is not collected any more: then nothing
    is to be done for them now, and the caller rolls back."""
    result = session.execute(
        update(OutboxEntry)
        .where(OutboxEntry.id.in_(ids), OutboxEntry.state == Delivery.COLLECTED)
        .values(state=state, reason=reason, finished_at=now)
    )
    return int(getattr(result, "rowcount", 0)) == len(ids)


def release(
    session: Session, member_id: int, now: datetime, ids: Collection[int] | None = None
) -> int:
    """Have a member's collected entries, or some of them, sent as copies now. How many."""
    query = update(OutboxEntry).where(
        OutboxEntry.member_id == member_id, OutboxEntry.state == Delivery.COLLECTED
    )
    if ids is not None:
        query = query.where(OutboxEntry.id.in_(ids))
    result = session.execute(query.values(state=Delivery.WAITING, next_at=now, queued_at=now))
    return int(getattr(result, "rowcount", 0))


def drop(session: Session, member_id: int, reason: str, now: datetime) -> None:
    """Give up all that waits for a member's digest."""
    session.execute(
        update(OutboxEntry)
        .where(OutboxEntry.member_id == member_id, OutboxEntry.state == Delivery.COLLECTED)
        .values(state=Delivery.DROPPED, reason=reason, finished_at=now)
    )


def leave(session: Session, member: Member, lists: Collection[int], now: datetime) -> None:
    """Drop what waits for a member's digest from lists that they ticked off; what went to another
    list of theirs as well stays, as that one's."""
    for entry in of(session, member.id):
        if entry.list_id not in lists:
            continue
        other = _other_list(session, entry, member)
        if other is None:
            entry.state, entry.reason, entry.finished_at = Delivery.DROPPED, "ticked off", now
        else:
            entry.list_id = other
    session.flush()


def _other_list(session: Session, entry: OutboxEntry, member: Member) -> int | None:
    """Id of another list that took a posting and that its reader did not tick off."""
    ticked_off = exists().where(TickOff.member_id == member.id, TickOff.list_id == MailingList.id)
    invited = exists().where(
        Invitation.member_id == member.id, Invitation.list_id == MailingList.id
    )
    query = (
        select(MailingList.id)
        .join(PostingList, PostingList.list_id == MailingList.id)
        .where(
            PostingList.posting_id == entry.posting_id,
            PostingList.placement == Placement.ACCEPTED,
            MailingList.audience == Audience.SUBSCRIBERS,
            or_(
                and_(MailingList.by_invitation.is_(True), invited),
                and_(MailingList.by_invitation.is_(False), ~ticked_off),
            ),
        )
    )
    return session.scalar(query.order_by(PostingList.position).limit(1))
