"""Applications: to join with a certificate, or to go on with another one."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, and_, func, or_, select
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from gateway.errors import UsageError
from gateway.store.database import Base, locking
from gateway.store.member import Member, State

# As people type it: "A-5", "a5", "5".
_LABEL = re.compile(r"(?:A[ \-–—]{0,3})?(\d{1,9})", re.IGNORECASE | re.ASCII)


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

_STATES = {
    Purpose.JOIN: (State.APPLICANT,),
    # Who is suspended because a key may be in the wrong hands can't have it replaced by that key.
    Purpose.REPLACE: (State.ACTIVE,),
    Purpose.VOUCHED: (State.ACTIVE, State.SUSPENDED),
}
"""The states in which a member can have an application of a purpose."""


class Application(Base):
    """One certificate's way to a member.

    fingerprint: the only one that may be offered, "" where the nomination named none. certificate:
    as offered, binary. code_hash: keyed hash of the challenge's code. challenges: sent so far.
    made_by: id of who nominated or vouched; None is the operator, or the member's own signature.
    tick_off: letters, blanks between. changed_at: when it came to its step; reminded_at: when
    somebody was reminded of it there. helped_at: when the officer was told last that a mail of
    theirs could not be used; reported_at: when the others were told last of something amiss.
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
    helped_at: Mapped[datetime | None]
    reported_at: Mapped[datetime | None]
    decided_by: Mapped[str | None]
    member: Mapped[Member] = relationship(foreign_keys=[member_id])
    nominator: Mapped[Member | None] = relationship(foreign_keys=[made_by])

    @property
    def label(self) -> str:
        return f"A-{self.id}"

    @property
    def is_open(self) -> bool:
        return self.step in OPEN_STEPS

    @property
    def fits(self) -> bool:
        """Whether its member is in a state for it; else it came to nothing."""
        return self.member.state in _STATES[self.purpose]

    def move(self, step: Step, now: datetime) -> None:
        self.step, self.changed_at, self.reminded_at = step, now, None


class Stranger(Base):
    """A certificate of somebody whom nobody nominated, of whom administrators were told."""

    __tablename__ = "stranger"

    fingerprint: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)


def get(session: Session, label: str) -> Application:
    """By "A-5", as people type it ("a5", "5"), its row locked and as it is now. Raises
    UsageError."""
    typed = _LABEL.fullmatch(label.strip())
    found = (
        session.get(
            Application,
            int(typed[1]),
            with_for_update=locking(session, Application),
            populate_existing=True,
        )
        if typed
        else None
    )
    if found is None:
        raise no_such_application(label)
    return found


def no_such_application(label: str) -> UsageError:
    """Said of what there is not and of what is not theirs alike."""
    return UsageError("there is no application %(label)s", label=label)


def open_ones(session: Session, country: str | None = None) -> list[Application]:
    """Those not decided, the oldest first; of one country's people where that is given."""
    query = select(Application).join(Application.member).where(Application.step.in_(OPEN_STEPS))
    if country is not None:
        query = query.where(Member.country == country)
    return list(session.scalars(query.order_by(Application.id)))


def open_of(session: Session, member_id: int) -> list[Application]:
    query = select(Application).where(
        Application.member_id == member_id, Application.step.in_(OPEN_STEPS)
    )
    return list(session.scalars(query.order_by(Application.id)))


def moot(session: Session, most: int) -> list[Application]:
    """Open ones whose member is not in a state for it any more, locked."""
    conditions = [
        and_(Application.purpose == purpose, Member.state.not_in(states))
        for purpose, states in _STATES.items()
    ]
    query = (
        select(Application)
        .join(Application.member)
        .where(Application.step.in_(OPEN_STEPS), or_(*conditions))
        .order_by(Application.id)
        .limit(most)
        .with_for_update(skip_locked=True, of=Application)
    )
    return list(session.scalars(query))


def matching(
    session: Session, addresses: Collection[str], fingerprint: str | None = None
) -> list[Application]:
    """The open ones of people with these addresses, or for a certificate of this fingerprint; the
    rows locked. addresses: normal."""
    named = Member.address.in_(addresses)
    wanted = or_(named, Application.fingerprint == fingerprint) if fingerprint else named
    query = (
        select(Application)
        .join(Application.member)
        .where(Application.step.in_(OPEN_STEPS), wanted)
        .order_by(Application.id)
        .with_for_update(of=Application)
    )
    return [one for one in session.scalars(query) if one.fits]


def challenged(session: Session, code_hashes: Collection[str]) -> Application | None:
    """The one whose challenge had one of these codes, its row locked.

    The hashes are keyed, so how long the database takes to compare them tells nothing of a code.
    """
    query = (
        select(Application)
        .where(Application.code_hash.in_(code_hashes), Application.step == Step.CHALLENGED)
        .with_for_update(of=Application)
    )
    found = session.scalars(query.limit(1)).one_or_none()
    return found if found is not None and found.fits else None


def count_since(
    session: Session,
    since: datetime,
    *,
    made_by: int | None = None,
    member_id: int | None = None,
    purpose: Purpose,
) -> int:
    """How many were made since then: by somebody, or for somebody."""
    query = select(func.count()).where(Application.made_at > since, Application.purpose == purpose)
    if made_by is not None:
        query = query.where(Application.made_by == made_by)
    if member_id is not None:
        query = query.where(Application.member_id == member_id)
    return session.scalar(query) or 0


def note_stranger(
    session: Session, fingerprint: str, now: datetime, since: datetime, most: int
) -> bool:
    """Whether administrators are to be told of a stranger's certificate: once of each, and of no
    more than `most` since then."""
    told = session.scalar(select(func.count()).where(Stranger.at > since)) or 0
    if told >= most or session.get(Stranger, fingerprint) is not None:
        return False
    session.add(Stranger(fingerprint=fingerprint, at=now))
    session.flush()
    return True
