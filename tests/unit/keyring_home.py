"""A keyring for a test: a GnuPG home on a short path, with one list's key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from gateway.crypto.keyring import Keyring
from gateway.resources import gnupg_skeleton
from tests.programs import gpg

LIST = "wildlife@environet.example"
TEXT = b"Content-Type: text/plain\r\n\r\nTwelve tusks.\r\n"
LIMIT = 1 << 20


@contextmanager
def made() -> Iterator[Keyring]:
    """A keyring with the list's key, on a short path."""
    with TemporaryDirectory(prefix="keyring") as folder:
        one = Keyring.create(Path(folder) / "gnupg", gnupg_skeleton())
        one.generate("ENVIRONET Wildlife", LIST)
        yield one
        one.close()


def encrypted(keyring: Keyring, data: bytes, *options: str) -> bytes:
    """Encrypted to the list by gpg, binary."""
    command = [*options, "--recipient", LIST, "--encrypt"]
    return gpg(keyring.home, *command, data=data)


def fingerprint(keyring: Keyring) -> str:
    """Of the list's key."""
    listing = gpg(keyring.home, "--with-colons", "--list-keys", LIST).decode()
    return next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr"))
