"""What members choose for themselves: topics, how postings come, languages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta

from sqlalchemy import delete
from sqlalchemy.orm import Session

from gateway.app import App
from gateway.store import collected, ledger
from gateway.store import member as store
from gateway.store.actor import Actor
from gateway.store.mailing_list import MailingList
from gateway.store.member import DeliveryMode, Member, TickOff

_DAYS_A_WEEK = 7


def tick_off(
    session: Session, app: App, by: Actor, member: Member, lists: Sequence[MailingList]
) -> None:
    """The member gets nothing of these topics any more, from the next posting on, and nothing of
    them in the next digest."""
    store.tick_off(session, member, lists)
    collected.leave(session, member, {one.id for one in lists}, app.clock())
    _enter(session, app, by, member, "ticked-off", lists)


def tick_on(
    session: Session, app: App, by: Actor, member: Member, lists: Sequence[MailingList]
) -> None:
    """The member gets these topics again, from the next posting on."""
    ids = [one.id for one in lists]
    session.execute(delete(TickOff).where(TickOff.member_id == member.id, TickOff.list_id.in_(ids)))
    session.expire(member, ["ticked_off"])
    _enter(session, app, by, member, "ticked-on", lists)


def change_delivery(
    session: Session,
    app: App,
    by: Actor,
    member: Member,
    mode: DeliveryMode,
    none_until: datetime | None = None,
) -> None:
    """How postings come to a member, and whether none do until a moment.

    What waits for a digest is lost in no case: it is sent as copies to who wants each posting as it
    comes, and as a last digest to who wants none for a while.
    """
    now = app.clock()
    member.delivery, member.none_until = mode, none_until
    if mode is DeliveryMode.EACH:
        member.digest_at = None
        collected.release(session, member.id, now)
    else:
        member.digest_at = now if none_until else next_digest(mode, app, now)
    session.flush()
    until = None if none_until is None else none_until.date().isoformat()
    ledger.enter(
        session, now, "delivery-changed",
        member=member.id, mode=str(mode), none_until=until, by=by.ledger,
    )  # fmt: skip


def next_digest(mode: DeliveryMode, app: App, after: datetime) -> datetime:
    """The first moment after another at which digests of a mode are made."""
    first = datetime.combine(after.astimezone(UTC), time(app.config.upkeep.digest_hour), UTC)
    if mode is DeliveryMode.WEEKLY:
        first -= timedelta(days=first.weekday())
    step = timedelta(days=_DAYS_A_WEEK if mode is DeliveryMode.WEEKLY else 1)
    return first if first > after else first + step


def change_own_copies(session: Session, app: App, by: Actor, member: Member, wanted: bool) -> None:
    """Whether a member's own postings come back to them."""
    member.own_copies = wanted
    session.flush()
    ledger.enter(
        session, app.clock(), "own-copies-changed",
        member=member.id, wanted=int(wanted), by=by.ledger,
    )  # fmt: skip


def change_languages(
    session: Session, app: App, by: Actor, member: Member, codes: Sequence[str]
) -> None:
    """ISO 639-1 codes, that of their notices first. Raises UsageError."""
    member.languages = store.checked_languages(" ".join(codes))
    session.flush()
    ledger.enter(
        session, app.clock(), "languages-changed",
        member=member.id, languages=member.languages, by=by.ledger,
    )  # fmt: skip


def change_time_zone(session: Session, app: App, by: Actor, member: Member, name: str) -> None:
    """The zone in which the archive shows them times: an IANA name, "" for their country's."""
    member.time_zone = name
    session.flush()
    ledger.enter(
        session, app.clock(), "time-zone-changed", member=member.id, zone=name, by=by.ledger
    )


def _enter(
    session: Session, app: App, by: Actor, member: Member, event: str, lists: Sequence[MailingList]
) -> None:
    letters = " ".join(one.letter for one in lists)
    ledger.enter(session, app.clock(), event, member=member.id, lists=letters, by=by.ledger)
