"""Requests for an expert's assistance: followed until they are answered."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, select
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from gateway.store.database import Base
from gateway.store.mailing_list import MailingList
from gateway.store.posting import Posting


class Request(Base):
    """A thread that a member started at a list's experts. answer_by: when it is escalated."""

    __tablename__ = "request"

    posting_id: Mapped[int] = mapped_column(ForeignKey("posting.id"), primary_key=True)
    list_id: Mapped[int] = mapped_column(ForeignKey("mailing_list.id"))
    opened_at: Mapped[datetime]
    answer_by: Mapped[datetime]
    reminded_at: Mapped[datetime | None]
    escalated_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None] = mapped_column(index=True)
    closed_by: Mapped[int | None] = mapped_column(ForeignKey("member.id"))
    posting: Mapped[Posting] = relationship()
    mailing_list: Mapped[MailingList] = relationship(lazy="joined")


def open_requests(session: Session) -> list[Request]:
    """Those not answered, the oldest first."""
    query = select(Request).where(Request.closed_at.is_(None)).order_by(Request.posting_id)
    return list(session.scalars(query))
