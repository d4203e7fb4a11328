"""The gateway's own keys: administrators are warned of those that expire, and announcements that
were ordered by mail or cut off go on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from gateway.administration import announcing
from gateway.app import App
from gateway.notices.notice import holders, tell_all
from gateway.store import own_key
from gateway.store.mailing_list import GatewayKey
from gateway.store.member import Role

WARN_DAYS = (3, 14, 30, 60)
"""Before a key expires; each once."""
EXPIRED_AGAIN = timedelta(days=7)
MOST_TOLD = 1000
"""Members who are told of a key in one round, which takes some seconds."""
log = logging.getLogger(__name__)


def run(app: App) -> int:
    """How many keys were warned of, and members told."""
    return _warn(app) + _tell_of_expired(app) + _announce(app)


def _warn(app: App) -> int:
    with app.database.transaction() as session:
        now = app.clock()
        due = _due(session, now, _is_to_be_warned_of)
        for key in due:
            key.warned_days = _nearest(key, now)
            log.warning("the key of %s expires on %s", key.address, key.expires_at)
        _tell(session, app, "own-keys-expire", due)
    return len(due)


def _tell_of_expired(app: App) -> int:
    """Where the key for commands has expired nothing can be signed, so only the log tells of it
    until it is renewed."""
    with app.database.transaction() as session:
        now = app.clock()
        due = _due(session, now, _is_to_be_told_of)
        for key in due:
            key.told_expired_at = now
            log.error(
                "the key of %s has expired on %s: 'environet key renew --all' makes it good again",
                key.address,
                key.expires_at,
            )
        _tell(session, app, "own-keys-expired", due)
    return len(due)


def _announce(app: App) -> int:
    told = 0
    while told < MOST_TOLD and (some := announcing.tell_some(app)) is not None:
        told += some
    return told


def _tell(session: Session, app: App, template: str, keys: list[GatewayKey]) -> None:
    """Each administrator gets one mail with all of them."""
    if keys:
        tell_all(session, app, holders(session, Role.ADMINISTRATOR), template, keys=keys)


def _due(
    session: Session, now: datetime, is_due: Callable[[GatewayKey, datetime], bool]
) -> list[GatewayKey]:
    """Keys in use, locked; those that another round has locked are its own to act on."""
    found = [one.fingerprint for one in own_key.in_use(session) if is_due(one, now)]
    return [one for one in own_key.locked(session, found) if is_due(one, now)] if found else []


def _is_to_be_warned_of(key: GatewayKey, now: datetime) -> bool:
    days = _nearest(key, now)
    return days is not None and (key.warned_days is None or days < key.warned_days)


def _is_to_be_told_of(key: GatewayKey, now: datetime) -> bool:
    told = key.told_expired_at
    expired = key.expires_at is not None and key.expires_at <= now
    return expired and (told is None or told <= now - EXPIRED_AGAIN)


def _nearest(key: GatewayKey, now: datetime) -> int | None:
    """The smallest of WARN_DAYS that a key still has, or has less of; None for more than all, for
    ever, and for what has expired."""
    if key.expires_at is None or key.expires_at <= now:
        return None
    left = key.expires_at - now
    return next((days for days in WARN_DAYS if left <= timedelta(days=days)), None)
