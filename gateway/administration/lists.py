"""Lists as they are added and changed, each with its desks and its key."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.administration import telling
from gateway.app import App
from gateway.crypto.certificate import encrypts_until, names, read
from gateway.errors import UsageError
from gateway.store import ledger, mailing_list, outbox
from gateway.store.actor import GATEWAY, Actor
from gateway.store.mailing_list import (
    Audience,
    GatewayKey,
    MailingList,
    Moderation,
    Purpose,
)
from gateway.store.member import Member, State

SERVICES = ("register", "environet", "support", "library")
"""Local parts that share the key of the address for commands."""
_DESKS = (
    (Audience.MODERATORS, "owner", "moderators"),
    (Audience.EXPERTS, "experts", "experts"),
)
"""The desks of each list: audience, ending of the address, what its title ends with."""
_OWN_DESKS = (
    (Audience.ADMINISTRATORS, "environet", "ADM", "Desk", "Access and administration"),
    (Audience.SUPPORT, "support", "SUP", "Support", "Technical and urgent matters"),
)
DAYS_A_YEAR = 365
_LONGEST_DESCRIPTION = 200

Names = Sequence[tuple[str, str]]
"""(name, local part) of each address that a key serves, the first the one it is known by."""


def add_list(
    session: Session,
    app: App,
    *,
    letter: str,
    local_part: str,
    title: str,
    description: str,
    moderation: Moderation = Moderation.OPEN,
    by_invitation: bool = False,
    by: Actor = GATEWAY,
) -> MailingList:
    """A new list with a key of its own and its desks, in the caller's transaction."""
    mailing_list.check_new(session, local_part, letter)
    if not mailing_list.TITLE.fullmatch(title):
        raise UsageError(
            "title '%(title)s': 1 to 40 letters, digits, blanks and hyphens", title=title
        )
    if len(description) > _LONGEST_DESCRIPTION or not description.isprintable():
        raise UsageError(
            "description: one line of at most %(most)s characters", most=_LONGEST_DESCRIPTION
        )
    key = make_key(session, app, Purpose.LIST, list_names(app, title, local_part))
    added = MailingList(
        letter=letter,
        local_part=local_part,
        title=title,
        description=description,
        key_fingerprint=key.fingerprint,
        moderation=moderation,
        by_invitation=by_invitation,
    )
    session.add(added)
    session.flush()
    add_list_desks(session, added)
    ledger.enter(
        session, app.clock(), "list-added", list=local_part, key=key.fingerprint, by=by.ledger
    )
    return added


def add_list_desks(session: Session, of: MailingList) -> None:
    """The list's desks, where they are not there yet."""
    there = set(session.scalars(select(MailingList.audience).where(MailingList.parent_id == of.id)))
    session.add_all(
        MailingList(
            letter=f"{of.letter}-{ending.upper()}",
            local_part=f"{of.local_part}-{ending}",
            title=f"{of.title} {name}",
            description=f"{of.description}: {name}",
            key_fingerprint=of.key_fingerprint,
            moderation=Moderation.OPEN,
            closed_at=of.closed_at,
            audience=audience,
            parent_id=of.id,
        )
        for audience, ending, name in _DESKS
        if audience not in there
    )
    session.flush()


def add_own_desks(session: Session) -> None:
    """The gateway's own desks, where they are not there yet."""
    key = mailing_list.own_key(session, Purpose.COMMAND)
    there = set(
        session.scalars(select(MailingList.audience).where(MailingList.parent_id.is_(None)))
    )
    session.add_all(
        MailingList(
            # A list that an older version added may have it.
            letter=letter if mailing_list.find(session, letter) is None else f"{letter}-DESK",
            local_part=local_part,
            title=title,
            description=description,
            key_fingerprint=key.fingerprint,
            moderation=Moderation.OPEN,
            audience=audience,
        )
        for audience, local_part, letter, title, description in _OWN_DESKS
        if audience not in there
    )
    session.flush()


