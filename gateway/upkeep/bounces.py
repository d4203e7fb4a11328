"""Addresses that mails come back from: refusals counted, probes judged, others told of those to
which delivery was stopped."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy.orm import Session

from gateway.app import App
from gateway.bounces import counting, standing
from gateway.bounces import status as codes
from gateway.bounces.report import Failure
from gateway.notices.notice import holders, tell
from gateway.store import bounce as store
from gateway.store.bounce import Reachability
from gateway.store.member import Member, Role
from gateway.store.outbox import Delivery, OutboxEntry

PROBED_EVERY = timedelta(days=7)
"""To who is stopped: a full mailbox is emptied one day, and nobody writes because of it."""
_HALF_LIVES = 10
"""After them a thousandth of a score is left."""
_BATCH = 200
_MOST_NAMED = 100
log = logging.getLogger(__name__)


def run(app: App) -> int:
    """How many refusals counted, probes were judged or made, and stops told of."""
    _forget(app)
    return _count_refusals(app) + _judge_probes(app) + _probe_again(app) + _tell(app)


def _forget(app: App) -> None:
    now = app.clock()
    faded = now - _HALF_LIVES * timedelta(days=app.config.bounce.half_life_days)
    with app.database.transaction() as session:
        store.forget(session, now - 2 * counting.OLDEST, faded)


def _count_refusals(app: App) -> int:
    """A copy that the mail server refused for good is as one that came back."""
    since = app.clock() - counting.OLDEST
    after, done = 0, 0
    while True:
        with app.database.transaction() as session:
            found = store.uncounted_refusals(session, since, after, _BATCH)
            counting.reserve(session, [one.id for one in found])
            for one in found:
                done += counting.count(session, app, one.id, _failure(one))
        if len(found) < _BATCH:
            return done
        after = found[-1].id


def _failure(entry: OutboxEntry) -> Failure:
    said = entry.reason or ""
    status = codes.status_in(said)
    return Failure(codes.is_hard(status, said), status, "handoff")


def _judge_probes(app: App) -> int:
    now, done = app.clock(), 0
    days = timedelta(days=app.config.bounce.probe_days)
    with app.database.transaction() as session:
        for row, entry in store.probes(session):
            if entry.state in (Delivery.PARKED, Delivery.DROPPED):
                row.probe_id = None  # it never went out, and says nothing
            elif entry.state is not Delivery.SENT or (entry.finished_at or now) > now - days:
                continue
            else:
                standing.probe_arrived(session, app, row)
            done += 1
    return done


def _probe_again(app: App) -> int:
    with app.database.transaction() as session:
        found = store.stopped_without_a_probe(session, app.clock() - PROBED_EVERY, _BATCH)
        for row in found:
            standing.probe(session, app, row, session.get_one(Member, row.member_id))
    return len(found)


def _tell(app: App) -> int:
    """The contact points of each country of its members, and the administrators of all, in one mail
    a reader."""
    with app.database.transaction() as session:
        found = store.stopped_untold(session)
        for row, _ in found:
            row.told_at = app.clock()
        for country in {member.country for _, member in found}:
            theirs = [pair for pair in found if pair[1].country == country]
            contacts = holders(session, Role.CONTACT_POINT, country=country)
            _tell_each(session, app, contacts, theirs)
        administrators = holders(session, Role.ADMINISTRATOR) if found else []
        told = [one for one in administrators if not one.has_role(Role.CONTACT_POINT)]
        _tell_each(session, app, told, found)
        for one in administrators:
            if one not in told:
                others = [pair for pair in found if pair[1].country != one.country]
                _tell_each(session, app, [one], others)
    return len(found)


def _tell_each(
    session: Session,
    app: App,
    readers: Sequence[Member],
    stopped: Sequence[tuple[Reachability, Member]],
) -> None:
    for reader in readers:
        others = [(row, member) for row, member in stopped if member.id != reader.id]
        if others:
            tell(
                session, app, reader, "bounce-stopped",
                stopped=[
                    {"who": member.described, "address": member.address, "status": row.status}
                    for row, member in others[:_MOST_NAMED]
                ],
                more=max(0, len(others) - _MOST_NAMED),
            )  # fmt: skip
