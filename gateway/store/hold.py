"""Holds: postings that wait for a moderator, one hold for each list that holds one."""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, select
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from gateway.errors import UsageError
from gateway.store.database import Base, locking
from gateway.store.mailing_list import MailingList
from gateway.store.member import Member
from gateway.store.posting import Placement, Posting, PostingList

_LABEL = re.compile(r"(?:H[ \-]{0,3})?(\d{1,9})", re.IGNORECASE | re.ASCII)


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
    reminded_at: Mapped[datetime | None]
    escalated_at: Mapped[datetime | None]
    posting: Mapped[Posting] = relationship()
    mailing_list: Mapped[MailingList] = relationship(lazy="joined")
    approvals: Mapped[list[Approval]] = relationship(
        order_by="Approval.at", cascade="all, delete-orphan"
    )

    @property
    def label(self) -> str:
        return f"H-{self.id}"


class Approval(Base):
    """One moderator's approval of a hold; a list may ask for two."""

    __tablename__ = "approval"

    hold_id: Mapped[int] = mapped_column(ForeignKey("hold.id"), primary_key=True)
    member_id: Mapped[int] = mapped_column(ForeignKey("member.id"), primary_key=True)
    at: Mapped[datetime]
    member: Mapped[Member] = relationship()


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
    """By "H-17", as people type it ("h17", "17"), its row locked and as it is now. Raises
    UsageError."""
    typed = _LABEL.fullmatch(label.strip())
    found = (
        session.get(
            Hold, int(typed[1]), with_for_update=locking(session, Hold), populate_existing=True
        )
        if typed
        else None
    )
    if found is None:
        raise no_such_hold(label)
    return found


def no_such_hold(label: str) -> UsageError:
    """Said of what there is not and of what is not theirs alike."""
    return UsageError("there is no hold %(label)s", label=label)


def take_back_approvals(session: Session, posting_id: int) -> None:
    """Of a posting's open holds; one decision that was made stands."""
    query = select(Hold).where(Hold.posting_id == posting_id, Hold.decision == Decision.OPEN)
    # Locked, as `get` does: who approves at the same time is the first again, or was the last.
    for one in session.scalars(query.with_for_update(of=Hold)):
        one.approvals.clear()
    session.flush()


def check_open(hold: Hold) -> None:
    """Raises UsageError where it was decided; the first decision stands."""
    label, by = hold.label, hold.decided_by
    match hold.decision:
        case Decision.APPROVED:
            raise UsageError("%(hold)s was approved already, by %(by)s", hold=label, by=by)
        case Decision.REJECTED:
            raise UsageError("%(hold)s was rejected already, by %(by)s", hold=label, by=by)
        case Decision.DISCARDED:
            raise UsageError("%(hold)s was discarded already, by %(by)s", hold=label, by=by)


def decide(session: Session, hold: Hold, decision: Decision, by: str, now: datetime) -> None:
    """Close an open hold. Raises UsageError where it was decided."""
    check_open(hold)
    hold.decision, hold.decided_by, hold.decided_at = decision, by, now
    placed = session.get_one(PostingList, (hold.posting_id, hold.list_id))
    placed.placement = Placement(
        {Decision.APPROVED: "accepted", Decision.REJECTED: "rejected"}.get(decision, "discarded")
    )
    session.flush()
