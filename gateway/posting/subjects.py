"""What a kept posting is called: its author's subject, without what lists put before it."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy.orm import Session

from gateway.crypto.vault import Vault
from gateway.errors import Malformed
from gateway.message.thread import own_subject
from gateway.posting import evidence
from gateway.store import mailing_list
from gateway.store.posting import Posting


def titles(session: Session) -> tuple[str, ...]:
    """Those of every list and desk, which stand in brackets before the subjects of replies."""
    known = (*mailing_list.all_lists(session), *mailing_list.desks(session))
    return tuple(one.title for one in known)


def subject(vault: Vault, posting: Posting, titles: Collection[str]) -> str:
    """One line; "" where there is none, and of what was withdrawn. Raises Malformed where what is
    sealed was damaged or moved."""
    if posting.withdrawn_at is not None:
        return ""
    return own_subject(evidence.fields(vault, posting).subject, titles)


def listed(vault: Vault, posting: Posting, titles: Collection[str]) -> str | None:
    """The same for a list, which one that was damaged must not take away: None."""
    try:
        return subject(vault, posting, titles)
    except Malformed:
        return None
