"""The gateway's own keys over time: made good for longer, and replaced.

Nothing here spoils a key: what replaces one is made beside it, and what was encrypted to the old
one is opened for as long as the GnuPG home is kept. Whatever is cut off may be asked for again.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.administration.lists import (
    DAYS_A_YEAR,
    Names,
    archive_names,
    keep_key,
    list_names,
    make_key,
    service_names,
)
from gateway.app import App
from gateway.crypto import certificate as openpgp
from gateway.errors import UsageError
from gateway.store import ledger, mailing_list, own_key
from gateway.store.actor import Actor
from gateway.store.data_key import DataKey
from gateway.store.mailing_list import GatewayKey, MailingList, Purpose

TWICE = timedelta(days=1)
"""A second replacement within this time is the first one asked for again, cut off before its end
was seen."""


def find(session: Session, app: App, name: str) -> GatewayKey:
    """The key in use of an address, or of a list by letter or local part. Raises UsageError."""
    domain = app.config.domain
    local = name.strip("<> ").lower().removesuffix(f"@{domain}")
    found = mailing_list.key_of(session, f"{local}@{domain}", domain)
    keys = own_key.in_use(session)
    if found is None or found not in keys:
        raise UsageError(
            "%(name)s is no address of the gateway that has a key in use; there are %(addresses)s",
            name=name,
            addresses=", ".join(one.address for one in keys),
        )
    return found


def addresses(key: GatewayKey) -> list[str]:
    """All that a key serves, the one it is known by first."""
    user_ids = openpgp.read(key.certificate).user_ids
    found = {one.rpartition("<")[2].rstrip(">") for one in user_ids}
    return [key.address, *sorted(found - {key.address})]


def renewable(session: Session, app: App, years: int) -> list[GatewayKey]:
    """The keys in use that renewing would make good for longer."""
    until = _until(app, years)
    keys = own_key.in_use(session)
    return [one for one in keys if one.expires_at is not None and one.expires_at < until]


def renew(session: Session, app: App, by: Actor, key: GatewayKey, years: int) -> None:
    """Make a key good for some years from now. Raises UsageError."""
    until = _until(app, years)
    if key.expires_at is None:
        raise UsageError("the key of %(address)s never expires", address=key.address)
    if key.expires_at >= until:
        raise UsageError(
            "the key of %(address)s is good until %(date)s already",
            address=key.address,
            date=f"{key.expires_at:%Y-%m-%d}",
        )
    app.keyring.set_expiry(key.fingerprint, until)
    keep_key(session, app, key.fingerprint, key.address, key.purpose)
    key.warned_days = key.told_expired_at = None
    ledger.enter(
        session, app.clock(), "key-renewed",
        address=key.address, key=key.fingerprint, until=f"{until:%Y-%m-%d}", by=by.ledger,
    )  # fmt: skip


def replace(
    session: Session, app: App, by: Actor, old: GatewayKey, *, again: bool = False
) -> GatewayKey:
    """Make a new key for all addresses of an old one; it is in use at once.

    The old one reads what is encrypted to it, and signs nothing any more, but for what `signing`
    says of the one for commands. again: also where it was replaced within the last day. Raises
    UsageError.
    """
    now = app.clock()
    if not again and own_key.former(session, old) and old.created_at > now - TWICE:
        raise UsageError(
            "%(address)s has had a new key since %(moment)s; say 'again' for yet another one",
            address=old.address,
            moment=f"{old.created_at:%Y-%m-%d %H:%M} UTC",
        )
    new = make_key(session, app, old.purpose, _serving(session, app, old))
    query = select(MailingList).where(MailingList.key_fingerprint == old.fingerprint)
    for one in session.scalars(query):
        one.key = new
    if old.purpose is Purpose.ARCHIVE:
        for data_key in session.scalars(select(DataKey)):
            opened = app.keyring.decrypt(data_key.message)
            data_key.message = app.keyring.encrypt_to_self(opened, new.fingerprint)
    ledger.enter(
        session, now, "key-replaced",
        address=old.address, key=old.fingerprint, new=new.fingerprint, by=by.ledger,
    )  # fmt: skip
    session.flush()
    return new


def _serving(session: Session, app: App, key: GatewayKey) -> Names:
    match key.purpose:
        case Purpose.COMMAND:
            return service_names(app)
        case Purpose.ARCHIVE:
            return archive_names(app)
        case Purpose.LIST:
            query = select(MailingList).where(
                MailingList.key_fingerprint == key.fingerprint, MailingList.parent_id.is_(None)
            )
            one = session.scalars(query).one()
            return list_names(app, one.title, one.local_part)


def _until(app: App, years: int) -> datetime:
    """The end of a day: who asks for it twice in a day asks for the same."""
    then = app.clock() + timedelta(days=years * DAYS_A_YEAR)
    return then.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
