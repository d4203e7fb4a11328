"""The keys that sign outgoing mail for the domain (DKIM): PEM files in the state directory."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from gateway.errors import UsageError

FOLDER = "dkim"
RSA_BITS = 2048
"""RFC 8301 3.2: signers use 2048 at least. The record of 4096 is more than a UDP answer holds."""
RSA, ED25519 = "rsa", "ed25519"
SUFFIXES = {RSA: "rsa", ED25519: "ed"}
"""What a selector ends in. Two algorithms never share one (RFC 8463 3)."""
SIGNING = {"no": (), RSA: (RSA,), ED25519: (ED25519,), "both": (RSA, ED25519)}
"""dkim.sign -> algorithms, in the order of their signatures in a mail."""


@dataclass(frozen=True, slots=True)
class DomainKey:
    """One of the domain's keys. selector: whole, such as environet-rsa."""

    selector: str
    key: RSAPrivateKey | Ed25519PrivateKey

    @property
    def algorithm(self) -> str:
        return RSA if isinstance(self.key, RSAPrivateKey) else ED25519

    @property
    def record(self) -> str:
        """The text of its TXT record (RFC 6376 3.6.1, RFC 8463 4)."""
        encoding, form = serialization.Encoding, serialization.PublicFormat
        public = self.key.public_key()
        # Ed25519 stands there as its 32 bytes, RSA as a SubjectPublicKeyInfo.
        data = (
            public.public_bytes(encoding.DER, form.SubjectPublicKeyInfo)
            if self.algorithm == RSA
            else public.public_bytes(encoding.Raw, form.Raw)
        )
        return f"v=DKIM1; k={self.algorithm}; p={base64.b64encode(data).decode()}"


def make(state: Path, selector: str) -> None:
    """Write the keys of a selector (mode 0600) that are not there yet."""
    folder = state / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    for algorithm in SUFFIXES:
        path = _path(state, selector, algorithm)
        if path.exists():
            continue
        key = (
            generate_private_key(public_exponent=65537, key_size=RSA_BITS)
            if algorithm == RSA
            else Ed25519PrivateKey.generate()
        )
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        # Under its name once it is whole, so that what was cut off is made again.
        unfinished = path.with_suffix(".new")
        with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            out.write(pem)
            out.flush()
            os.fsync(out.fileno())
        unfinished.rename(path)


def are_there(state: Path, selector: str) -> bool:
    return all(_path(state, selector, one).exists() for one in SUFFIXES)


def load(state: Path, selector: str, sign: str) -> tuple[DomainKey, ...]:
    """The keys that `sign` names: no, rsa, ed25519 or both. Raises UsageError where one is not
    there or is none."""
    return tuple(_load(state, selector, algorithm) for algorithm in SIGNING[sign])


def _load(state: Path, selector: str, algorithm: str) -> DomainKey:
    path = _path(state, selector, algorithm)
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise UsageError(f"the DKIM key {path} can't be read: {error.strerror}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise UsageError(f"{path} is no secret key in a PEM file without a passphrase") from None
    wanted = RSAPrivateKey if algorithm == RSA else Ed25519PrivateKey
    if not isinstance(key, wanted):
        raise UsageError(f"{path} is no key for {algorithm}")
    return DomainKey(f"{selector}-{SUFFIXES[algorithm]}", key)


def _path(state: Path, selector: str, algorithm: str) -> Path:
    return state / FOLDER / f"{selector}-{SUFFIXES[algorithm]}.pem"
