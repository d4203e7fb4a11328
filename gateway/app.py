"""What every part of the gateway is handed: settings, database, keys, clock. Built once."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from gateway import config as settings
from gateway.config import Config
from gateway.crypto.keyring import Keyring
from gateway.crypto.vault import Vault
from gateway.errors import UsageError
from gateway.naming.resolver import Names
from gateway.store import data_key, ledger
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

    @cached_property
    def _restored_at(self) -> datetime | None:
        """Looked up once: a restore is done while no process has the App."""
        with self.database.reading() as session:
            found = ledger.newest_of(session, "restored")
            return None if found is None else found.at

    def is_from_before_restore(self, signed_at: datetime) -> bool:
        """Whether what was signed then may have been taken between a backup and its restore, of
        which the gateway knows nothing."""
        return self._restored_at is not None and signed_at <= self._restored_at

    @cached_property
    def names(self) -> Names:
        """The DNS, asked for what is noted of a mail."""
        return Names(self.config.dkim.resolver)

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


@contextmanager
def new_state(state: Path, command: str) -> Iterator[None]:
    """A new state directory (mode 0700), of which nothing is left where the block fails. Raises
    UsageError, which names the command, where something is in it already."""
    if state.exists() and (not state.is_dir() or any(state.iterdir())):
        raise UsageError(f"{state} is not empty; '{command}' wants a new directory")
    was_there = state.exists()
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        state.chmod(0o700)
    except OSError as error:
        raise UsageError(f"{state} can't be made: {error.strerror}") from None
    try:
        yield
    except BaseException:
        shutil.rmtree(state, ignore_errors=True)
        if was_there:
            # It is still there where its parent directory is not ours to change.
            state.mkdir(mode=0o700, exist_ok=True)
        raise


@contextmanager
def not_served(state: Path) -> Iterator[None]:
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
