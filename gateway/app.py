"""What every part of the gateway is handed: settings, database, keys, clock. Built once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from gateway import config as settings
from gateway.config import Config
from gateway.crypto.keyring import Keyring
from gateway.crypto.vault import Vault
from gateway.store import data_key
from gateway.store.database import Database
from gateway.store.web_session import WRITTEN_BY_THE_WEB

Clock = Callable[[], datetime]
KEYRING = "gnupg"


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class App:
    """One gateway's parts. Shared between threads; a forked process builds its own."""

    state: Path
    config: Config
    database: Database
    keyring: Keyring
    clock: Clock

    @cached_property
    def vault(self) -> Vault:
        """Opened on first use: one decryption by gpg-agent for each data key."""
        with self.database.reading() as session:
            sealed = data_key.messages(session)
        return Vault({number: self.keyring.decrypt(one) for number, one in sealed.items()})

    def close(self) -> None:
        self.database.close()


def open_app(state: Path, clock: Clock = utc_now, *, web: bool = False) -> App:
    """The App of an existing state directory. web: for the web archive, through which the database
    takes only what WRITTEN_BY_THE_WEB says. Raises ConfigError where it can't be used."""
    config = settings.load(state)
    url = (config.web.database_url if web else "") or config.database.url
    return App(
        state=state,
        config=config,
        database=Database(url, state, WRITTEN_BY_THE_WEB if web else None),
        keyring=Keyring(state / KEYRING),
        clock=clock,
    )
