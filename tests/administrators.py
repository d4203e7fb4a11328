"""A group's administrators, to whom its backups are encrypted."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.gateway import RunningGateway
from tests.officers import Officer

FILE = "administrators.asc"
"""What backup.certificate names."""


@dataclass(frozen=True, slots=True)
class Administrators:
    """home: their GnuPG home. key: file with their secret key, which has no passphrase."""

    certificate: bytes
    home: Path
    key: Path

    def give(self, gateway: RunningGateway) -> None:
        """Put their certificate where the settings say."""
        (gateway.state / FILE).write_bytes(self.certificate)
        (gateway.state / FILE).chmod(0o600)


@contextmanager
def administrators() -> Iterator[Administrators]:
    with (
        Officer.create("gpg", "Administrators", "administrators@environet.example") as made,
        TemporaryDirectory(prefix="key") as folder,
    ):
        key = Path(folder) / "secret.asc"
        words = ["gpg", "--homedir", str(made.program.home), "--armor", "--export-secret-keys"]
        key.write_bytes(subprocess.run(words, capture_output=True, check=True).stdout)
        yield Administrators(made.certificate, made.program.home, key)
