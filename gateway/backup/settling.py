"""What a gateway has to know once it was restored: the world went on since the backup was made.

Written for the tables that are there, for the backup may be of an older schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Table, update
from sqlalchemy.orm import Session

from gateway.backup.form import Header
from gateway.store import ledger
from gateway.store.actor import OPERATOR
from gateway.store.outbox import Delivery

_OF_THE_ARCHIVE = (("web_session", "ended_at"), ("login_request", "used_at"))
_INDEXED = ("archive_entry", "document_version")
_NOBODYS = {"lease_owner": None, "lease_until": None}


def settle(
    session: Session, tables: Mapping[str, Table], header: Header, now: datetime, *, moved: bool
) -> int:
    """Let nothing be done twice that may have been done since, and note it in the ledger. How many
    copies and notices are parked. moved: nothing was done since."""
    if moved:
        parked = 0
        _change(session, tables["outbox"], Delivery.LEASED, {"state": Delivery.WAITING, **_NOBODYS})
    else:
        parked = _park(session, tables["outbox"], header.made_at, now)
        for name, column in _OF_THE_ARCHIVE:
            # A login that was ended since would be good again.
            if name in tables:
                still = tables[name].c[column].is_(None)
                session.execute(update(tables[name]).where(still).values({column: now}))
    for name in _INDEXED:
        if name in tables:
            session.execute(update(tables[name]).values(indexed_at=None))
    event = "moved" if moved else "restored"
    ledger.enter(
        session, now, event,
        made=header.made_at.isoformat(timespec="seconds"), entries=header.entries,
        head=header.head, parked=parked, by=OPERATOR.ledger,
    )  # fmt: skip
    return parked


def _park(session: Session, outbox: Table, made_at: datetime, now: datetime) -> int:
    reason = f"restored from a backup of {made_at:%Y-%m-%d %H:%M} UTC; it may have been sent since"
    values = {"state": Delivery.PARKED, "reason": reason, "finished_at": now, "turn": None}
    states = (Delivery.WAITING, Delivery.LEASED)
    return sum(_change(session, outbox, one, {**values, **_NOBODYS}) for one in states)


def _change(session: Session, outbox: Table, state: Delivery, values: Mapping[str, object]) -> int:
    known = {name: value for name, value in values.items() if name in outbox.c}
    result = session.execute(update(outbox).where(outbox.c.state == state).values(known))
    return int(getattr(result, "rowcount", 0))
