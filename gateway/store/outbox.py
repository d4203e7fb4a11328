"""The outbox: one entry for every copy that a subscriber must get, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    Connection,
    ForeignKey,
    Index,
    UniqueConstraint,
    bindparam,
    case,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from gateway.errors import UsageError
from gateway.store import audience
from gateway.store.certificate import MemberCertificate
from gateway.store.database import Base
from gateway.store.mailing_list import MailingList
from gateway.store.member import DeliveryMode, Member, State
from gateway.store.posting import Posting


class Delivery(StrEnum):
    """waiting -> leased -> sent; or parked (an administrator decides), refused, dropped; or
    collected for a digest, and dropped when that is made."""

    WAITING = "waiting"
    COLLECTED = "collected"
    LEASED = "leased"
    SENT = "sent"
    PARKED = "parked"
    REFUSED = "refused"
    DROPPED = "dropped"


class Notice(Base):
    """A mail of the gateway's own to one member.

    body: a MIME entity, sealed, and erased once sent; its header has the subject. plain: signed
    only, for who has no key to encrypt to, and without content. regardless: also to who is not
    active. enclosed: ids of the postings that go along, blanks between; they are sealed already.
    certificate: what to encrypt to in place of the member's own: one that is not theirs yet.
    """

    __tablename__ = "notice"

    id: Mapped[int] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(unique=True)
    template: Mapped[str]
    body: Mapped[bytes]
    made_at: Mapped[datetime]
    plain: Mapped[bool] = mapped_column(default=False)
    regardless: Mapped[bool] = mapped_column(default=False)
    enclosed: Mapped[str] = mapped_column(default="")
    certificate: Mapped[bytes | None]


class OutboxEntry(Base):
    """A copy of a posting, or a notice, for one member."""

    __tablename__ = "outbox"
    __table_args__ = (
        UniqueConstraint("posting_id", "member_id"),
        CheckConstraint("(posting_id IS NULL) <> (notice_id IS NULL)", name="one_subject"),
        Index("ix_outbox_due", "state", "next_at", "id"),
        Index("ix_outbox_owner", "lease_owner"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    posting_id: Mapped[int | None] = mapped_column(ForeignKey("posting.id"))
    notice_id: Mapped[int | None] = mapped_column(ForeignKey("notice.id"))
    list_id: Mapped[int | None] = mapped_column(ForeignKey("mailing_list.id"))
    member_id: Mapped[int] = mapped_column(ForeignKey("member.id"), index=True)
    state: Mapped[Delivery]
    queued_at: Mapped[datetime]
    next_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(default=0)
    lease_owner: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    reason: Mapped[str | None]


@dataclass(frozen=True, slots=True)
class Leased:
    """An outbox entry as a worker needs it. attempts: failed so far."""

    id: int
    member_id: int
    attempts: int
    queued_at: datetime


@dataclass(frozen=True, slots=True)
class Lease:
    """Entries of one posting on one list, or one notice, that a worker has for itself."""

    posting_id: int | None
    notice_id: int | None
    list_id: int | None
    entries: tuple[Leased, ...]

    @property
    def subject(self) -> str:
        """What it is about, for a log."""
        return f"notice {self.notice_id}" if self.posting_id is None else str(self.posting_id)


@dataclass(frozen=True, slots=True)
class Reader:
    """Whom a leased entry is for, as they are now. certificate: another value means that it was
    replaced, revoked or changed."""

    member_id: int
    state: State
    certificate: tuple[str | None, datetime | None, datetime | None, int | None]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one leased entry; `next_at` only where it goes back to waiting."""

    id: int
    state: Delivery
    at: datetime
    reason: str | None
    next_at: datetime | None = None


