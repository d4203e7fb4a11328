"""Holds: postings that wait for a moderator, one hold for each list that holds one."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, select
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from gateway.errors import UsageError
from gateway.store.database import Base
from gateway.store.mailing_list import MailingList
from gateway.store.posting import Placement, Posting, PostingList


class Decision(StrEnum):
    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    DISCARDED = "discarded"


class Hold(Base):
    __tablename__ = "hold"

    id: Mapped[int] = mapped_column(primary_key=True)
    posting_id: Mapped[int] = mapped_column(ForeignKey("posting.id"), index=True)
    list_id: Mapped[int] = mapped_column(ForeignKey("mailing_list.id"))
    rule: Mapped[str]
    held_at: Mapped[datetime]
    decision: Mapped[Decision] = mapped_column(default=Decision.OPEN, index=True)
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[str | None]
    posting: Mapped[Posting] = relationship()
    mailing_list: Mapped[MailingList] = relationship(lazy="joined")

    @property
    def label(self) -> str:
        return f"H-{self.id}"


def place(session: Session, posting: Posting, list_id: int, rule: str, now: datetime) -> Hold:
    hold = Hold(
        posting_id=posting.id, list_id=list_id, rule=rule, held_at=now, decision=Decision.OPEN
    )
    session.add(hold)
    session.flush()
    return hold


def held(session: Session) -> list[Hold]:
    return list(
        session.scalars(select(Hold).where(Hold.decision == Decision.OPEN).order_by(Hold.id))
    )


def get(session: Session, label: str) -> Hold:
    """By "H-17" or "17", its row locked. Raises UsageError."""
    number = label.upper().removeprefix("H-")
    hold = (
        session.get(Hold, int(number), with_for_update={"of": Hold})
        if number.isascii() and number.isdigit() and len(number) < 19
        else None
    )
    if hold is None:
        raise UsageError(f"there is no hold {label!r}; 'environet hold list' shows what is held")
    return hold


def decide(session: Session, hold: Hold, decision: Decision, by: str, now: datetime) -> None:
    """Close an open hold; the first decision stands. Raises UsageError on a later one."""
    if hold.decision is not Decision.OPEN:
        raise UsageError(f"{hold.label} was {hold.decision} already, by {hold.decided_by}")
    hold.decision, hold.decided_by, hold.decided_at = decision, by, now
    placed = session.get_one(PostingList, (hold.posting_id, hold.list_id))
    placed.placement = Placement(
        {Decision.APPROVED: "accepted", Decision.REJECTED: "rejected"}.get(decision, "discarded")
    )
    session.flush()
