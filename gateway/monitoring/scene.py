"""A gateway as the checks look at it: from outside, whether it runs or not, changing nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from gateway.app import KEYRING, Clock
from gateway.config import Config
from gateway.crypto.gpg_home import keybox
from gateway.crypto.keyring import Keyring
from gateway.errors import Unavailable
from gateway.store.database import Database

_GPG_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Scene:
    """state: the state directory. database: opened by nothing yet."""

    state: Path
    config: Config
    database: Database
    clock: Clock

    @property
    def database_file(self) -> Path | None:
        """SQLite's; None on PostgreSQL."""
        url = self.database.url
        return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None

    def check_database_is_there(self) -> None:
        """Raises Unavailable: looking into a file that is missing would make it."""
        file = self.database_file
        if file is not None and not file.is_file():
            raise Unavailable(f"the database {file} is missing")

    def keyring(self) -> Keyring:
        """The gateway's keys, with a short time limit. Raises Unavailable where there are none:
        gpg would make an empty keybox, and opening a keyring mends a broken one."""
        home = self.state / KEYRING
        if keybox(home) is None:
            raise Unavailable(f"the keys in {home} are missing")
        return Keyring(home, timeout=_GPG_SECONDS, parallel=1)

    def is_held(self, lock: str) -> bool:
        """Whether a process holds a lock file of the state directory. Asked of the kernel
        (proc_locks(5)): trying to lock it could get in the way of who wants it just now."""
        try:
            found = os.stat(self.state / lock)
        except OSError:
            return False
        device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
        locks = Path("/proc/locks").read_text().splitlines()
        return any(" FLOCK " in line and device in line.split() for line in locks)

    @property
    def served(self) -> bool:
        """Whether `environet serve` runs on this state."""
        return self.is_held("serve.lock")