def queue_posting(
    session: Session,
    posting: Posting,
    mailing_list: MailingList,
    now: datetime,
    *,
    at_once: bool = False,
) -> int:
    """An entry for everybody in the list's audience who has none for this posting. How many.

    at_once: also to those who collect, whose entries otherwise wait for their digest. One
    statement, so its cost is the database's.
    """
    queued = exists().where(
        OutboxEntry.posting_id == posting.id, OutboxEntry.member_id == Member.id
    )
    own = or_(Member.id != posting.author_id, Member.own_copies)
    state: ColumnElement[Delivery] = literal(Delivery.WAITING, OutboxEntry.state.type)
    if not (at_once or mailing_list.is_desk):
        collected = literal(Delivery.COLLECTED, OutboxEntry.state.type)
        state = case((Member.delivery == DeliveryMode.EACH, state), else_=collected)
    columns = ["posting_id", "list_id", "member_id", "state", "queued_at", "next_at", "attempts"]
    subscribers = (
        select(
            literal(posting.id),
            literal(mailing_list.id),
            Member.id,
            state,
            literal(now, OutboxEntry.queued_at.type),
            literal(now, OutboxEntry.next_at.type),
            literal(0),
        )
        .where(~queued, own, audience.of_posting(session, posting, mailing_list, now))
        .order_by(Member.id)
    )
    result = session.execute(insert(OutboxEntry).from_select(columns, subscribers))
    return int(getattr(result, "rowcount", 0))


def takes_part(session: Session, desk: MailingList, posting: Posting, member_id: int) -> bool:
    """Whether somebody wrote a posting at a desk, got it, or reads there."""
    got = select(OutboxEntry.id).where(
        OutboxEntry.posting_id == posting.id,
        OutboxEntry.member_id == member_id,
        OutboxEntry.state.not_in((Delivery.DROPPED, Delivery.REFUSED)),
    )
    return (
        posting.author_id == member_id
        or session.scalar(got.limit(1)) is not None
        or member_id in audience.readers(session, desk)
    )


def drop_for(
    session: Session, member_id: int, list_ids: Sequence[int], reason: str, now: datetime
) -> None:
    """Give up what waits for a member who was taken off lists or desks."""
    waits = (Delivery.WAITING, Delivery.COLLECTED, Delivery.PARKED)
    session.execute(
        update(OutboxEntry)
        .where(
            OutboxEntry.member_id == member_id,
            OutboxEntry.list_id.in_(list_ids),
            OutboxEntry.state.in_(waits),
        )
        .values(state=Delivery.DROPPED, reason=reason, finished_at=now)
        .execution_options(synchronize_session=False)
    )


def queue_notice(session: Session, notice: Notice, member_id: int, now: datetime) -> None:
    session.add(notice)
    session.flush()
    session.add(
        OutboxEntry(
            notice_id=notice.id,
            member_id=member_id,
            state=Delivery.WAITING,
            queued_at=now,
            next_at=now,
        )
    )
    session.flush()


def erase_if_sent(session: Session, notice_id: int) -> None:
    """A notice that has reached its reader need not be kept: empty its body."""
    sent = exists().where(OutboxEntry.notice_id == notice_id, OutboxEntry.state == Delivery.SENT)
    session.execute(update(Notice).where(Notice.id == notice_id, sent).values(body=b""))


def lease(
    session: Session, owner: str, now: datetime, duration: timedelta, most: int
) -> Lease | None:
    """Take up to `most` due entries of the posting or notice that has waited longest.

    Each query follows the index on (state, next_at, id), so a lease costs the same however much
    waits behind it.
    """
    session.execute(
        update(OutboxEntry)
        .where(OutboxEntry.state == Delivery.LEASED, OutboxEntry.lease_until <= now)
        .values(state=Delivery.WAITING, lease_owner=None, lease_until=None)
        .execution_options(synchronize_session=False)
    )
    due = (
        select(OutboxEntry)
        .where(OutboxEntry.state == Delivery.WAITING, OutboxEntry.next_at <= now)
        .order_by(OutboxEntry.next_at, OutboxEntry.id)
        .with_for_update(skip_locked=True)
    )
    first = session.scalar(due.limit(1))
    if first is None:
        return None
    same = (
        OutboxEntry.notice_id == first.notice_id,
        OutboxEntry.posting_id == first.posting_id,
        OutboxEntry.list_id == first.list_id,
    )
    entries = tuple(
        Leased(one.id, one.member_id, one.attempts, one.queued_at)
        for one in session.scalars(due.where(*same).limit(most))
    )
    session.execute(
        update(OutboxEntry)
        .where(OutboxEntry.id.in_([one.id for one in entries]))
        .values(state=Delivery.LEASED, lease_owner=owner, lease_until=now + duration)
        .execution_options(synchronize_session=False)
    )
    return Lease(first.posting_id, first.notice_id, first.list_id, entries)


