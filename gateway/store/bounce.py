"""Bounces: which copies came back, and how reachable each member is."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import ForeignKey, Index, delete, exists, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from gateway.store.database import Base
from gateway.store.member import Member, State
from gateway.store.outbox import DIGEST, Delivery, Notice, OutboxEntry


class Bounce(Base):
    """A copy that came back: so that it counts once. status: enhanced status code, "" for none."""

    __tablename__ = "bounce"

    entry_id: Mapped[int] = mapped_column(ForeignKey("outbox.id"), primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    hard: Mapped[bool]
    status: Mapped[str]
    dialect: Mapped[str]


class Reachability(Base):
    """A member whose mails came back lately; who has no row is reachable.

    score: as it was at scored_at. counted: what the bounce at counted_at added, of which there is
    one a day. probe_id: the outbox entry of the probe that is under way; probed_at: when the last
    one was made. stopped_at: since when copies for them wait; told_at: when others were told.
    """

    __tablename__ = "reachability"
    __table_args__ = (
        Index("ix_reachability_probe_id", "probe_id"),
        Index("ix_reachability_stopped_at", "stopped_at"),
    )

    member_id: Mapped[int] = mapped_column(ForeignKey("member.id"), primary_key=True)
    score: Mapped[float]
    scored_at: Mapped[datetime]
    counted: Mapped[float]
    counted_at: Mapped[datetime]
    status: Mapped[str]
    probe_id: Mapped[int | None] = mapped_column(ForeignKey("outbox.id"))
    probed_at: Mapped[datetime | None]
    stopped_at: Mapped[datetime | None]
    told_at: Mapped[datetime | None]

    def score_at(self, now: datetime, half_life: timedelta) -> float:
        """What is left of the score: half of it after each half-life."""
        return float(self.score * 0.5 ** (max(now - self.scored_at, timedelta()) / half_life))


def of(session: Session, member_id: int) -> Reachability | None:
    """A member's row, locked; None where no mail of theirs came back lately."""
    return session.get(Reachability, member_id, with_for_update=True)


def stopped_since(session: Session, member_id: int) -> datetime | None:
    query = select(Reachability.stopped_at).where(Reachability.member_id == member_id)
    return session.scalar(query)


def held_back(session: Session, notice: Notice | None, member_ids: Iterable[int]) -> set[int]:
    """Those of some members for whom a posting, or a notice, waits as mails to them came back.

    Only digests of the notices do: what the gateway says by itself is little, and may arrive again.
    """
    if notice is not None and notice.template != DIGEST:
        return set()
    query = select(Reachability.member_id).where(
        Reachability.stopped_at.is_not(None), Reachability.member_id.in_(list(member_ids))
    )
    return set(session.scalars(query))


def all_of(session: Session) -> list[tuple[Reachability, Member]]:
    """Every row with its member, by address; of active and suspended members."""
    rows = session.execute(
        select(Reachability, Member)
        .join(Member, Member.id == Reachability.member_id)
        .where(Member.state.in_((State.ACTIVE, State.SUSPENDED)))
        .order_by(Member.address)
    )
    return [(one, member) for one, member in rows]


def uncounted_refusals(
    session: Session, since: datetime, after: int, most: int
) -> list[OutboxEntry]:
    """Copies that our own mail server refused for good since a moment, and that did not count yet;
    of higher ids than `after`."""
    query = (
        select(OutboxEntry)
        .where(
            OutboxEntry.state == Delivery.REFUSED,
            OutboxEntry.finished_at > since,
            OutboxEntry.id > after,
            ~exists().where(Bounce.entry_id == OutboxEntry.id),
        )
        .order_by(OutboxEntry.id)
        .limit(most)
    )
    return list(session.scalars(query.with_for_update(of=OutboxEntry, skip_locked=True)))


def probes(session: Session) -> list[tuple[Reachability, OutboxEntry]]:
    """Probes under way, each with its outbox entry; rows that another round has locked are its."""
    rows = session.execute(
        select(Reachability, OutboxEntry)
        .join(OutboxEntry, OutboxEntry.id == Reachability.probe_id)
        .order_by(Reachability.member_id)
        .with_for_update(of=Reachability, skip_locked=True)
    )
    return [(row, entry) for row, entry in rows]


def stopped_without_a_probe(session: Session, since: datetime, most: int) -> list[Reachability]:
    """Stopped members whose last probe is older than a moment, locked; at most so many."""
    query = (
        select(Reachability)
        .join(Member, Member.id == Reachability.member_id)
        .where(
            Member.state == State.ACTIVE,
            Reachability.stopped_at.is_not(None),
            Reachability.probe_id.is_(None),
            Reachability.probed_at <= since,
        )
        .order_by(Reachability.member_id)
        .limit(most)
    )
    return list(session.scalars(query.with_for_update(of=Reachability, skip_locked=True)))


def stopped_untold(session: Session) -> list[tuple[Reachability, Member]]:
    """Those whose delivery was stopped since others were last told, locked."""
    rows = session.execute(
        select(Reachability, Member)
        .join(Member, Member.id == Reachability.member_id)
        .where(Reachability.stopped_at.is_not(None), Reachability.told_at.is_(None))
        .order_by(Member.address)
        .with_for_update(of=Reachability, skip_locked=True)
    )
    return [(row, member) for row, member in rows]


def forget(session: Session, before: datetime, faded: datetime) -> None:
    """Drop what came back so long ago that it can't count again, and scores that nothing was added
    to since a moment."""
    session.execute(delete(Bounce).where(Bounce.at < before))
    nothing_left = (
        Reachability.scored_at < faded,
        Reachability.stopped_at.is_(None),
        Reachability.probe_id.is_(None),
    )
    session.execute(
        delete(Reachability).where(*nothing_left).execution_options(synchronize_session=False)
    )
