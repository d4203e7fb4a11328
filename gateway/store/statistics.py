"""Counts of what there is: of people, postings and copies, and nothing of what they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import extract, func, select
from sqlalchemy.orm import Session

from gateway.store.hold import Decision, Hold
from gateway.store.mailing_list import MailingList
from gateway.store.member import NOWHERE, Member, State
from gateway.store.outbox import Delivery, OutboxEntry
from gateway.store.posting import Placement, Posting, PostingList, Standing

_UNFINISHED = (
    Delivery.WAITING,
    Delivery.LEASED,
    Delivery.COLLECTED,
    Delivery.PARKED,
    Delivery.REFUSED,
)
_YEAR = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Parked:
    """subject: the posting's number, or the notice's."""

    at: datetime
    subject: str
    address: str
    reason: str


def states(session: Session) -> Sequence[tuple[State, int]]:
    query = select(Member.state, func.count()).where(Member.country != NOWHERE)
    rows = session.execute(query.group_by(Member.state).order_by(Member.state))
    return [(state, count) for state, count in rows]


def countries(session: Session) -> Sequence[tuple[str, int]]:
    """Of active members."""
    query = select(Member.country, func.count()).where(Member.state == State.ACTIVE)
    rows = session.execute(query.group_by(Member.country).order_by(Member.country))
    return [(code, count) for code, count in rows]


def postings(session: Session, now: datetime) -> Sequence[tuple[str, int, int, int]]:
    """(letter, year, month, count) of the postings that each list took within a year, those of an
    older list that were brought in left out."""
    year, month = extract("year", Posting.received_at), extract("month", Posting.received_at)
    rows = session.execute(
        select(MailingList.letter, year, month, func.count())
        .select_from(PostingList)
        .join(Posting)
        .join(MailingList)
        .where(PostingList.placement == Placement.ACCEPTED, Posting.received_at > now - _YEAR)
        .where(Posting.standing != Standing.UNVERIFIED)
        .group_by(MailingList.letter, year, month)
        .order_by(MailingList.letter, year, month)
    )
    return [(letter, int(y), int(m), count) for letter, y, m, count in rows]


def open_holds(session: Session) -> int:
    query = select(func.count()).select_from(Hold).where(Hold.decision == Decision.OPEN)
    return session.scalar(query) or 0


def unfinished(session: Session) -> dict[Delivery, int]:
    """How many copies and notices are in which state, of those that are not over. Along the index,
    so it costs the same however many were sent."""
    query = select(OutboxEntry.state, func.count()).where(OutboxEntry.state.in_(_UNFINISHED))
    rows = session.execute(query.group_by(OutboxEntry.state))
    return {row[0]: row[1] for row in rows}


def parked(session: Session, most: int) -> Sequence[Parked]:
    """The oldest first."""
    rows = session.execute(
        select(OutboxEntry, Member.address)
        .join(Member, Member.id == OutboxEntry.member_id)
        .where(OutboxEntry.state == Delivery.PARKED)
        .order_by(OutboxEntry.next_at, OutboxEntry.id)
        .limit(most)
    )
    return [
        Parked(
            one.queued_at,
            f"notice {one.notice_id}" if one.posting_id is None else str(one.posting_id),
            address,
            one.reason or "",
        )
        for one, address in rows
    ]