def leased_readers(session: Session, owner: str) -> dict[int, Reader]:
    """Entry id -> its reader, of all that an owner holds."""
    held = MemberCertificate
    rows = session.execute(
        select(
            OutboxEntry.id,
            Member.id,
            Member.state,
            held.fingerprint,
            held.revoked_at,
            held.encrypts_until,
            func.length(held.stripped),
        )
        .join(Member, Member.id == OutboxEntry.member_id)
        .outerjoin(held, held.member_id == Member.id)
        .where(OutboxEntry.lease_owner == owner, OutboxEntry.state == Delivery.LEASED)
    )
    return {row[0]: Reader(row[1], row[2], tuple(row[3:])) for row in rows}


def renew(session: Session, owner: str, until: datetime) -> None:
    """Push back the end of an owner's leases."""
    session.execute(
        update(OutboxEntry)
        .where(OutboxEntry.lease_owner == owner, OutboxEntry.state == Delivery.LEASED)
        .values(lease_until=until)
    )


def release(session: Session, owner: str) -> int:
    """Give back all that an owner holds: at its start after a crash, and at its end. How many."""
    result = session.execute(
        update(OutboxEntry)
        .where(OutboxEntry.lease_owner == owner, OutboxEntry.state == Delivery.LEASED)
        .values(state=Delivery.WAITING, lease_owner=None, lease_until=None)
    )
    return int(getattr(result, "rowcount", 0))


_RECORD = (
    update(OutboxEntry.__table__)  # type: ignore[arg-type]
    .where(
        OutboxEntry.id == bindparam("entry"),
        # Somebody else's by now: their result counts, not this late one.
        OutboxEntry.lease_owner == bindparam("owner"),
    )
    .values(
        state=bindparam("new_state"),
        next_at=func.coalesce(
            bindparam("new_next_at", type_=OutboxEntry.next_at.type), OutboxEntry.next_at
        ),
        attempts=OutboxEntry.attempts + 1,
        lease_owner=None,
        lease_until=None,
        finished_at=bindparam("at"),
        reason=bindparam("why"),
    )
)


def record(connection: Connection, owner: str, results: Sequence[Result]) -> None:
    """Write down what became of leased entries. Run for every few copies, so without a session."""
    connection.execute(
        _RECORD,
        [
            {
                "entry": one.id,
                "owner": owner,
                "new_state": one.state,
                "new_next_at": one.next_at,
                "at": None if one.state is Delivery.WAITING else one.at,
                "why": one.reason,
            }
            for one in results
        ],
    )


def unfinished(session: Session) -> list[tuple[OutboxEntry, str]]:
    """What is waiting, leased, parked or refused, each with the member's address."""
    shown = (Delivery.WAITING, Delivery.LEASED, Delivery.PARKED, Delivery.REFUSED)
    rows = session.execute(
        select(OutboxEntry, Member.address)
        .join(Member)
        .where(OutboxEntry.state.in_(shown))
        .order_by(OutboxEntry.id)
    )
    return [(entry, address) for entry, address in rows]


def totals(session: Session) -> dict[str, int]:
    rows = session.execute(select(OutboxEntry.state, func.count()).group_by(OutboxEntry.state))
    return {str(state): count for state, count in rows}


def get(session: Session, entry_id: int) -> OutboxEntry:
    entry = session.get(OutboxEntry, entry_id, with_for_update=True)
    if entry is None:
        raise UsageError(f"the outbox has no entry {entry_id}; 'environet queue' shows them")
    return entry


def retry(session: Session, entry_id: int, now: datetime) -> OutboxEntry:
    """Try a parked, refused or waiting entry at once, its days counted anew."""
    entry = get(session, entry_id)
    if entry.state not in (Delivery.PARKED, Delivery.REFUSED, Delivery.WAITING):
        raise UsageError(f"entry {entry_id} is {entry.state}; nothing to retry")
    entry.state, entry.next_at, entry.queued_at = Delivery.WAITING, now, now
    entry.attempts, entry.finished_at = 0, None
    return entry


def drop(session: Session, entry_id: int, reason: str, now: datetime) -> OutboxEntry:
    """Give an entry up for good."""
    entry = get(session, entry_id)
    if entry.state not in (Delivery.PARKED, Delivery.REFUSED, Delivery.WAITING):
        raise UsageError(f"entry {entry_id} is {entry.state}; it can't be dropped")
    entry.state, entry.reason, entry.finished_at = Delivery.DROPPED, reason, now
    return entry