def list_names(app: App, title: str, local_part: str) -> Names:
    """Whom a list's key stands for: the list, and its desks."""
    name = f"{app.config.name} {title}"
    desks = [(f"{name} {called}", f"{local_part}-{ending}") for _, ending, called in _DESKS]
    return [(name, local_part), *desks]


def service_names(app: App) -> Names:
    """Whom the key for commands stands for."""
    name = app.config.name
    return [(name, "gateway"), *((f"{name} {one}", one) for one in SERVICES)]


def archive_names(app: App) -> Names:
    return [(f"{app.config.name} archive", "archive")]


def make_key(session: Session, app: App, purpose: Purpose, serving: Names) -> GatewayKey:
    """A new key for some of the gateway's own addresses; the first is the one it is known by."""
    domain, now = app.config.domain, app.clock()
    (name, local_part), *others = serving
    address = f"{local_part}@{domain}"
    fingerprint = app.keyring.generate(
        name,
        address,
        # What is archived must open for good.
        None
        if purpose is Purpose.ARCHIVE
        else now + timedelta(days=app.config.upkeep.key_years * DAYS_A_YEAR),
        [(title, f"{local}@{domain}") for title, local in others],
    )
    key = keep_key(session, app, fingerprint, address, purpose)
    ledger.enter(session, now, "key-made", address=address, key=fingerprint, purpose=str(purpose))
    return key


def keep_key(
    session: Session, app: App, fingerprint: str, address: str, purpose: Purpose
) -> GatewayKey:
    """Note the certificate of a key in the keyring as it is now."""
    certificate = app.keyring.export(fingerprint)
    key = session.get(GatewayKey, fingerprint)
    if key is None:
        key = GatewayKey(
            fingerprint=fingerprint, address=address, purpose=purpose, created_at=app.clock()
        )
        session.add(key)
    known = read(certificate)
    key.certificate = certificate
    key.key_ids = " ".join(name for one in known.keys for name in names(one))
    key.expires_at = encrypts_until(known)
    session.flush()
    return key


def change(
    session: Session, app: App, by: Actor, found: MailingList, changes: dict[str, object]
) -> None:
    """Change how a list judges mail: settings by column name."""
    for setting, value in changes.items():
        setattr(found, setting, value)
        ledger.enter(
            session, app.clock(), "list-changed",
            list=found.local_part, setting=setting, value=str(value), by=by.ledger,
        )  # fmt: skip


def invite(
    session: Session, app: App, by: Actor, found: MailingList, member: Member, *, invited: bool
) -> None:
    """Put a member on a list by invitation, or take them off it, and tell them.

    Nothing where it is so already. Raises UsageError.
    """
    if not found.by_invitation:
        raise UsageError("%(list)s is for every member; members tick it off", list=found.local_part)
    if invited and member.state is not State.ACTIVE:
        raise UsageError("%(address)s is no active member", address=member.address)
    if mailing_list.may_post(session, found, member.id) == invited:
        return
    mailing_list.invite(session, found, member.id, invited=invited)
    if not invited:
        family = [found.id, *(one.id for one in mailing_list.desks(session) if one.parent is found)]
        outbox.drop_for(session, member.id, family, "taken off the list", app.clock())
    ledger.enter(
        session, app.clock(), "invited" if invited else "uninvited",
        list=found.local_part, member=member.id, by=by.ledger,
    )  # fmt: skip
    telling.invited(session, app, by, member, found, in_=invited)


def close(session: Session, app: App, by: Actor, found: MailingList) -> None:
    """Close a list and its desks: they take no more mail. Raises UsageError where it is closed."""
    if found.closed_at is not None:
        raise UsageError(
            "%(list)s was closed on %(date)s",
            list=found.local_part,
            date=f"{found.closed_at:%Y-%m-%d}",
        )
    family = select(MailingList).where(
        (MailingList.id == found.id) | (MailingList.parent_id == found.id)
    )
    for one in session.scalars(family):
        one.closed_at = app.clock()
    ledger.enter(session, app.clock(), "list-closed", list=found.local_part, by=by.ledger)
