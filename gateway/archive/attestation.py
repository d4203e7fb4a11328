"""Whether a kept posting is still what its author signed, and what became of their key since."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy.orm import Session

from gateway.app import App
from gateway.crypto.certificate import Certificate, earliest, is_past, read
from gateway.crypto.signature import Verified, examine
from gateway.errors import BadCertificate
from gateway.message.submission import Content
from gateway.posting.evidence import Kept
from gateway.store import certificate as certificates
from gateway.store.library import Version
from gateway.store.posting import Posting


class Since(StrEnum):
    """What a reader must know of a key with which a signature was good once."""

    REVOKED = "revoked"
    """Whoever has it besides its owner could have signed with an earlier date."""
    EXPIRED = "expired"
    REPLACED = "replaced"


@dataclass(frozen=True, slots=True)
class Verdict:
    """good: the kept certificate verifies the kept content, now. checked_at: UTC. since: None where
    the key is in use; since_at: UTC, None where it is not known."""

    good: bool
    checked_at: datetime
    since: Since | None = None
    since_at: datetime | None = None


def check(
    session: Session, app: App, posting: Posting | Version, kept: Kept, content: Content
) -> Verdict:
    """Verify a posting again, as it was verified when it came."""
    now = app.clock()
    verified = _verified(app, posting, kept, content, now)
    if verified is None:
        return Verdict(good=False, checked_at=now)
    since, at = _since(session, posting, verified, now)
    return Verdict(True, now, since, at)


def _verified(
    app: App, posting: Posting | Version, kept: Kept, content: Content, now: datetime
) -> Verified | None:
    try:
        certificate = read(kept.certificate)
    except BadCertificate:
        return None
    future = timedelta(minutes=app.config.policy.future_minutes)
    for packet in content.signatures:
        found = examine(content.body, packet, [certificate], now, future, expired_too=True)
        # The row's fingerprint stands in the clear, the certificate does not.
        if isinstance(found, Verified) and found.fingerprint == posting.key_fingerprint:
            return found
    return None


def _since(
    session: Session, posting: Posting | Version, verified: Verified, now: datetime
) -> tuple[Since | None, datetime | None]:
    row = certificates.of(session, posting.author)
    if row is None or row.fingerprint != verified.fingerprint:
        return Since.REPLACED, None if row is None else row.admitted_at
    if row.revoked_at is not None:
        return Since.REVOKED, row.revoked_at
    return _key_state(read(row.data), verified.key_fingerprint, now)


def _key_state(
    certificate: Certificate, fingerprint: str, now: datetime
) -> tuple[Since | None, datetime | None]:
    """The same of one key of the certificate that a member has now."""
    for key in certificate.keys:
        if key.fingerprint == fingerprint and key.revoked:
            return Since.REVOKED, None
        if key.fingerprint == fingerprint:
            ends = earliest(certificate.expires_at, key.expires_at)
            return (Since.EXPIRED, ends) if is_past(ends, now) else (None, None)
    return Since.REPLACED, None
