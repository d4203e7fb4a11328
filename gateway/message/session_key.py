"""Which session keys of a stranger's message GnuPG is shown.

gpg-agent 2.2 ends at an ECDH point of one octet, and tries every hidden session key with every key
of ours; so it gets those alone that may be for us, and only well formed ones.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from gateway.errors import ForOthers, Malformed
from gateway.message.packet import Encrypted, body, packets

MOST_NAMED: Final = 20
"""So many name keys of ours where a mail is for several lists."""
MOST_HIDDEN: Final = 16
"""A sender who hides whom a message is for has few of them; each is tried with all our keys."""
_FIELDS: Final = 10
"""Octets before what the algorithm has of its own: version, key ID, algorithm (RFC 9580 5.1.1)."""
_RSA: Final = frozenset({1, 2})
_ELGAMAL: Final = 16
_ECDH: Final = 18
_POINTS: Final = {0x40: (33,), 0x04: (65, 97, 129, 133)}
"""First octet -> octets of a point, native and uncompressed (RFC 9580 11.2)."""
_WRAPPED: Final = range(24, 73, 8)
"""Octets of a session key in AES key wrap, in which it has been padded (RFC 9580 11.5)."""
_POINT_BITS: Final = range(1, 1065)
_NUMBER_BITS: Final = range(512, 16385)
"""Of what RSA or ElGamal encrypted: nearly as many as the key has."""


def addressed(message: Encrypted, ours: Mapping[str, int]) -> bytes:
    """The message as it is for us: session keys for keys of ours, those for nobody named, and the
    data. ours: key IDs and fingerprints, upper-case hex -> number of the key's algorithm.

    Raises ForOthers where there is none, and Malformed where each of them is broken.
    """
    named = [one for one in message.pkesks if one[0] in ours][:MOST_NAMED]
    hidden = [one for one in message.pkesks if not one[0]][:MOST_HIDDEN]
    if not named and not hidden:
        raise ForOthers("the message is not encrypted to a key of ours")
    used = frozenset(ours.values())
    sound = [
        each
        for key_id, each in (*named, *hidden)
        if _is_sound(_body(each), [ours[key_id]] if key_id else used)
    ]
    if not sound:
        raise Malformed("no session key for us is well formed")
    return b"".join((*sound, message.data))


def _body(pkesk: bytes) -> bytes:
    (only,) = packets(pkesk)
    return body(pkesk, only)


def _is_sound(content: bytes, algorithms: Collection[int]) -> bool:
    """Whether a PKESK is of version 3, as GnuPG's keys are served, by one of the algorithms, and
    has what that asks for and nothing else."""
    if content[0] != 3 or content[_FIELDS - 1] not in algorithms:
        return False
    algorithm, rest = content[_FIELDS - 1], content[_FIELDS:]
    if algorithm in _RSA:
        return _after_number(rest, _NUMBER_BITS) == len(rest)
    if algorithm == _ELGAMAL:
        first = _after_number(rest, _NUMBER_BITS)
        return first > 0 and first + _after_number(rest[first:], _NUMBER_BITS) == len(rest) > first
    return algorithm == _ECDH and _is_ecdh(rest)


def _after_number(octets: bytes, sizes: range) -> int:
    """The offset behind a number (MPI, RFC 9580 3.2) of so many bits; 0 where there is none that is
    whole. Go's library counts bits that are zero in front, so they may be."""
    bits = int.from_bytes(octets[:2], "big")
    end = 2 + (bits + 7) // 8
    return end if bits in sizes and len(octets) >= end else 0


def _is_ecdh(octets: bytes) -> bool:
    """RFC 9580 5.1.5: a point, and a session key behind its length in an octet."""
    point = _after_number(octets, _POINT_BITS)
    if not point or point - 2 not in _POINTS.get(octets[2], ()):
        return False
    if int.from_bytes(octets[:2], "big") % 8 != octets[2].bit_length():
        return False  # such a number's first bit is none of the point's form
    wrapped = octets[point:]
    return len(wrapped) - 1 in _WRAPPED and wrapped[0] == len(wrapped) - 1
