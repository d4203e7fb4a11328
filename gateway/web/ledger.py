"""For auditors: the ledger, the newest entries first."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from starlette.responses import Response
from starlette.routing import Route

from gateway.command.auditing import READERS
from gateway.store import ledger
from gateway.store.ledger import LedgerEntry
from gateway.web.visit import NotThere, Visit, for_members

MOST_SHOWN = 100
"""Entries of one page."""


@dataclass(frozen=True)
class Entry:
    sequence: int
    at: datetime
    event: str
    detail: tuple[tuple[str, str], ...]
    hash: str


def entries(visit: Visit) -> Response:
    """Some entries, and whether they follow one another up to the head of the chain."""
    if not any(one.role in READERS for one in visit.member.roles):
        raise NotThere
    before = visit.number("before")
    # One more than is shown, so that the last one's place in the chain is seen too.
    found = ledger.before(visit.session, before, MOST_SHOWN + 1)
    head = ledger.head(visit.session)
    sound = ledger.follow(found)
    if before is None:
        newest = (found[0].sequence, found[0].hash) if found else (0, ledger.GENESIS)
        sound = sound and newest == (head.sequence, head.hash)
    shown = found[:MOST_SHOWN]
    visit.enter("ledger-read", newest=shown[0].sequence if shown else 0, count=len(shown))
    older = shown[-1].sequence if len(found) > MOST_SHOWN else None
    return visit.page(
        "ledger", shown=[_entry(one) for one in shown], sound=sound,
        head=head, older=older, first=before is None,
    )  # fmt: skip


def _entry(row: LedgerEntry) -> Entry:
    detail = tuple((name, str(value)) for name, value in json.loads(row.detail).items())
    return Entry(row.sequence, row.at, row.event, detail, row.hash)


ROUTES = (Route("/ledger", for_members(entries)),)
