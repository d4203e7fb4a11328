"""Postings that were found, opened as far as a list of them shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import joinedload, load_only, selectinload

from gateway.app import App
from gateway.archive import parts, snippets, wanting
from gateway.archive.query import Name, Words
from gateway.archive.snippets import Piece
from gateway.archive.wanting import Scope
from gateway.errors import Malformed
from gateway.message import entity
from gateway.posting import evidence, presenting, subjects
from gateway.store.archive_entry import ArchiveEntry
from gateway.store.hold import Decision, Hold
from gateway.store.member import Member
from gateway.store.posting import Placement, Posting, PostingList

OPENED_BYTES = 16 << 20
"""Of all postings of a page together, sealed or opened, that are opened for a passage of their
text."""
MOST_CHARACTERS = 500_000
"""Of all their texts together that are looked through for it: some cost a second each otherwise."""
FEW_CHARACTERS = 5_000
"""Of each at least."""


@dataclass(frozen=True, slots=True)
class Hit:
    """hold: "H-17" where it is found as held. subject: in pieces, "" where it has none. passage:
    none where the posting is too large to be opened for it, or can't be read. topics: titles."""

    id: int
    label: str
    hold: str
    author: Member
    received_at: datetime
    marking: str
    attachments: int
    topics: tuple[str, ...]
    subject: tuple[Piece, ...]
    passage: tuple[Piece, ...]

    @property
    def path(self) -> str:
        """Where its page is, as docs/urls.md says."""
        return f"/held/{self.hold}" if self.hold else presenting.path(self.label)

    @property
    def title(self) -> str:
        return "".join(one.text for one in self.subject)


def opened(on: Scope, ids: Sequence[int], sought: Sequence[Words]) -> tuple[Hit, ...]:
    """In the order of the ids."""
    # A passage from the text shows no words of the subject or of a file name.
    said = [one for one in sought if one.where is None]
    called = [one for one in sought if one.where is not Name.FILENAME]
    query = (
        select(Posting, func.length(Posting.submission), ArchiveEntry)
        .join(ArchiveEntry, ArchiveEntry.posting_id == Posting.id)
        .where(Posting.id.in_(ids))
        .options(
            load_only(
                Posting.token, Posting.details, Posting.received_at, Posting.marking,
                Posting.withdrawn_at,
            ),
            joinedload(Posting.author),
            selectinload(Posting.placements).joinedload(PostingList.mailing_list),
        )
    )  # fmt: skip
    found = {one.id: (one, length, entry) for one, length, entry in on.session.execute(query)}
    holds = _holds(on, ids) if on.is_held else {}
    titles = subjects.titles(on.session)
    fits = _few(ids, {id_: length for id_, (_, length, _) in found.items()})
    content = load_only(Posting.submission, Posting.certificate)
    # All at once, into the rows that are here.
    on.session.scalars(select(Posting).where(Posting.id.in_(fits)).options(content)).all()
    made, octets, characters = [], OPENED_BYTES, MOST_CHARACTERS
    for id_ in ids:
        posting, _, entry = found[id_]
        # What is sealed may be compressed: its length says little of what comes out of it.
        text, length = _text(on.app, posting) if id_ in fits and octets > 0 else ("", 0)
        text = text[: max(characters, FEW_CHARACTERS)]
        octets, characters = octets - length, characters - len(text)
        language = entry.language or ""
        made.append(
            Hit(
                id=id_,
                label=posting.label,
                hold=holds.get(id_, ""),
                author=posting.author,
                received_at=posting.received_at,
                marking=posting.marking,
                attachments=entry.attachments or 0,
                topics=_topics(on, posting),
                subject=snippets.marked(
                    subjects.listed(on.app.vault, posting, titles) or "", called, language
                ),
                passage=snippets.snippet(text, said, language),
            )
        )
    return tuple(made)


def _few(ids: Sequence[int], lengths: Mapping[int, int]) -> set[int]:
    """Of postings in order, the first that are together not more than may be opened."""
    few, left = set(), OPENED_BYTES
    for id_ in ids:
        if lengths[id_] <= left:
            few.add(id_)
            left -= lengths[id_]
    return few


def _text(app: App, posting: Posting) -> tuple[str, int]:
    """(what a posting says, bytes of its content, opened); "" where it can't be read."""
    try:
        _, content = evidence.opened(app.vault, posting)
        found = parts.sorted_out(entity.read(content.payload))
        return parts.text(found, snippets.MOST_CHARACTERS)[0], len(content.payload)
    except Malformed:
        return "", 0


def _topics(on: Scope, posting: Posting) -> tuple[str, ...]:
    """The lists that it is on, of those that the reader may know of."""
    titles = {one.id: one.title for one in on.lists}
    return tuple(
        titles[one.list_id]
        for one in posting.placements
        if one.list_id in titles
        and (one.placement is Placement.ACCEPTED or posting.author_id == on.member.id or on.is_held)
    )


def _holds(on: Scope, ids: Sequence[int]) -> dict[int, str]:
    """Posting's id -> label of its hold that the reader decides about."""
    query = select(Hold.posting_id, Hold.id).where(
        Hold.posting_id.in_(ids),
        Hold.decision == Decision.OPEN,
        Hold.list_id.in_(wanting.decided_by(on.session, on.member)),
    )
    return {posting: f"H-{id_}" for posting, id_ in on.session.execute(query)}
