"""Collected postings, sent as one mail when a member's day or week is over."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy.orm import Session

from gateway.administration.profiles import next_digest
from gateway.app import App
from gateway.errors import GatewayError, Unavailable
from gateway.notices.language import language
from gateway.notices.links import mailto
from gateway.notices.notice import queue, rendered
from gateway.posting import presenting
from gateway.store import collected, ledger
from gateway.store.mailing_list import MailingList
from gateway.store.member import DeliveryMode, Member, State
from gateway.store.outbox import Delivery
from gateway.upkeep.extracts import Extract, Extracts, Unshown

log = logging.getLogger(__name__)

MOST_POSTINGS = 200
MOST_BYTES = 1 << 20
"""Of text in one digest; what is over goes into another one right away."""
_MOST_ENTRIES = 1000
"""That are looked at for one digest."""
_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class _Item:
    """One posting of a digest. address: of its list."""

    entry_id: int
    letter: str
    title: str
    address: str
    extract: Extract


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be done for one member whose digest was due at `digest_at`.

    dropped: entries of what nobody is shown any more; released: those that go out as copies of
    their own. next_at: when the next one is due; None where others are left for one right away.
    """

    member_id: int
    digest_at: datetime | None
    next_at: datetime | None
    items: tuple[_Item, ...] = ()
    dropped: tuple[int, ...] = ()
    released: tuple[int, ...] = ()


class _Changed(Exception):
    """Somebody did something about a member's entries meanwhile."""


def run(app: App) -> int:
    """Make the digests that are due. How many."""
    extracts = Extracts(app)
    left: set[int] = set()
    made = 0
    while due := _due(app, left):
        for member_id in due:
            try:
                made += _make(app, extracts, member_id)
            except _Changed:
                left.add(member_id)  # the next round sees how it is then
            except Unavailable:
                raise
            except GatewayError as error:
                log.error("no digest for member %d: %s", member_id, error)  # noqa: TRY400
                left.add(member_id)
    return made


def _due(app: App, left: set[int]) -> list[int]:
    """Ids of members whose digest is due, but for those who are left for another round."""
    with app.database.reading() as session:
        found = collected.due(session, app.clock(), _AT_ONCE + len(left))
    return [one for one in found if one not in left]


def _make(app: App, extracts: Extracts, member_id: int) -> bool:
    """One digest of a member, where there is anything for it. Raises _Changed.

    It is put together in a session that only reads. One short transaction then keeps it together
    with what becomes of its entries, so that none is sent twice, and none lost.
    """
    with app.database.reading() as session:
        member = session.get_one(Member, member_id)
        plan = _plan(session, app, extracts, member)
    subject, text = _written(app, member, plan) if plan.items else ("", "")
    with app.database.transaction() as session:
        member = session.get_one(Member, member_id, with_for_update=True)
        if member.digest_at != plan.digest_at or member.delivery is DeliveryMode.EACH:
            raise _Changed
        _settle(session, plan, app.clock())
        if plan.items:
            queue(session, app, member, "digest", subject, text)
            ledger.enter(session, app.clock(), "digest", member=member.id, postings=len(plan.items))
        if plan.next_at is not None:
            member.digest_at = plan.next_at
    return bool(plan.items)


def _plan(session: Session, app: App, extracts: Extracts, member: Member) -> _Plan:
    now = app.clock()
    entries = collected.of(session, member.id, _MOST_ENTRIES)
    regular = next_digest(member.delivery, app, now)
    then = None if len(entries) == _MOST_ENTRIES else regular
    if member.state is not State.ACTIVE:
        dropped = tuple(one.id for one in entries)
        return _Plan(member.id, member.digest_at, then, dropped=dropped)
    if member.digest_at is None:
        # Nobody has said yet when the first one is due.
        due = next_digest(member.delivery, app, entries[0].queued_at) if entries else regular
        if due > now:
            return _Plan(member.id, None, due)
    extracts_of = extracts.of(session, [one.posting_id or 0 for one in entries])
    lists = {one: session.get_one(MailingList, one) for one in {each.list_id for each in entries}}
    items: list[_Item] = []
    withdrawn: list[int] = []
    released: list[int] = []
    room = MOST_BYTES
    for entry in entries:
        found = extracts_of[entry.posting_id or 0]
        if found is Unshown.WITHDRAWN:
            withdrawn.append(entry.id)
        elif found is Unshown.STRICT:
            released.append(entry.id)
        elif items and (found.size > room or len(items) == MOST_POSTINGS):
            then = None
            break
        else:
            room -= found.size
            on = lists[entry.list_id]
            address = on.address(app.config.domain)
            items.append(_Item(entry.id, on.letter, on.title, address, found))
    return _Plan(member.id, member.digest_at, then, tuple(items), tuple(withdrawn), tuple(released))


def _settle(session: Session, plan: _Plan, now: datetime) -> None:
    """What becomes of a plan's entries. Raises _Changed, which takes it all back."""
    sent = [one.entry_id for one in plan.items]
    settled = (
        collected.settle(session, sent, Delivery.SENT, collected.IN_DIGEST, now)
        and collected.settle(session, plan.dropped, Delivery.DROPPED, "not for a digest", now)
        and collected.release(session, plan.member_id, now, plan.released) == len(plan.released)
    )
    if not settled:
        raise _Changed


def _written(app: App, member: Member, plan: _Plan) -> tuple[str, str]:
    to = language(member.language)
    return rendered(app, to, "digest", name=member.name, **_values(app, plan))


def _values(app: App, plan: _Plan) -> dict[str, Any]:
    """What the template shows: by topic, in it by thread, in it the oldest first."""
    ordered = sorted(plan.items, key=lambda one: (one.letter, one.extract.thread_id, one.entry_id))
    return {
        "count": len(ordered),
        "more": plan.next_at is None,
        "topics": [
            {
                "letter": group[0].letter,
                "title": group[0].title,
                "address": group[0].address,
                "threads": [
                    {"subject": thread[0].extract.subject, "postings": _shown(app, thread)}
                    for thread in _grouped(group, lambda one: one.extract.thread_id)
                ],
            }
            for group in _grouped(ordered, lambda one: one.letter)
        ],
    }


def _shown(app: App, thread: Sequence[_Item]) -> list[dict[str, Any]]:
    """Postings with the links that belong to them."""
    domain = app.config.domain
    return [
        {
            "posting": one.extract,
            "archive": f"{app.config.archive_url}{presenting.path(one.extract.label)}",
            "answer": mailto(
                one.address,
                f"Re: [{one.title}] {one.extract.subject}",
                answers=f"{one.extract.token}@{domain}",
            ),
        }
        for one in thread
    ]


def _grouped(items: Sequence[_Item], key: Callable[[_Item], object]) -> list[list[_Item]]:
    return [list(group) for _, group in groupby(items, key=key)]
