"""Telling the members of the gateway's own certificates, some of them in each transaction.

How far it got is kept with the keys, so that it goes on where it was cut off: by whoever asked for
it, or in the next round of upkeep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from gateway.administration.own_keys import addresses
from gateway.administration.proving import attachment
from gateway.app import App
from gateway.errors import UsageError
from gateway.notices.notice import Attachment, Manner, tell
from gateway.store import ledger, own_key
from gateway.store.actor import Actor
from gateway.store.mailing_list import GatewayKey, Purpose
from gateway.store.member import Member, State

BATCH = 50
"""Members who are told in one transaction."""


def all_keys(session: Session) -> list[GatewayKey]:
    """Those in use that anybody encrypts to."""
    return [one for one in own_key.in_use(session) if one.purpose is not Purpose.ARCHIVE]


def begin(session: Session, app: App, by: Actor, keys: Sequence[GatewayKey]) -> None:
    """Have every active member told of these keys, in one mail. Of one that they are being told of
    already they are told no second time. Raises UsageError."""
    now = app.clock()
    for key in keys:
        if key.purpose is Purpose.ARCHIVE:
            raise UsageError(
                "nobody writes to %(address)s, so there is nobody to tell of its key",
                address=key.address,
            )
        if key.announced_to is None:
            key.announced_at, key.announced_to = now, 0
            ledger.enter(
                session, now, "key-announced",
                address=key.address, key=key.fingerprint, by=by.ledger,
            )  # fmt: skip
    session.flush()


def tell_some(app: App) -> int | None:
    """Tell the next members, in a transaction of its own. How many it came past; None once there is
    nothing to tell."""
    with app.database.transaction() as session:
        keys = own_key.underway(session)
        if not keys:
            return None
        query = select(Member).where(Member.state == State.ACTIVE, Member.id > _reached(keys))
        members = list(session.scalars(query.order_by(Member.id).limit(BATCH)))
        news = [_news(session, key) for key in keys]
        signing = own_key.signing(session, app.clock())
        for member in members:
            theirs = [one for one in news if one.invited is None or member.id in one.invited]
            if theirs:
                _tell(session, app, member, theirs, own_key.signing_to(signing, member))
        for key in keys:
            key.announced_to = members[-1].id if len(members) == BATCH else None
    return len(members)


def left(session: Session) -> int:
    """How many members the announcement under way still has before it."""
    keys = own_key.underway(session)
    after = Member.id > _reached(keys)
    query = select(func.count()).where(Member.state == State.ACTIVE, after)
    return session.scalar(query) or 0 if keys else 0


@dataclass(frozen=True, slots=True)
class _News:
    """A key as members are told of it. invited: ids of those who may know of it, None for all."""

    shown: Mapping[str, Any]
    attached: Attachment
    invited: frozenset[int] | None


def _news(session: Session, key: GatewayKey) -> _News:
    former = own_key.former(session, key)
    main, *others = addresses(key)
    shown = {
        "address": main,
        "others": others,
        "fingerprint": key.fingerprint,
        "expires_at": key.expires_at,
        "former": former.fingerprint if former else "",
    }
    attached = attachment(main.partition("@")[0], key.certificate)
    return _News(shown, attached, own_key.invited(session, key))


def _tell(
    session: Session,
    app: App,
    member: Member,
    news: Sequence[_News],
    signers: Sequence[GatewayKey],
) -> None:
    tell(
        session, app, member, "key-announced",
        Manner(attachments=tuple(one.attached for one in news)),
        keys=[one.shown for one in news],
        signers=[one.fingerprint for one in signers],
    )  # fmt: skip


def _reached(keys: Sequence[GatewayKey]) -> int:
    return min((key.announced_to or 0 for key in keys), default=0)
