"""The outbox: one entry for every copy that a subscriber must get, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Index,
    UniqueConstraint,
    case,
    exists,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from gateway.errors import UsageError
from gateway.store import audience
from gateway.store.database import Base
from gateway.store.mailing_list import MailingList
from gateway.store.member import DeliveryMode, Member
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


DIGEST = "digest"
"""The template of the notice that has postings in it."""
PROBE = "bounce-probe"
"""The template of the one notice that may come back: it has a bounce address as copies do."""


class Notice(Base):
    """A mail of the gateway's own to one member.

    body: a MIME entity, sealed, and erased once sent; its header has the subject. plain: signed
    only, for who has no key to encrypt to, and without content. regardless: also to who is not
    active. enclosed: ids of the postings that go along, blanks between; they are sealed already.
    certificate: what to encrypt to in place of the member's own: one that is not theirs yet.
    """

    __tablename__ = "notice"
    __table_args__ = (Index("ix_notice_kind", "template", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(unique=True)
    template: Mapped[str]
    body: Mapped[bytes]
    made_at: Mapped[datetime]
    plain: Mapped[bool] = mapped_column(default=False)
    regardless: Mapped[bool] = mapped_column(default=False)
    enclosed: Mapped[str] = mapped_column(default="")
    certificate: Mapped[bytes | None]


# The conditions of partial indexes: a query follows one where it has these very words.
IN_TURN = "state IN ('waiting', 'leased') AND turn IS NOT NULL"
LATER = "state = 'waiting' AND turn IS NULL"


def _partial(name: str, *columns: str, of: str) -> Index:
    return Index(name, *columns, sqlite_where=text(of), postgresql_where=text(of))


class OutboxEntry(Base):
    """A copy of a posting, or a notice, for one member.

    turn: its place in the queue, the lowest first; None while it is not in it, because it waits for
    next_at or for a digest, or is done with.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        UniqueConstraint("posting_id", "member_id"),
        CheckConstraint("(posting_id IS NULL) <> (notice_id IS NULL)", name="one_subject"),
        Index("ix_outbox_due", "state", "next_at", "id"),
        Index("ix_outbox_owner", "lease_owner"),
        _partial("ix_outbox_turn", "turn", "id", of=IN_TURN),
        _partial("ix_outbox_subject", "posting_id", "list_id", "turn", "id", of=IN_TURN),
        _partial("ix_outbox_later", "next_at", "id", of=LATER),
        _partial("ix_outbox_notice", "notice_id", of="notice_id IS NOT NULL"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    posting_id: Mapped[int | None] = mapped_column(ForeignKey("posting.id"))
    notice_id: Mapped[int | None] = mapped_column(ForeignKey("notice.id"))
    list_id: Mapped[int | None] = mapped_column(ForeignKey("mailing_list.id"))
    member_id: Mapped[int] = mapped_column(ForeignKey("member.id"), index=True)
    state: Mapped[Delivery]
    queued_at: Mapped[datetime]
    next_at: Mapped[datetime]
    turn: Mapped[int | None] = mapped_column(BigInteger)
    attempts: Mapped[int] = mapped_column(default=0)
    lease_owner: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    reason: Mapped[str | None]


def queue_posting(
    session: Session,
    posting: Posting,
    mailing_list: MailingList,
    now: datetime,
    *,
    at_once: bool = False,
) -> int:
    """An entry for everybody in the list's audience who has none for this posting. How many.

    at_once: also to those who collect, whose entries otherwise wait for their digest. Their turns
    begin where the queue stands. One statement, so its cost is the database's.
    """
    queued = exists().where(
        OutboxEntry.posting_id == posting.id, OutboxEntry.member_id == Member.id
    )
    own = or_(Member.id != posting.author_id, Member.own_copies)
    state: ColumnElement[Delivery] = literal(Delivery.WAITING, OutboxEntry.state.type)
    number = func.row_number().over(partition_by=Member.delivery, order_by=Member.id)
    turn: ColumnElement[int | None] = literal(head(session) - 1, OutboxEntry.turn.type) + number
    if not (at_once or mailing_list.is_desk):
        collected = literal(Delivery.COLLECTED, OutboxEntry.state.type)
        state = case((Member.delivery == DeliveryMode.EACH, state), else_=collected)
        turn = case((Member.delivery == DeliveryMode.EACH, turn), else_=null())
    columns = [
        "posting_id", "list_id", "member_id", "state", "queued_at", "next_at", "turn", "attempts"
    ]  # fmt: skip
    subscribers = (
        select(
            literal(posting.id),
            literal(mailing_list.id),
            Member.id,
            state,
            literal(now, OutboxEntry.queued_at.type),
            literal(now, OutboxEntry.next_at.type),
            turn,
            literal(0),
        )
        .where(~queued, own, audience.of_posting(session, posting, mailing_list, now))
        .order_by(Member.id)
    )
    statement = insert(OutboxEntry).from_select(columns, subscribers)
    result = session.execute(statement, execution_options={"preserve_rowcount": True})
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


def head(session: Session) -> int:
    """The turn that the queue has come to, which is where whatever is new begins."""
    first = select(OutboxEntry.turn).where(text(IN_TURN))
    return session.scalar(first.order_by(OutboxEntry.turn, OutboxEntry.id).limit(1)) or 0


def queue_notice(session: Session, notice: Notice, member_id: int, now: datetime) -> None:
    """Notices of one kind take their turns one after the other, as the copies of a posting do: ten
    thousand digests don't stand between an officer and the answer to a command."""
    session.add(notice)
    session.flush()
    before = (
        select(OutboxEntry.turn)
        .join(Notice, Notice.id == OutboxEntry.notice_id)
        .where(Notice.template == notice.template, Notice.id < notice.id)
        .order_by(Notice.id.desc())
    )
    last = session.scalar(before.limit(1))
    start = head(session)
    session.add(
        OutboxEntry(
            notice_id=notice.id,
            member_id=member_id,
            state=Delivery.WAITING,
            queued_at=now,
            next_at=now,
            turn=start if last is None else max(start, last + 1),
        )
    )
    session.flush()


def is_token(session: Session, token: str) -> bool:
    """Whether a notice has it."""
    return session.scalar(select(Notice.id).where(Notice.token == token)) is not None


def erase_if_sent(session: Session, notice_id: int) -> None:
    """A notice that has reached its reader need not be kept: empty its body."""
    sent = exists().where(OutboxEntry.notice_id == notice_id, OutboxEntry.state == Delivery.SENT)
    session.execute(update(Notice).where(Notice.id == notice_id, sent).values(body=b""))


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
    entry.turn = None
    entry.attempts, entry.finished_at = 0, None
    return entry


def drop(session: Session, entry_id: int, reason: str, now: datetime) -> OutboxEntry:
    """Give an entry up for good."""
    entry = get(session, entry_id)
    if entry.state not in (Delivery.PARKED, Delivery.REFUSED, Delivery.WAITING):
        raise UsageError(f"entry {entry_id} is {entry.state}; it can't be dropped")
    entry.state, entry.reason, entry.finished_at = Delivery.DROPPED, reason, now
    return entry
