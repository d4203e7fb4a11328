"""Applications: to join with a certificate, or to go on with another one."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from gateway.errors import UsageError
from gateway.store.database import Base
from gateway.store.member import Member


class Purpose(StrEnum):
    JOIN = "join"
    """A nominated officer's first certificate."""
    REPLACE = "replace"
    """A member's next certificate, sent under the old one's signature."""
    VOUCHED = "vouched"
    """A member's next certificate, the old one lost: a contact point vouches for it."""


class Step(StrEnum):
    """invited -> challenged -> proved -> accepted; or declined."""

    INVITED = "invited"
    """Waits for a certificate."""
    CHALLENGED = "challenged"
    """Waits for the answer to an encrypted challenge, signed by the certificate."""
    PROVED = "proved"
    """Waits for an administrator."""
    ACCEPTED = "accepted"
    DECLINED = "declined"


OPEN_STEPS = (Step.INVITED, Step.CHALLENGED, Step.PROVED)


class Application(Base):
    """One certificate's way to a member.

    fingerprint: the only one that may be offered, "" where the nomination named none. certificate:
    as offered, binary. code_hash: keyed hash of the challenge's code. challenges: sent so far.
    made_by: id of who nominated or vouched; None is the operator, or the member's own signature.
    tick_off: letters, blanks between.
    """

    __tablename__ = "application"

    id: Mapped[int] = mapped_column(primary_key=True)
    member_id: Mapped[int] = mapped_column(ForeignKey("member.id"), index=True)
    purpose: Mapped[Purpose]
    step: Mapped[Step] = mapped_column(index=True)
    fingerprint: Mapped[str] = mapped_column(default="")
    certificate: Mapped[bytes] = mapped_column(default=b"")
    code_hash: Mapped[str] = mapped_column(default="", index=True)
    challenges: Mapped[int] = mapped_column(default=0)
    tick_off: Mapped[str] = mapped_column(default="")
    made_by: Mapped[int | None] = mapped_column(ForeignKey("member.id"))
    made_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    reminded_at: Mapped[datetime | None]
    decided_by: Mapped[str | None]
    member: Mapped[Member] = relationship(foreign_keys=[member_id])

    @property
    def label(self) -> str:
        return f"A-{self.id}"


def get(session: Session, label: str) -> Application:
    """By "A-5" or "5", its row locked. Raises UsageError."""
    number = label.upper().removeprefix("A-")
    found = (
        session.get(Application, int(number), with_for_update={"of": Application})
        if number.isascii() and number.isdigit() and len(number) < 19
        else None
    )
    if found is None:
        raise UsageError("there is no application %(label)s", label=label)
    return found
