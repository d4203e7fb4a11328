"""Founding a gateway: its state directory with settings, database, keys and the seven topics."""

from __future__ import annotations

import shutil
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
from gateway.app import KEYRING, App, Clock, open_app
from gateway.crypto import vault
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
    if state.exists() and (not state.is_dir() or any(state.iterdir())):
        raise UsageError(f"{state} is not empty; 'init' wants a new directory")
    was_there = state.exists()
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        state.chmod(0o700)
    except OSError as error:
        raise UsageError(f"{state} can't be made: {error.strerror}") from None
    keyring: Keyring | None = None
    try:
        (state / settings.FILE).write_text(settings.render(chosen))
        domain = settings.load(state).domain
        progress("TLS certificate")
        make_self_signed(domain, state / CERTIFICATE, state / KEY, now=clock())
        tls = {"smtp.certificate": CERTIFICATE, "smtp.key": KEY}
        (state / settings.FILE).write_text(settings.render(chosen | tls))
        keyring = Keyring.create(state / KEYRING, gnupg_skeleton())
        app = open_app(state, clock)
        progress("database")
        app.database.migrate()
        _fill(app, progress)
    except BaseException:
        if keyring is not None:
            keyring.close()
        shutil.rmtree(state, ignore_errors=True)
        if was_there:
            # It is still there where its parent directory is not ours to change.
            state.mkdir(mode=0o700, exist_ok=True)
        raise
    return app


def steps() -> int:
    """How many times `found` reports progress."""
    return 2 + 2 + len(TOPICS)


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
