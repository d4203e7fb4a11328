"""The gateway's own keys over time: in use, replaced and kept for reading, being announced."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.store.mailing_list import GatewayKey, Invitation, MailingList, Purpose, own_key
from gateway.store.member import Member

HANDOVER = timedelta(days=14)
"""For how long after the members were told of a new key for commands the one that they know signs
along with it."""


def all_keys(session: Session) -> list[GatewayKey]:
    """By address, the newest first."""
    query = select(GatewayKey).order_by(GatewayKey.address, GatewayKey.created_at.desc())
    return list(session.scalars(query))


def in_use(session: Session) -> list[GatewayKey]:
    """The key for commands, that of the archive, and each open list's; the others only read what
    was encrypted to them."""
    open_lists = select(MailingList.key_fingerprint).where(MailingList.closed_at.is_(None))
    query = select(GatewayKey).where(
        GatewayKey.purpose == Purpose.LIST, GatewayKey.fingerprint.in_(open_lists)
    )
    lists = session.scalars(query.order_by(GatewayKey.address))
    return [own_key(session, Purpose.COMMAND), own_key(session, Purpose.ARCHIVE), *lists]


def is_any(session: Session, names: Iterable[str]) -> bool:
    """Whether one of those key IDs or fingerprints is of a key of the gateway's."""
    known = session.scalars(select(GatewayKey.key_ids))
    return not set(names).isdisjoint(name for one in known for name in one.split())


def locked(session: Session, fingerprints: Sequence[str]) -> list[GatewayKey]:
    """Those of them that no other round has locked, as they are now."""
    query = select(GatewayKey).where(GatewayKey.fingerprint.in_(fingerprints))
    found = query.order_by(GatewayKey.address).with_for_update(skip_locked=True)
    return list(session.scalars(found.execution_options(populate_existing=True)))


def former(session: Session, key: GatewayKey) -> GatewayKey | None:
    """The one that members know, which a key took the place of: one that they were told of, or the
    first."""
    query = select(GatewayKey).where(
        GatewayKey.purpose == key.purpose,
        GatewayKey.address == key.address,
        GatewayKey.created_at < key.created_at,
    )
    earlier = list(session.scalars(query.order_by(GatewayKey.created_at.desc())))
    told = (one for one in earlier if one.announced_at is not None)
    return next(told, earlier[-1] if earlier else None)


def signing(session: Session, now: datetime) -> list[GatewayKey]:
    """The keys that sign what the gateway itself writes to its members, the newest last.

    A key for commands that took another's place is not known to them until they were told, and had
    the time to read it. Until then the one that they know signs too, while it is good, and first:
    most programs show one signature.
    """
    newest = own_key(session, Purpose.COMMAND)
    known = former(session, newest)
    if (
        known is None
        or (known.expires_at is not None and known.expires_at <= now)
        or (newest.announced_at is not None and newest.announced_at <= now - HANDOVER)
    ):
        return [newest]
    return [known, newest]


def signing_to(keys: list[GatewayKey], reader: Member) -> list[GatewayKey]:
    """Those of them that are for a reader: who joined since knows the newest alone."""
    return keys[-1:] if reader.joined_at >= keys[-1].created_at else keys


def underway(session: Session) -> list[GatewayKey]:
    """The keys that members are being told of in one mail, locked. They are those as far as the one
    that was first: what is announced at once, or in the same mail with commands, begins together.
    """
    query = select(GatewayKey).where(GatewayKey.announced_to.is_not(None))
    ordered = query.order_by(GatewayKey.announced_at, GatewayKey.address).with_for_update()
    keys = list(session.scalars(ordered))
    return [one for one in keys if one.announced_to == keys[0].announced_to]


def invited(session: Session, key: GatewayKey) -> frozenset[int] | None:
    """Ids of the members who may know of a key; None where all may, as of every topic's."""
    query = select(MailingList).where(
        MailingList.key_fingerprint == key.fingerprint, MailingList.by_invitation
    )
    lists = list(session.scalars(query))
    if not lists:
        return None
    ids = [one.id for one in lists]
    members = session.scalars(select(Invitation.member_id).where(Invitation.list_id.in_(ids)))
    return frozenset(members)
