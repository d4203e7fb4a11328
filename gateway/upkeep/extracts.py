"""What a digest shows of a posting: the same for every reader, so it is opened once for all."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, auto

from sqlalchemy import func, select
from sqlalchemy.orm import Session, defer

from gateway.app import App
from gateway.errors import Malformed
from gateway.message import entity, hypertext, submission
from gateway.message.marking import Marking
from gateway.message.thread import own_subject, plain
from gateway.posting import evidence
from gateway.store import mailing_list
from gateway.store.posting import Posting

MOST_TEXT = 20_000
"""Characters of a posting's text."""
_MOST_SEALED = 10 * 2**20
"""Bytes of a posting that is opened for its text; upkeep shares its process with the doors."""
_MOST_TRANSFERRED = 8 * MOST_TEXT
_MOST_NAMES = 20
_MOST_KEPT = 32 * 2**20
"""Bytes of extracts."""
_INDENT = " " * 6


class Unshown(Enum):
    """Why a posting is in no digest."""

    WITHDRAWN = auto()
    STRICT = auto()
    """Its readers are to be known: it goes to each as a copy."""


@dataclass(frozen=True, slots=True)
class Extract:
    """What is the same of a posting for all readers.

    at: when it was received. text: its lines indented, so that none looks like one of the digest's
    own; cut: whether there is more of it. attachments: their names.
    """

    label: str
    token: str
    thread_id: int
    author: str
    at: datetime
    marking: str
    subject: str
    text: str
    cut: bool
    attachments: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.text.encode()) + len(self.subject.encode())


class Extracts:
    """Extracts by posting, kept up to some megabytes: a day's digests are mostly the same."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._kept: dict[int, Extract] = {}
        self._room = _MOST_KEPT

    def of(self, session: Session, ids: Collection[int]) -> dict[int, Extract | Unshown]:
        """By posting's id, as each is marked now."""
        rows = session.execute(
            select(Posting.id, Posting.marking, Posting.withdrawn_at).where(Posting.id.in_(ids))
        )
        found: dict[int, Extract | Unshown] = {}
        for posting_id, marking, withdrawn_at in rows:
            if withdrawn_at is not None:
                found[posting_id] = Unshown.WITHDRAWN
            elif marking == Marking.AMBER_STRICT.label:
                found[posting_id] = Unshown.STRICT
            else:
                found[posting_id] = replace(self._one(session, posting_id), marking=marking)
        return found

    def _one(self, session: Session, posting_id: int) -> Extract:
        if posting_id not in self._kept:
            made = _extract(session, self._app, posting_id)
            self._room -= made.size
            if self._room < 0:
                self._kept, self._room = {}, _MOST_KEPT - made.size
            self._kept[posting_id] = made
        return self._kept[posting_id]


def _extract(session: Session, app: App, posting_id: int) -> Extract:
    posting = session.get_one(Posting, posting_id, options=[defer(Posting.submission)])
    lists = (*mailing_list.all_lists(session), *mailing_list.desks(session))
    fields = evidence.fields(app.vault, posting)
    text, cut, names = _text_of(session, app, posting)
    return Extract(
        label=posting.label,
        token=posting.token,
        thread_id=posting.thread_id,
        author=posting.author.described,
        at=posting.received_at,
        marking=posting.marking,
        subject=own_subject(fields.subject, [one.title for one in lists]) or "-",
        text=text,
        cut=cut,
        attachments=names,
    )


def _text_of(session: Session, app: App, posting: Posting) -> tuple[str, bool, tuple[str, ...]]:
    """Text, whether there is more of it, and names of attachments."""
    size = session.scalar(select(func.length(Posting.submission)).where(Posting.id == posting.id))
    if (size or 0) > _MOST_SEALED:
        return "", True, ()
    try:
        _, opened = evidence.opened(app.vault, posting)
        payload = entity.read(opened.payload)
        text, cut = _first_text(payload)
        names = [plain(one)[:100] for one in submission.attachment_names(payload)]
    except Malformed:
        return "", True, ()
    finally:
        # The blob would stay in the session as long as the posting does.
        session.expire(posting, ["submission"])
    shown = tuple(names[:_MOST_NAMES]) + (("...",) if len(names) > _MOST_NAMES else ())
    return _indented(text), cut, shown


def _first_text(payload: entity.Entity) -> tuple[str, bool]:
    """The first text that readers see, and whether it goes on."""
    for kind in ("text/plain", "text/html"):
        for part in submission.leaves(payload):
            if part.content_type == kind and not part.is_attachment:
                text = submission.text(part, _MOST_TRANSFERRED)
                text = hypertext.shown(text) if kind == "text/html" else text
                cut = part.end - part.body_start > _MOST_TRANSFERRED or len(text) > MOST_TEXT
                return text[:MOST_TEXT], cut
    return "", False


def _indented(text: str) -> str:
    """Each line, by whatever mark Unicode has for its end, under the digest's own."""
    lines = ("".join(map(_shown, line)).rstrip() for line in text.splitlines())
    return "\n".join(f"{_INDENT}{line}" if line else "" for line in lines).strip("\n")


def _shown(char: str) -> str:
    return char if char == "\t" or unicodedata.category(char) not in ("Cc", "Cs") else " "
