"""A mail to a bounce address: read outside of any transaction, counted in the mail's own."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from sqlalchemy.orm import Session

from gateway.app import App
from gateway.bounces import counting, reading
from gateway.bounces.report import Failure
from gateway.message.envelope import Envelope
from gateway.posting import directory

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Returned:
    """A copy that a server gives back. failure: None where nothing is to be done."""

    entry_id: int
    failure: Failure | None


def read(app: App, envelope: Envelope) -> dict[str, Returned]:
    """Bounce addresses among a mail's recipients -> what is given back. Empty where the mail is no
    server's, or to none of them."""
    found = {one: directory.bounced_entry(app, one) for one in envelope.recipients}
    entries = {one: entry for one, entry in found.items() if entry is not None}
    if not entries or not reading.comes_from_a_server(envelope):
        return {}
    with app.database.reading() as session:
        due = {one for one in entries.values() if counting.may_count(session, app, one)}
    failure = reading.read(envelope.data) if due else None
    if failure is None:
        why = "it is no failure" if due else "it counts no more"
        log.info("bounce of outbox %s: nothing done, %s", sorted(entries.values()), why)
    return {one: Returned(entry, failure if entry in due else None)
            for one, entry in entries.items()}  # fmt: skip


def receive(session: Session, app: App, returned: Returned) -> None:
    """Count it, in the caller's transaction."""
    if returned.failure is not None:
        counting.count(session, app, returned.entry_id, returned.failure)
