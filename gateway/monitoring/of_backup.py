"""Check of the backups: that they are made, and can be."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from gateway.crypto import file_encryption
from gateway.crypto.certificate import encrypts_until
from gateway.errors import UsageError
from gateway.monitoring.finding import Finding, fault, ok, warning
from gateway.monitoring.scene import Scene
from gateway.store import ledger

_OLD: Final = timedelta(days=2)
_SOON: Final = timedelta(days=30)
_ANOTHER: Final = "name a certificate that serves in backup.certificate: docs/backup.md"


def backup(scene: Scene) -> Iterator[Finding]:
    """That of `environet backup`, by the ledger; where its file is now is not known."""
    now, chosen = scene.clock(), scene.config.backup.certificate
    if not chosen:
        yield warning("none is made: backup.certificate is not set", "set it up: docs/backup.md")
        return
    try:
        until = encrypts_until(file_encryption.recipient(scene.state / chosen, now))
    except UsageError as error:
        yield fault(f"none can be made: {error}", _ANOTHER)
        return
    if until is not None and until < now + _SOON:
        yield warning(f"the certificate {chosen} expires on {until:%Y-%m-%d}", _ANOTHER)
    scene.check_database_is_there()
    with scene.database.reading() as session:
        last = ledger.newest_of(session, "backed-up")
    if last is None:
        yield warning("none was made yet", "make one, and have a timer do it: docs/backup.md")
    elif last.at < now - _OLD:
        yield warning(
            f"the last one was made on {last.at:%Y-%m-%d}", "systemctl status environet-backup"
        )
    else:
        yield ok(f"the last one was made on {last.at:%Y-%m-%d at %H:%M} UTC")
