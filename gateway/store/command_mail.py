"""Command mails: which were run, so that none is run twice, and which wait for a confirmation."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from gateway.store.database import Base


class CommandMail(Base):
    """A keyed hash of an act of signing commands. Kept for good, as a posting's is."""

    __tablename__ = "command_mail"
    __table_args__ = (Index("ix_command_mail_rate", "member_id", "at"),)

    hash: Mapped[str] = mapped_column(primary_key=True)
    member_id: Mapped[int] = mapped_column(ForeignKey("member.id"))
    at: Mapped[datetime]


class Unconfirmed(Base):
    """Command lines, sealed, of a mail that does not say under its signature that it was meant for
    the gateway: run once their author sends the code."""

    __tablename__ = "unconfirmed"

    code_hash: Mapped[str] = mapped_column(primary_key=True)
    member_id: Mapped[int] = mapped_column(ForeignKey("member.id"))
    lines: Mapped[bytes]
    at: Mapped[datetime]


def is_known(session: Session, hashes: list[str]) -> bool:
    query = select(CommandMail.hash).where(CommandMail.hash.in_(hashes)).limit(1)
    return session.scalar(query) is not None


def remember(session: Session, hashes: list[str], member_id: int, now: datetime) -> None:
    session.add_all(
        CommandMail(hash=one, member_id=member_id, at=now) for one in dict.fromkeys(hashes)
    )
    session.flush()


def count_since(session: Session, member_id: int, since: datetime) -> int:
    query = select(func.count(func.distinct(CommandMail.at))).where(
        CommandMail.member_id == member_id, CommandMail.at > since
    )
    return session.scalar(query) or 0
