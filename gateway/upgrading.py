"""Upgrading a gateway's state to this version: the schema, and what the version needs in it.

It may be cut off at any point and run again: the keys are changed first, each change harmless to
make again, and then all rows in one transaction.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import select

from gateway.administration.lists import (
    Names,
    add_list_desks,
    add_own_desks,
    keep_key,
    list_names,
    service_names,
)
from gateway.app import App
from gateway.errors import UsageError
from gateway.store import certificate as certificates
from gateway.store import ledger, mailing_list, own_key
from gateway.store.actor import OPERATOR
from gateway.store.database import newest_schema
from gateway.store.mailing_list import Audience, MailingList, Purpose

Progress = Callable[[str], None]
"""Told each step before it is taken."""


def check(app: App) -> None:
    """Raises UsageError where the state is not of this version."""
    there, wanted = app.database.schema(), newest_schema()
    if there is None:
        raise UsageError("the database is empty: restore it from a backup")
    if there > wanted:
        raise UsageError(
            f"the database is of a newer version ({there}) than this program ({wanted}): "
            "use the newer one"
        )
    if there < wanted or not _is_whole(app):
        raise UsageError("the database is of an older version: run 'environet upgrade'")


def upgrade(app: App, progress: Progress) -> bool:
    """Bring a state to this version; the database should have been backed up. False where it is of
    it already. Raises UsageError where the gateway is running, and as `check` does."""
    there = app.database.schema()
    with _not_served(app.state):
        if there is None or there > newest_schema():
            check(app)
        if there == newest_schema() and _is_whole(app):
            return False
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


def _is_whole(app: App) -> bool:
    """Whether the gateway's own desks are there: they are the last to be added."""
    with app.database.reading() as session:
        query = select(MailingList.id).where(MailingList.audience == Audience.ADMINISTRATORS)
        return session.scalar(query.limit(1)) is not None


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


@contextmanager
def _not_served(state: Path) -> Iterator[None]:
    """While it lasts no `serve` starts. Raises UsageError where one runs."""
    lock = os.open(state / "serve.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError("the gateway is running: stop it first") from None
        yield
    finally:
        os.close(lock)
