"""Verifying an author's signature with members' certificates: by pysequoia, and stricter."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import pysequoia

from gateway.crypto.certificate import Cert, Certificate, Key, is_past, parse
from gateway.errors import Malformed
from gateway.message.signed import BINARY, TEXT, signature_facts

_WEAK_HASHES: Final = frozenset({1, 2, 3})  # RFC 9580 9.5: MD5, SHA-1, RIPEMD-160


@dataclass(frozen=True, slots=True)
class Verified:
    """A good signature. fingerprint: of the certificate; key_fingerprint: of the key in it that
    signed, both upper-case hex. created_at: UTC. hash: number of RFC 9580 9.5. expired: the key
    has, since."""

    fingerprint: str
    key_fingerprint: str
    created_at: datetime
    hash: int
    expired: bool = False


def examine(
    body: bytes,
    signature: bytes,
    certificates: Iterable[Certificate],
    now: datetime,
    max_future: timedelta,
    *,
    expired_too: bool = False,
) -> Verified | str:
    """Who of `certificates` made this detached signature over `body`; else why nobody did.

    signature: one whole packet. now: UTC. The reason is for the log alone: nothing may tell a
    sender what was wrong (no oracle).

    Sequoia judges a certificate as of the moment that the signature claims. We judge it as of
    `now` as well, since the holder of an expired key could backdate; with expired_too such a
    signature is good, and says that it is expired.
    """
    try:
        facts = signature_facts(signature)
    except Malformed as error:
        return str(error)
    if facts.type not in (BINARY, TEXT):
        return "signature is not over a document"
    if facts.hash in _WEAK_HASHES:
        return "signature uses a hash that can be forged"
    if facts.created is None:
        return "signature has no creation time"
    if facts.created > now + max_future:
        return "signature was made in the future"
    signers = [
        (certificate, key)
        for certificate in certificates
        for key in certificate.keys
        if facts.issuer_fingerprint == key.fingerprint
        or (not facts.issuer_fingerprint and facts.issuer_key_id == key.key_id)
    ]
    for certificate, key in signers:
        if _signed(body, signature, certificate, key):
            fault = _signer_fault(certificate, key, facts.created)
            expired = is_past(certificate.expires_at, now) or is_past(key.expires_at, now)
            if expired and not fault and not expired_too:
                fault = "signer's key has expired"
            return fault or Verified(
                certificate.fingerprint, key.fingerprint, facts.created, facts.hash, expired
            )
    return "signature is not good" if signers else "signature is by a key that is not known"


def _signed(data: bytes, signature: bytes, certificate: Certificate, key: Key) -> bool:
    """Whether Sequoia finds the signature good and made by this key of the certificate."""
    cert = parse(certificate.data)

    def store(_key_ids: Any) -> list[Cert]:
        return [cert]

    try:
        parsed = pysequoia.Sig.from_bytes(signature)
        result = pysequoia.verify(bytes=data, store=store, signature=parsed)
    except (RuntimeError, ValueError):
        return False
    return [each.signing_key.upper() for each in result.valid_sigs] == [key.fingerprint]


def _signer_fault(certificate: Certificate, key: Key, created: datetime) -> str | None:
    if certificate.revoked or key.revoked:
        return "signer's key is revoked"
    if created < max(certificate.created_at, key.created_at):
        return "signature is older than its key"
    return None if key.signs else "signer's key is not for signing"
