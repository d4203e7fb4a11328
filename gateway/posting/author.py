"""Who wrote a mail: the member whose certificate verifies its signature. Never a header."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from sqlalchemy.orm import Session

from gateway.crypto import certificate
from gateway.crypto.signature import Verified, examine
from gateway.message.entity import crlf
from gateway.message.signed import TEXT, SignatureFacts, signature_facts
from gateway.message.submission import Content
from gateway.store import certificate as certificates
from gateway.store.member import State
from gateway.store.posting import Standing

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Author:
    """A verified author. intended: fingerprints that the signature itself names as recipients.
    acts: a digest of each good act of signing this content, to know the mail again by; body: of the
    content itself. Digests are SHA-256 in hex. standing: whether they may do what members do, or
    only be heard at a desk."""

    member_id: int
    certificate: bytes
    fingerprint: str
    signed_at: datetime
    intended: tuple[str, ...]
    acts: tuple[str, ...]
    body: str
    standing: Standing = Standing.ACTIVE


@dataclass(frozen=True, slots=True)
class _Signer:
    member_id: int
    certificate: bytes
    verified: Verified
    facts: SignatureFacts
    standing: Standing


def identify(
    session: Session, content: Content, now: datetime, max_future: timedelta
) -> Author | None:
    """The one member whose good signature covers the content; an active member's before others'.

    None where there is no such signature, and where good ones are of two members: whose words it
    is would be a guess.
    """
    found = (_signer(session, content.body, one, now, max_future) for one in content.signatures)
    signers = [signer for signer in found if signer is not None]
    signers = [one for one in signers if one.standing is Standing.ACTIVE] or signers
    if len({signer.member_id for signer in signers}) != 1:
        return None
    first = signers[0]
    # The line ends of a text that is signed as such can be changed without breaking the signature.
    is_text = any(signer.facts.type == TEXT for signer in signers)
    body = sha256(crlf(content.body) if is_text else content.body).hexdigest()
    return Author(
        first.member_id,
        first.certificate,
        first.verified.fingerprint,
        first.verified.created_at,
        tuple(one for signer in signers for one in signer.facts.intended_recipients),
        tuple(sha256(f"{one.facts.digest} {body}".encode()).hexdigest() for one in signers),
        body,
        first.standing,
    )


def _signer(
    session: Session, body: bytes, packet: bytes, now: datetime, max_future: timedelta
) -> _Signer | None:
    facts = signature_facts(packet)
    issuer = facts.issuer_fingerprint or facts.issuer_key_id
    for member_id, state, data in certificates.of_issuer(session, issuer) if issuer else ():
        verdict = examine(body, packet, [certificate.read(data)], now, max_future, expired_too=True)
        if isinstance(verdict, Verified):
            return _Signer(member_id, data, verdict, facts, _standing(state, verdict))
        log.info("no author, though member %d's key is named: %s", member_id, verdict)
    return None


def _standing(state: State, verdict: Verified) -> Standing:
    if state is not State.ACTIVE:
        return Standing.SUSPENDED
    return Standing.EXPIRED if verdict.expired else Standing.ACTIVE
