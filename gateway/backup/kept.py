"""Which files of the state directory a backup has.

Not the log, the lock files, sockets, Maildirs, and the machine's name, which is for this machine
alone (gateway/delivery/machine.py); nor SQLite's file, of which it has the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gateway.app import KEYRING
from gateway.config import FILE, Config
from gateway.crypto import domain_key, gpg_home


def files(state: Path, config: Config) -> Iterator[tuple[str, bytes]]:
    """(path inside the state directory, content); the settings are the first."""
    yield FILE, (state / FILE).read_bytes()
    named = (config.smtp.certificate, config.smtp.key, config.imap.password_file,
             config.imap.ca_file, config.backup.certificate)  # fmt: skip
    paths = [state / one for one in dict.fromkeys(named) if one]
    paths += sorted((state / domain_key.FOLDER).glob("*.pem"))
    for path in paths:
        # What lies elsewhere is not the gateway's own.
        if path.is_relative_to(state) and path.is_file():
            yield str(path.relative_to(state)), path.read_bytes()
    for name, content in gpg_home.files(state / KEYRING).items():
        yield f"{KEYRING}/{name}", content
