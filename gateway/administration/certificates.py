"""Members' certificates over time: what their owners add to them, and what follows from it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from gateway.app import App
from gateway.crypto import certificate as openpgp
from gateway.crypto.certificate import Certificate, is_past
from gateway.crypto.certificate_update import Change, Kind, changes
from gateway.crypto.key_health import Health, health
from gateway.errors import BadCertificate, UsageError
from gateway.message.signed import key_id_of
from gateway.notices.language import N_, Language, language
from gateway.notices.notice import Manner, holders, tell, tell_all
from gateway.store import certificate as store
from gateway.store import ledger, parked
from gateway.store.actor import Actor
from gateway.store.member import Member, Role, State

WARNINGS = (3, 14, 30)
"""Days before a certificate's end at which its owner is warned."""
EXPIRES_SOON = timedelta(days=WARNINGS[-1])
_MOST_SHOWN = 20
_WORDS = {
    (Kind.REVOKED, False): N_("The whole key is revoked, for good."),
    (Kind.EXPIRY, False): N_("The key %(key)s does not expire any more."),
    (Kind.EXPIRY, True): N_("The key %(key)s expires on %(date)s now."),
    (Kind.USE, False): N_("What the key %(key)s may be used for has changed."),
    (Kind.SUBKEY_ADDED, False): N_("The key %(key)s is new."),
    (Kind.SUBKEY_ADDED, True): N_("The key %(key)s is new, and expires on %(date)s."),
    (Kind.SUBKEY_REVOKED, False): N_("The key %(key)s is revoked."),
    (Kind.USER_ID_ADDED, False): N_("New user ID: %(user_id)s"),
    (Kind.USER_ID_REMOVED, False): N_("User ID no longer in it: %(user_id)s"),
}
"""Kind of change, and whether it has a date -> msgid."""
log = logging.getLogger(__name__)


def update(session: Session, app: App, member: Member, brought: Certificate, by: Actor) -> None:
    """Merge into a member's certificate what its owner added to it, and tell whom it concerns.

    brought: another copy of it. Nothing happens where it adds nothing, or where the member has
    another certificate by now. by: the member, or the gateway for a revocation in a mail of
    nobody's.
    """
    now = app.clock()
    held = store.locked(session, member.id)
    if held is None:
        return
    try:
        before = openpgp.read(held.data)
        after = openpgp.merge(before, brought.data)
    except BadCertificate:
        return
    if after.data == before.data:
        return
    try:
        store.refresh(session, held, after, now)
    except UsageError as error:
        log.warning("member %d: %s", member.id, error)
        ledger.enter(session, now, "key-update-refused", member=member.id, by=by.ledger)
        return
    changed = changes(before, after)
    ledger.enter(
        session, now, "key-updated", member=member.id, key=after.fingerprint,
        what=" ".join(dict.fromkeys(one.kind for one in changed)), by=by.ledger,
    )  # fmt: skip
    standing = health(after, now)
    waiting = resume(session, app, member)
    if _given_up(standing, now) and not _given_up(health(before, now), now):
        _tell_given_up(session, app, member, after)
    elif changed:
        to = language(member.language)
        tell(
            session, app, member, "key-updated",
            Manner(regardless=True, plain=not standing.encrypts),
            fingerprint=after.fingerprint, changes=described(to, changed), waiting=waiting,
            expires_at=standing.expires_at, expired=is_past(standing.expires_at, now),
        )  # fmt: skip


def resume(session: Session, app: App, member: Member) -> int:
    """Send what waits for a member's certificate, where that serves. How many mails."""
    held = store.of(session, member)
    if (
        held is None
        or member.state is not State.ACTIVE
        or held.revoked_at is not None
        or is_past(held.encrypts_until, app.clock())
    ):
        return 0
    return parked.release(session, member.id, app.clock())


def described(to: Language, changed: Sequence[Change]) -> list[str]:
    """Changes as their owner reads them, a sentence each."""
    lines = [_line(to, one) for one in changed[:_MOST_SHOWN]]
    if len(changed) > _MOST_SHOWN:
        lines.append(to.say("There are %(count)s more.", count=len(changed) - _MOST_SHOWN))
    return lines


def _line(to: Language, one: Change) -> str:
    date = "" if one.new is None else to.date(one.new)
    values = {"key": key_id_of(one.subject), "user_id": one.subject, "date": date}
    return to.say(_WORDS[one.kind, one.new is not None], **values)


def _given_up(found: Health, now: datetime) -> bool:
    """Whether its owner took it out of use; of one that has expired upkeep tells."""
    return not (found.signs and found.encrypts) and not is_past(found.expires_at, now)


def _tell_given_up(session: Session, app: App, member: Member, after: Certificate) -> None:
    contacts = [one for one in holders(session, Role.CONTACT_POINT, country=member.country)
                if one.id != member.id]  # fmt: skip
    tell(
        session, app, member, "key-revoked", Manner(regardless=True, plain=True),
        fingerprint=after.fingerprint, whole=after.revoked,
        contacts=[f"{one.name} <{one.address}>" for one in contacts],
    )  # fmt: skip
    others = [*contacts, *holders(session, Role.ADMINISTRATOR)]
    tell_all(
        session, app, [one for one in others if one.id != member.id], "key-revoked-of",
        who=member.described, address=member.address, fingerprint=after.fingerprint,
        whole=after.revoked, country=member.country,
    )  # fmt: skip
