"""What a key's algorithm is, read from its packet (RFC 9580 5.5.2, draft-ietf-openpgp-pqc)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_WITH_MODULUS: Final[Mapping[int, str]] = {1: "RSA", 2: "RSA", 3: "RSA", 16: "ElGamal", 17: "DSA"}
_WITH_CURVE: Final = frozenset({18, 19, 22})  # ECDH, ECDSA, EdDSA
_CURVES: Final[Mapping[str, str]] = {  # RFC 9580 9.2
    "2a8648ce3d030107": "P-256",
    "2b81040022": "P-384",
    "2b81040023": "P-521",
    "2b8104000a": "secp256k1",
    "2b2403030208010107": "brainpoolP256r1",
    "2b240303020801010b": "brainpoolP384r1",
    "2b240303020801010d": "brainpoolP512r1",
    "2b06010401da470f01": "Ed25519",
    "2b060104019755010501": "Cv25519",
}
_OTHERS: Final[Mapping[int, str]] = {
    25: "X25519",
    26: "X448",
    27: "Ed25519",
    28: "Ed448",
    30: "ML-DSA-65+Ed25519",
    31: "ML-DSA-87+Ed448",
    32: "SLH-DSA-SHAKE-128s",
    33: "SLH-DSA-SHAKE-128f",
    34: "SLH-DSA-SHAKE-256s",
    35: "ML-KEM-768+X25519",
    36: "ML-KEM-1024+X448",
}
_POST_QUANTUM: Final = range(30, 37)


@dataclass(frozen=True, slots=True)
class Algorithm:
    """name: as "RSA-4096" or "Ed25519". modulus_bits: 0 where it has no modulus."""

    name: str
    modulus_bits: int
    post_quantum: bool


def of_key(body: bytes) -> Algorithm:
    """The algorithm of a key packet's body, of version 4 or 6."""
    number = body[5]
    start = 10 if body[0] == 6 else 6
    if number in _WITH_MODULUS:
        bits = int.from_bytes(body[start : start + 2], "big")
        return Algorithm(f"{_WITH_MODULUS[number]}-{bits}", bits, post_quantum=False)
    if number in _WITH_CURVE:
        curve = body[start + 1 : start + 1 + body[start]].hex()
        return Algorithm(_CURVES.get(curve, "unknown curve"), 0, post_quantum=False)
    name = _OTHERS.get(number, f"algorithm {number}")
    return Algorithm(name, 0, post_quantum=number in _POST_QUANTUM)
