"""Who wrote a mail: the member whose certificate verifies its signature. Never a header."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256, sha512

from sqlalchemy.orm import Session

from gateway.crypto.certificate import Certificate, read
from gateway.crypto.signature import Verified, examine
from gateway.message.entity import crlf
from gateway.message.signed import TEXT, SignatureFacts, signature_facts
from gateway.message.submission import Content
from gateway.posting.updates import Update
from gateway.store import certificate as certificates
from gateway.store.member import State
from gateway.store.posting import Standing

log = logging.getLogger(__name__)


MOST_SIGNATURES = 4
"""Of one content that are looked at: an old and a new key's, and a colleague's. Each takes a hash
of all of it."""


@dataclass(frozen=True, slots=True)
class Author:
    """A verified author. intended: fingerprints that the signature itself names as recipients.
    acts: a digest of each good act of signing this content, to know the mail again by; body: of the
    content itself. Digests are SHA-256 in hex. standing: whether they may do what members do, or
    only be heard at a desk. certificate: with which the signature is good; update: what the mail
    adds to the one that is held.
    """

    member_id: int
    certificate: bytes
    fingerprint: str
    signed_at: datetime
    intended: tuple[str, ...]
    acts: tuple[str, ...]
    body: str
    standing: Standing = Standing.ACTIVE
    update: Update | None = None


@dataclass(frozen=True, slots=True)
class _Signer:
    member_id: int
    certificate: Certificate
    verified: Verified
    facts: SignatureFacts
    standing: Standing


def identify(
    session: Session,
    content: Content,
    now: datetime,
    max_future: timedelta,
    updates: Sequence[Update] = (),
) -> Author | None:
    """The one member whose good signature covers the content; an active member's before others'.

    updates: what the mail brings along; a certificate is judged as it is with that. None where
    there is no such signature, and where good ones are of two members: whose words it is would be a
    guess.
    """
    brought = {one.member_id: one for one in updates}
    found = (
        _signer(session, content.body, one, now, max_future, brought)
        for one in content.signatures[:MOST_SIGNATURES]
    )
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
        first.certificate.data,
        first.verified.fingerprint,
        first.verified.created_at,
        tuple(one for signer in signers for one in signer.facts.intended_recipients),
        tuple(sha256(f"{one.facts.digest} {body}".encode()).hexdigest() for one in signers),
        body,
        first.standing,
        brought.get(first.member_id),
    )


def _signer(
    session: Session,
    body: bytes,
    packet: bytes,
    now: datetime,
    max_future: timedelta,
    brought: Mapping[int, Update],
) -> _Signer | None:
    facts = signature_facts(packet)
    issuer = facts.issuer_fingerprint or facts.issuer_key_id
    owners = _owners(session, issuer, brought) if issuer else []
    if not owners:
        sha512(body)  # as long as a member's would take: nobody is to learn whose key it is
    for member_id, state, certificate in owners:
        verdict = examine(body, packet, [certificate], now, max_future, expired_too=True)
        if isinstance(verdict, Verified):
            return _Signer(member_id, certificate, verdict, facts, _standing(state, verdict))
        log.info("no author, though member %d's key is named: %s", member_id, verdict)
        if member_id in brought:
            before = brought[member_id].before
            verdict = examine(body, packet, [before], now, max_future, expired_too=True)
            if isinstance(verdict, Verified):
                return _Signer(member_id, before, verdict, facts, Standing.REVOKED)
    return None


def _owners(
    session: Session, issuer: str, brought: Mapping[int, Update]
) -> list[tuple[int, State, Certificate]]:
    """The members who own the key that a signature names, each with their certificate: as it is
    held, with what the mail brings; a subkey may be known by that alone."""
    known = [
        (member_id, state, read(data))
        for member_id, state, data in certificates.of_issuer(session, issuer)
        if member_id not in brought
    ]
    renewed = [(one.member_id, one.state, one.after) for one in brought.values() if one.has(issuer)]
    return [*renewed, *known]


def _standing(state: State, verdict: Verified) -> Standing:
    if state is not State.ACTIVE:
        return Standing.SUSPENDED
    return Standing.EXPIRED if verdict.expired else Standing.ACTIVE
