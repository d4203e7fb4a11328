"""What a newer certificate of the same key changes, to tell its owner and the ledger."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from gateway.crypto.certificate import Certificate, Key

_MOST_NAME: Final = 200


class Kind(StrEnum):
    REVOKED = "revoked"
    """The whole certificate, for good."""
    EXPIRY = "expiry"
    USE = "use"
    """What a key is for: signing, encryption."""
    SUBKEY_ADDED = "subkey-added"
    SUBKEY_REVOKED = "subkey-revoked"
    USER_ID_ADDED = "user-id-added"
    USER_ID_REMOVED = "user-id-removed"


@dataclass(frozen=True, slots=True)
class Change:
    """subject: the fingerprint of the key that changed, upper-case hex, or the user ID, as one line
    of at most 200 characters. old, new: of EXPIRY, UTC, None meaning never; new of SUBKEY_ADDED."""

    kind: Kind
    subject: str
    old: datetime | None = None
    new: datetime | None = None


def changes(before: Certificate, after: Certificate) -> tuple[Change, ...]:
    """What matters to people in a merged certificate, gravest first; empty where nothing does.

    Its octets may differ all the same (a preference, an older statement): they are to be kept.
    """
    return tuple(_changes(before, after))


def _changes(before: Certificate, after: Certificate) -> Iterator[Change]:
    if after.revoked and not before.revoked:
        yield Change(Kind.REVOKED, after.fingerprint)
    held = {key.fingerprint: key for key in before.keys}
    for key in after.keys:
        if key.fingerprint in held:
            yield from _of_key(held[key.fingerprint], key)
        elif not key.revoked:
            yield Change(Kind.SUBKEY_ADDED, key.fingerprint, new=key.expires_at)
    for user_id in after.user_ids:
        if user_id not in before.user_ids:
            yield Change(Kind.USER_ID_ADDED, _line(user_id))
    for user_id in before.user_ids:
        if user_id not in after.user_ids:
            yield Change(Kind.USER_ID_REMOVED, _line(user_id))


def _of_key(before: Key, after: Key) -> Iterator[Change]:
    if after.revoked and not before.revoked and not after.primary:
        yield Change(Kind.SUBKEY_REVOKED, after.fingerprint)
    if after.expires_at != before.expires_at:
        yield Change(Kind.EXPIRY, after.fingerprint, before.expires_at, after.expires_at)
    if (after.signs, after.encrypts) != (before.signs, before.encrypts):
        yield Change(Kind.USE, after.fingerprint)


def _line(text: str) -> str:
    """A user ID is any text at all: nothing in it may end a line or hide."""
    visible = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in text)
    return " ".join(visible.split())[:_MOST_NAME]
