"""Which session keys of a stranger's message GnuPG is shown.

gpg-agent 2.2 ends at an ECDH point of one octet, and tries every hidden session key with every key
of ours; so it gets those alone that may be for us, and only well formed ones.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Final

from gateway.errors import ForOthers, Malformed
from gateway.message.packet import Encrypted, body, packets

MOST_NAMED: Final = 20
"""So many name keys of ours where a mail is for several lists."""
MOST_HIDDEN: Final = 8
"""A sender who hides whom a message is for has few of them; each is tried with all our keys."""
_HEAD: Final = b"\x03", b"\x12\x01\x07\x40"
"""Before and after the key ID: version 3, and ECDH with the 263 bits of a native point of
Curve25519 (RFC 9580 5.1.1, 5.1.5 and 11.2.2), as every key of the gateway's has it."""
_WRAPPED_AT: Final = 1 + 8 + 4 + 32
_WRAPPED: Final = range(24, 73, 8)
"""Octets of a session key in AES key wrap, in which it has been padded (RFC 9580 11.5)."""


def addressed(message: Encrypted, ours: Set[str]) -> bytes:
    """The message as it is for us: session keys for keys of ours, those for nobody named, and the
    data. ours: key IDs and fingerprints, upper-case hex.

    Raises ForOthers where there is none, and Malformed where each of them is broken.
    """
    named = [each for key_id, each in message.pkesks if key_id in ours][:MOST_NAMED]
    hidden = [each for key_id, each in message.pkesks if not key_id][:MOST_HIDDEN]
    if not named and not hidden:
        raise ForOthers("the message is not encrypted to a key of ours")
    sound = [each for each in (*named, *hidden) if _is_sound(_body(each))]
    if not sound:
        raise Malformed("no session key for us is well formed")
    return b"".join((*sound, message.data))


def _body(pkesk: bytes) -> bytes:
    (only,) = packets(pkesk)
    return body(pkesk, only)


def _is_sound(content: bytes) -> bool:
    """Whether a PKESK is as a key of ours is served, with nothing missing and nothing behind it."""
    wrapped = content[_WRAPPED_AT:]
    return (
        (content[:1], content[9:13]) == _HEAD
        and len(wrapped) - 1 in _WRAPPED
        and wrapped[0] == len(wrapped) - 1
    )
