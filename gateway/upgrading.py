"""Upgrading a gateway's state to this version: the schema, and what the version needs in it.

On PostgreSQL processes of the version before may go on meanwhile, on this machine and on others:
the schema is only added to, so they don't notice, and are replaced one after the other.

It may be cut off at any point and run again: the keys are changed first, each change harmless to
make again, and then all rows in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import select

from gateway.administration.lists import (
    Names,
    add_list_desks,
    add_own_desks,
    keep_key,
    list_names,
    service_names,
)
from gateway.app import App, not_served
from gateway.crypto import domain_key
from gateway.errors import UsageError
from gateway.store import certificate as certificates
from gateway.store import ledger, mailing_list, own_key
from gateway.store.actor import OPERATOR
from gateway.store.database import newest_schema, works_with
from gateway.store.mailing_list import Audience, MailingList, Purpose

LIVE_FROM = "0005"
"""The oldest schema whose processes go on while it is upgraded under them."""

Progress = Callable[[str], None]
"""Told each step before it is taken."""


def check(app: App) -> None:
    """Raises UsageError where the state is not of this version."""
    there, wanted = app.database.schema(), newest_schema()
    if there is None:
        raise UsageError("the database is empty: restore it from a backup")
    if there > wanted and not works_with(there):
        raise UsageError(
            f"the database is of a newer version ({there}) than this program ({wanted}): "
            "use the newer one"
        )
    if there < wanted or not _is_whole(app):
        raise UsageError("the database is of an older version: run 'environet upgrade'")
    if not _has_domain_keys(app):
        raise UsageError(
            f"there are no DKIM keys of dkim.selector {app.config.dkim.selector!r} in "
            f"{app.state / domain_key.FOLDER}: copy those that another machine of the gateway has, "
            "or run 'environet upgrade', which makes them"
        )


def upgrade(app: App, progress: Progress) -> bool:
    """Bring a state to this version; the database should have been backed up. False where it is of
    it already. Raises UsageError where the gateway is running and can't go on meanwhile, and as
    `check` does."""
    with _undisturbed(app):
        there = app.database.schema()
        if there is None or there > newest_schema():
            check(app)
        is_whole = there is not None and there >= newest_schema() and _is_whole(app)
        if is_whole and _has_domain_keys(app):
            return False
        progress("DKIM keys")
        domain_key.make(app.state, app.config.dkim.selector)
        if is_whole:
            return True
        progress("database")
        app.database.migrate()
        for fingerprint, names in _serving(app).items():
            for name, local_part in names:
                address = f"{local_part}@{app.config.domain}"
                progress(f"key of {address}")
                app.keyring.add_user_id(fingerprint, name, address)
        progress("desks")
        _add_desks(app, there)
    return True


@contextmanager
def _undisturbed(app: App) -> Iterator[None]:
    """While it lasts nobody else upgrades, and nobody serves who could not go on."""
    if not app.database.is_shared:
        with not_served(app.state):
            yield
        return
    others = app.database.others()
    if others and (app.database.schema() or "") < LIVE_FROM:
        raise UsageError(
            f"{others} others are connected to the database, and too old to go on meanwhile: stop "
            "the gateway on every machine"
        )
    with app.database.alone():
        yield


def _is_whole(app: App) -> bool:
    """Whether the gateway's own desks are there: they are the last to be added."""
    with app.database.reading() as session:
        query = select(MailingList.id).where(MailingList.audience == Audience.ADMINISTRATORS)
        return session.scalar(query.limit(1)) is not None


def _has_domain_keys(app: App) -> bool:
    dkim = app.config.dkim
    return dkim.sign == "no" or domain_key.are_there(app.state, dkim.selector)


def _serving(app: App) -> dict[str, Names]:
    """Fingerprint of each key that is written to -> what it is to stand for."""
    with app.database.reading() as session:
        command = mailing_list.own_key(session, Purpose.COMMAND)
        lists = {
            one.key_fingerprint: list_names(app, one.title, one.local_part)
            for one in mailing_list.all_lists(session)
            if one.closed_at is None
        }
    return {command.fingerprint: service_names(app), **lists}


def _add_desks(app: App, before: str | None) -> None:
    with app.database.transaction() as session:
        for key in own_key.all_keys(session):
            keep_key(session, app, key.fingerprint, key.address, key.purpose)
        certificates.reread(session, app.clock())
        add_own_desks(session)
        for one in mailing_list.all_lists(session):
            add_list_desks(session, one)
        ledger.enter(
            session, app.clock(), "upgraded",
            before=before, to=newest_schema(), by=OPERATOR.ledger,
        )  # fmt: skip
