"""Members' certificates that expire: warnings before, and after it a plain notice once a week."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session, contains_eager

from gateway.administration import proving
from gateway.administration.certificates import WARNINGS
from gateway.app import App
from gateway.notices.notice import Manner, holders, tell, tell_all
from gateway.store import ledger, mailing_list
from gateway.store.actor import GATEWAY
from gateway.store.certificate import MemberCertificate
from gateway.store.mailing_list import Purpose
from gateway.store.member import Member, Role, State

AGAIN = timedelta(days=7)
_BATCH = 100


def run(app: App) -> int:
    """Warn each active member before their certificate ends, at 30, 14 and 3 days, and tell them
    after it. How many members were told."""
    # The shortest first: who comes with two days left is warned once, and not three times.
    warned = sum(_all(app, partial(_warn, days=days)) for days in WARNINGS)
    return warned + _all(app, _tell_expired)


def _all(app: App, step: Callable[[Session, App], int]) -> int:
    """Do a step until nothing is left for it, in transactions of a hundred certificates each."""
    done = 0
    while True:
        with app.database.transaction() as session:
            count = step(session, app)
        done += count
        if count < _BATCH:
            return done


def _warn(session: Session, app: App, days: int) -> int:
    now = app.clock()
    found = _due(
        session,
        MemberCertificate.serves_until > now,
        MemberCertificate.serves_until <= now + timedelta(days=days),
        or_(MemberCertificate.warned_days.is_(None), MemberCertificate.warned_days > days),
    )
    for one in found:
        one.warned_days = days
        ledger.enter(
            session, now, "expiry-warned", member=one.member_id, days=days, by=GATEWAY.ledger
        )
        tell(
            session, app, one.member, "expiry-warning",
            fingerprint=one.fingerprint, expires_at=one.serves_until,
        )  # fmt: skip
    return len(found)


def _tell_expired(session: Session, app: App) -> int:
    now = app.clock()
    told = MemberCertificate.told_expired_at
    found = _due(
        session,
        MemberCertificate.serves_until <= now,
        or_(told.is_(None), told <= now - AGAIN),
    )
    own = mailing_list.own_key(session, Purpose.COMMAND)
    # Nothing can be encrypted to them, and they may have no key of ours to write with.
    manner = Manner(plain=True, attachments=(proving.attachment("gateway", own.certificate),))
    for one in found:
        first, one.told_expired_at = one.told_expired_at is None, now
        ledger.enter(session, now, "expiry-told", member=one.member_id, by=GATEWAY.ledger)
        tell(
            session, app, one.member, "expired-plain", manner,
            fingerprint=one.fingerprint, expires_at=one.serves_until,
        )  # fmt: skip
        if first:
            _tell_others(session, app, one)
    return len(found)


def _tell_others(session: Session, app: App, certificate: MemberCertificate) -> None:
    """The contact points of the country; where there is no other, the administrators."""
    member = certificate.member
    contacts = _but(member, holders(session, Role.CONTACT_POINT, country=member.country))
    tell_all(
        session, app, contacts or _but(member, holders(session, Role.ADMINISTRATOR)), "expired-of",
        who=member.described, address=member.address, fingerprint=certificate.fingerprint,
        expires_at=certificate.serves_until, country=member.country,
        for_administrators=not contacts,
    )  # fmt: skip


def _but(member: Member, others: list[Member]) -> list[Member]:
    return [one for one in others if one.id != member.id]


def _due(session: Session, *conditions: ColumnElement[bool]) -> list[MemberCertificate]:
    """Certificates of active members, not revoked, locked; those that another round has locked are
    its own to tell of."""
    query = (
        select(MemberCertificate)
        .join(MemberCertificate.member)
        .options(contains_eager(MemberCertificate.member))
        .where(Member.state == State.ACTIVE, MemberCertificate.revoked_at.is_(None), *conditions)
        .order_by(MemberCertificate.id)
        .limit(_BATCH)
        .with_for_update(of=MemberCertificate, skip_locked=True)
    )
    return list(session.scalars(query))
