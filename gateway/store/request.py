"""Requests for an expert's assistance: followed until they are answered."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ForeignKey, or_, select
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from gateway.store.database import Base
from gateway.store.mailing_list import MailingList
from gateway.store.member import Member
from gateway.store.posting import Placement, Posting, PostingList


class Request(Base):
    """A thread that a member started at a list's experts. list_id: the experts' desk; answer_by:
    when it is escalated."""

    __tablename__ = "request"

    posting_id: Mapped[int] = mapped_column(ForeignKey("posting.id"), primary_key=True)
    list_id: Mapped[int] = mapped_column(ForeignKey("mailing_list.id"), primary_key=True)
    opened_at: Mapped[datetime]
    answer_by: Mapped[datetime]
    reminded_at: Mapped[datetime | None]
    escalated_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None] = mapped_column(index=True)
    closed_by: Mapped[int | None] = mapped_column(ForeignKey("member.id"))
    posting: Mapped[Posting] = relationship()
    mailing_list: Mapped[MailingList] = relationship(lazy="joined")
    closer: Mapped[Member | None] = relationship()

    @property
    def label(self) -> str:
        return self.posting.label

    @property
    def remind_at(self) -> datetime:
        return self.opened_at + (self.answer_by - self.opened_at) / 2


def open_requests(
    session: Session, *, desks: Collection[int] | None = None, asker: int | None = None
) -> list[Request]:
    """Those not answered, the oldest first. desks, asker: only those at one of these desks, or of
    this member."""
    query = select(Request).join(Posting).where(Request.closed_at.is_(None))
    if desks is not None:
        query = query.where(or_(Request.list_id.in_(desks), Posting.author_id == asker))
    return list(session.scalars(query.order_by(Request.posting_id, Request.list_id)))


def in_thread(session: Session, thread_id: int) -> list[Request]:
    """The requests of a thread, their rows locked."""
    query = select(Request).join(Posting).where(Posting.thread_id == thread_id)
    return list(session.scalars(query.order_by(Request.list_id).with_for_update(of=Request)))


def of_posting(session: Session, posting_id: int) -> list[Request]:
    return list(session.scalars(select(Request).where(Request.posting_id == posting_id)))


def unescalated(session: Session) -> list[Request]:
    """The open ones that time may do something to."""
    query = select(Request).where(Request.closed_at.is_(None), Request.escalated_at.is_(None))
    return list(session.scalars(query))


def locked(session: Session, posting_id: int, list_id: int) -> Request | None:
    """One of them, if it is open still and no other round has it in hand."""
    query = select(Request).where(
        Request.posting_id == posting_id,
        Request.list_id == list_id,
        Request.closed_at.is_(None),
    )
    return session.scalar(query.with_for_update(of=Request, skip_locked=True))


def answerers(session: Session, request: Request) -> list[int]:
    """Ids of those who wrote in its thread besides who asked, one for each posting."""
    asked = request.posting
    query = (
        select(Posting.author_id)
        .join(PostingList)
        .where(
            Posting.thread_id == asked.thread_id,
            Posting.author_id != asked.author_id,
            Posting.withdrawn_at.is_(None),
            PostingList.list_id == request.list_id,
            PostingList.placement == Placement.ACCEPTED,
        )
    )
    return list(session.scalars(query))
