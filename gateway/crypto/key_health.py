"""How a member's certificate stands: what fails today, what will, and what is getting old."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateway.crypto.certificate import (
    Certificate,
    Key,
    admission_faults,
    earliest,
    encryption_fault,
    encryption_keys,
    encrypts_to,
    encrypts_until,
    is_past,
)

_ADVISED_BITS: Final = 3072
"""Of a modulus: what NIST SP 800-57 asks for after 2030."""


@dataclass(frozen=True, slots=True)
class Health:
    """fault: sentences on why it doesn't serve at the moment asked for, as when it is admitted;
    None if it does. signs, encrypts: whether it serves for that, fault or not. expires_at: the
    earliest moment (UTC) at which signing or encrypting to it stops; None never.
    algorithm: of the keys in use, as "Ed25519/Cv25519" or "RSA-4096". post_quantum: whether all
    that is encrypted to it is safe from a quantum computer. weaknesses: a sentence each.
    """

    fault: str | None
    signs: bool
    encrypts: bool
    expires_at: datetime | None
    algorithm: str
    post_quantum: bool
    weaknesses: tuple[str, ...]


def health(certificate: Certificate, now: datetime) -> Health:
    """now: UTC. Encrypts once, to see that it works."""
    fault = " ".join(admission_faults(certificate, now)) or None
    encrypts = encryption_fault(certificate, now) is None
    signers = _signers(certificate)
    live = [key for key in signers if key.live(now)]
    ended = certificate.revoked or is_past(certificate.expires_at, now)
    in_use = encryption_keys(certificate)
    return Health(
        fault=fault,
        signs=bool(live) and not ended,
        encrypts=encrypts and (fault is None or encrypts_to(certificate)),
        expires_at=serves_until(certificate),
        algorithm=_algorithm(live or signers or certificate.keys[:1], in_use),
        post_quantum=bool(in_use) and all(key.algorithm.post_quantum for key in in_use),
        weaknesses=tuple(_weaknesses(dict.fromkeys((*live, *in_use)))),
    )


def signs_until(certificate: Certificate) -> datetime | None:
    """The moment (UTC) from which nothing that is signed with it counts; None means never."""
    signers = _signers(certificate)
    ends = [key.expires_at for key in signers if key.expires_at is not None]
    last = max(ends, default=None) if len(ends) == len(signers) else None
    return earliest(certificate.expires_at, last)


def serves_until(certificate: Certificate) -> datetime | None:
    """The moment (UTC) at which signing or encrypting to it stops, the earlier. No crypto."""
    return earliest(signs_until(certificate), encrypts_until(certificate))


def _signers(certificate: Certificate) -> list[Key]:
    return [key for key in certificate.keys if key.signs and not key.revoked]


def _algorithm(signers: Sequence[Key], in_use: Sequence[Key]) -> str:
    newest = [max(keys, key=lambda key: key.created_at) for keys in (signers, in_use) if keys]
    return "/".join(dict.fromkeys(key.algorithm.name for key in newest))


def _weaknesses(keys: Iterable[Key]) -> Iterator[str]:
    for key in keys:
        if 0 < key.algorithm.modulus_bits < _ADVISED_BITS:
            yield (
                f"Key {key.key_id} is {key.algorithm.name}: "
                f"shorter than the {_ADVISED_BITS} bits that are advised today."
            )
