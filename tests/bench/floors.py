"""What no gateway can be faster than: the public-key work of each copy, and the bytes to the mail
server; and what a mail program does instead, one call of gpg a copy."""

from __future__ import annotations

import os
import time
from concurrent.futures import ProcessPoolExecutor

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tests.officers import Officer

GPG_CALLS = 20
_OPERATIONS = 3000
PROCESSORS = os.cpu_count() or 1


def public_key(processes: int) -> float:
    """Seconds a copy: one ephemeral key and one shared secret, which is two X25519, by OpenSSL."""
    with ProcessPoolExecutor(processes) as pool:
        list(pool.map(_work, [1] * processes))  # all are there
        started = time.perf_counter()
        list(pool.map(_work, [_OPERATIONS] * processes))
        return (time.perf_counter() - started) / (_OPERATIONS * processes)


def _work(operations: int) -> None:
    peer = X25519PrivateKey.generate().public_key()
    for _ in range(operations):
        own = X25519PrivateKey.generate()
        own.public_key()
        own.exchange(peer)


def gpg_call(author: Officer, certificate: bytes, text: bytes) -> float:
    """Seconds for signing and encrypting to one, without SMTP."""
    started = time.perf_counter()
    for _ in range(GPG_CALLS):
        author.program.encrypt(text, [certificate], sign=True)
    return (time.perf_counter() - started) / GPG_CALLS
