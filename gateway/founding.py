"""Founding a gateway: its state directory with settings, database, keys and the seven topics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gateway import config as settings
from gateway.administration.lists import (
    add_list,
    add_own_desks,
    archive_names,
    make_key,
    service_names,
)
from gateway.app import KEYRING, App, Clock, new_state, open_app
from gateway.crypto import domain_key, vault
from gateway.crypto.keyring import Keyring
from gateway.errors import UsageError
from gateway.intake.tls import make_self_signed
from gateway.resources import gnupg_skeleton
from gateway.store import ledger
from gateway.store.data_key import DataKey
from gateway.store.mailing_list import TOPICS, Purpose

CERTIFICATE, KEY = "tls-certificate.pem", "tls-key.pem"

Progress = Callable[[str], None]
"""Told each step before it is taken."""


def found(state: Path, chosen: dict[str, str], clock: Clock, progress: Progress) -> App:
    """Make a new gateway. `chosen`: settings by name, "domain" among them.

    Raises UsageError where something is there already, and leaves nothing behind where it fails.
    """
    keyring: Keyring | None = None
    with new_state(state, "init"):
        try:
            (state / settings.FILE).write_text(settings.render(chosen))
            domain = settings.load(state).domain
            progress("TLS certificate")
            make_self_signed(domain, state / CERTIFICATE, state / KEY, now=clock())
            tls = {"smtp.certificate": CERTIFICATE, "smtp.key": KEY}
            (state / settings.FILE).write_text(settings.render(chosen | tls))
            progress("DKIM keys")
            domain_key.make(state, settings.load(state).dkim.selector)
            keyring = Keyring.create(state / KEYRING, gnupg_skeleton())
            app = open_app(state, clock)
            progress("database")
            _refuse_another(app)
            app.database.migrate()
            _fill(app, progress)
        except BaseException:
            if keyring is not None:
                keyring.close()
            raise
    return app


def steps() -> int:
    """How many times `found` reports progress."""
    return 3 + 2 + len(TOPICS)


def _refuse_another(app: App) -> None:
    if not app.database.is_empty():
        raise UsageError("the database is not empty; 'init' wants a new one")


def _fill(app: App, progress: Progress) -> None:
    domain = app.config.domain
    with app.database.transaction() as session:
        ledger.start(session)
        progress("archive key")
        archive = make_key(session, app, Purpose.ARCHIVE, archive_names(app))
        sealed = app.keyring.encrypt_to_self(vault.new_key(), archive.fingerprint)
        session.add(DataKey(id=1, message=sealed, created_at=app.clock()))
        progress("command key")
        make_key(session, app, Purpose.COMMAND, service_names(app))
        add_own_desks(session)
        for letter, local_part, title, description in TOPICS:
            progress(f"key of {local_part}@{domain}")
            add_list(
                session,
                app,
                letter=letter,
                local_part=local_part,
                title=title,
                description=description,
            )
