"""Content at rest: AES-256-GCM under data keys that are opened once, at the start, by gpg-agent."""

from __future__ import annotations

import base64
import hmac
import os
from collections.abc import Mapping
from hashlib import blake2b

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.errors import Malformed, Unavailable

KEY_BYTES = 32
_NONCE_BYTES = 12
_SHORT_BYTES = 6


class Vault:
    """Seals and opens values, and makes keyed hashes. Several data keys may be alive.

    keys: data key id -> 32 bytes. The newest seals; each opens what it sealed. The keyed hashes are
    of the oldest, so that they stay the same when a data key is added.
    """

    def __init__(self, keys: Mapping[int, bytes]) -> None:
        if not keys:
            raise Unavailable("the database has no data key; was this state made by 'init'?")
        self._ciphers = {number: AESGCM(key) for number, key in keys.items()}
        self._newest = max(keys)
        self._hash_root = keys[min(keys)]
        self._subkeys: dict[str, bytes] = {}

    def seal(self, identity: str, value: bytes) -> bytes:
        """Key id (4 bytes) | nonce (12) | ciphertext and tag. `identity` names the row and field:
        a sealed value that was moved to another place does not open."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._ciphers[self._newest].encrypt(nonce, value, identity.encode())
        return self._newest.to_bytes(4, "big") + nonce + sealed

    def open(self, identity: str, sealed: bytes) -> bytes:
        """Raises Malformed where the value is not what was sealed there, and Unavailable where its
        data key is another than those that are open, such as one added since."""
        number = int.from_bytes(sealed[:4], "big")
        cipher = self._ciphers.get(number)
        # Keys are numbered from 1: any other number is damage, which must not look like a fault
        # that passes.
        if cipher is None and 1 <= number <= self._newest + 1:
            raise Unavailable(f"the data key of {identity} is not open")
        damaged = Malformed(f"sealed value {identity} was damaged or moved")
        nonce, rest = sealed[4 : 4 + _NONCE_BYTES], sealed[4 + _NONCE_BYTES :]
        if cipher is None or len(nonce) < _NONCE_BYTES:
            raise damaged
        try:
            return cipher.decrypt(nonce, rest, identity.encode())
        except InvalidTag:
            raise damaged from None

    def keyed_hash(self, purpose: str, value: str) -> str:
        """Hex HMAC-SHA-256 that nobody without the data key can recompute or look up."""
        return hmac.digest(self._subkey(purpose), value.encode(), "sha256").hex()

    def short_hash(self, purpose: str, value: str) -> str:
        """Ten of a-z and 2-7, for values by the million: BLAKE2b with a key (RFC 7693), of which 48
        bits are kept; of a million values two hardly ever share one."""
        digest = blake2b(value.encode(), digest_size=_SHORT_BYTES, key=self._subkey(purpose))
        return base64.b32encode(digest.digest())[:10].decode().lower()

    def _subkey(self, purpose: str) -> bytes:
        if purpose not in self._subkeys:
            info = b"environet keyed hash: " + purpose.encode()
            made = HKDF(SHA256(), KEY_BYTES, salt=None, info=info).derive(self._hash_root)
            self._subkeys[purpose] = made
        return self._subkeys[purpose]


def new_key() -> bytes:
    return os.urandom(KEY_BYTES)
