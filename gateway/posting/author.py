"""Who wrote a mail: the active member whose certificate verifies its signature. Never a header."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from gateway.crypto import certificate
from gateway.crypto.signature import examine
from gateway.errors import Malformed
from gateway.message.signed import SignatureFacts, signature_facts
from gateway.message.submission import Content
from gateway.store import certificate as certificates

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Author:
    """A verified author. intended: fingerprints that the signature itself names as recipients;
    digests: of every signature that verified, to know the mail again by."""

    member_id: int
    certificate: bytes
    fingerprint: str
    signed_at: datetime
    intended: tuple[str, ...]
    digests: tuple[str, ...]


def identify(
    session: Session, content: Content, now: datetime, max_future: timedelta
) -> Author | None:
    """The one active member whose good signature covers the content.

    None where there is no such signature, and where good ones are of two members: whose words it
    is would be a guess.
    """
    authors: list[Author] = []
    for packet in content.signatures:
        try:
            facts = signature_facts(packet)
        except Malformed:
            continue
        author = _verified(session, content.body, packet, facts, now, max_future)
        if author is not None:
            authors.append(author)
    if len({author.member_id for author in authors}) != 1:
        return None
    first = authors[0]
    return Author(
        first.member_id,
        first.certificate,
        first.fingerprint,
        first.signed_at,
        tuple(one for author in authors for one in author.intended),
        tuple(one for author in authors for one in author.digests),
    )


def _verified(
    session: Session,
    body: bytes,
    packet: bytes,
    facts: SignatureFacts,
    now: datetime,
    max_future: timedelta,
) -> Author | None:
    issuer = facts.issuer_fingerprint or facts.issuer_key_id
    if not issuer:
        return None
    for member_id, data in certificates.of_issuer(session, issuer):
        found = examine(body, packet, [certificate.read(data)], now, max_future)
        if isinstance(found, str):
            log.info("no author, though member %d's key is named: %s", member_id, found)
        else:
            return Author(
                member_id,
                data,
                found.fingerprint,
                found.created_at,
                facts.intended_recipients,
                (facts.digest,),
            )
    return None
