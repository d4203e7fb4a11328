"""A kept posting opened for a reader: who wrote it, whether it is theirs, what it says."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from gateway.app import App
from gateway.archive import attestation, parts
from gateway.archive.attestation import Verdict
from gateway.archive.blocks import Block, blocks
from gateway.archive.parts import Parts
from gateway.errors import Malformed
from gateway.message import entity
from gateway.message.noted import Noted
from gateway.message.protected import Fields
from gateway.message.submission import Content
from gateway.message.thread import own_subject
from gateway.posting import evidence, presenting, subjects
from gateway.posting.evidence import Kept
from gateway.store.member import Member
from gateway.store.posting import Posting, Standing

MOST_TEXT = 200_000
"""Characters of a posting's text on a page; the rest is in its download."""
MOST_ATTACHED = 100
"""Attachments that a page lists."""
PICTURES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


@dataclass(frozen=True, slots=True)
class Writer:
    """The author, as a posting names them; of an unverified one what its mail says, in `name`."""

    name: str
    address: str
    organisation: str
    country: str


@dataclass(frozen=True, slots=True)
class Attached:
    """number: from 1, in its posting. size: bytes, decoded. is_picture: by its type, which may be
    untrue."""

    number: int
    name: str
    type: str
    size: int
    is_picture: bool


@dataclass(frozen=True, slots=True)
class Header:
    """A field as the author's mail has it. signed: whether it is under the signature."""

    name: str
    value: str
    signed: bool


@dataclass(frozen=True, slots=True)
class Body:
    """What a posting says. cut: its text goes on in the download; attachments: at most
    MOST_ATTACHED of `attached`. noted: of the form of the mail."""

    subject: str
    subject_signed: bool
    headers: tuple[Header, ...]
    blocks: tuple[Block, ...]
    cut: bool
    has_hypertext: bool
    attachments: tuple[Attached, ...]
    attached: int
    noted: Noted


@dataclass(frozen=True, slots=True)
class Shown:
    """A posting. body: None where it was withdrawn, and where what is kept was damaged. verdict:
    None where it was not checked again. length: bytes of its content, opened."""

    id: int
    label: str
    token: str
    ancestors: tuple[str, ...]
    author: Writer
    received_at: datetime
    signed_at: datetime
    key_fingerprint: str
    marking: str
    standing: Standing
    urgent: bool
    withdrawn_at: datetime | None
    body: Body | None = None
    verdict: Verdict | None = None
    length: int = 0

    @property
    def path(self) -> str:
        """Where its page is."""
        return presenting.path(self.label)


def open_posting(session: Session, app: App, posting: Posting) -> Shown:
    """A posting with its signature checked again."""
    return _shown(app, posting, subjects.titles(session), MOST_TEXT, session)


def open_all(session: Session, app: App, postings: Iterable[Posting], most: int) -> Iterator[Shown]:
    """Several, one after the other, without checking them again. most: characters of each text."""
    titles = subjects.titles(session)
    return (_shown(app, one, titles, most) for one in postings)


def parts_of(app: App, posting: Posting) -> Parts:
    """Raises Malformed where what is kept was damaged."""
    return parts.sorted_out(entity.read(evidence.opened(app.vault, posting)[1].payload))


def _shown(
    app: App,
    posting: Posting,
    titles: Collection[str],
    most: int,
    checking: Session | None = None,
) -> Shown:
    body, verdict, length = None, None, 0
    writer = _writer(posting.author)
    if posting.withdrawn_at is None:
        try:
            kept, opened = evidence.opened(app.vault, posting)
            body, length = _body(kept, opened, titles, most), len(opened.payload)
            if posting.standing is Standing.UNVERIFIED:
                writer = Writer(presenting.claimed_author(kept), "", "", "")
            elif checking is not None:
                verdict = attestation.check(checking, app, posting, kept, opened)
        except Malformed:
            body, verdict = None, None
    return Shown(
        posting.id,
        posting.label,
        posting.token,
        posting.ancestors,
        writer,
        posting.received_at,
        posting.signed_at,
        posting.key_fingerprint,
        posting.marking,
        posting.standing,
        posting.urgent,
        posting.withdrawn_at,
        body,
        verdict,
        length,
    )


def _body(kept: Kept, opened: Content, titles: Collection[str], most: int) -> Body:
    found = parts.sorted_out(entity.read(opened.payload))
    text, cut = parts.text(found, most)
    return Body(
        own_subject(kept.fields.subject, titles),
        kept.fields.subject_signed,
        tuple(_headers(kept.fields, kept.protected)),
        blocks(text),
        cut,
        bool(found.hypertexts),
        tuple(
            Attached(
                number,
                parts.file_name(part, number),
                part.content_type,
                parts.size(part),
                part.content_type in PICTURES,
            )
            for number, part in enumerate(found.attachments[:MOST_ATTACHED], 1)
        ),
        len(found.attachments),
        kept.noted,
    )


def _headers(fields: Fields, protected: Fields) -> Iterator[Header]:
    """What the author's mail said outside of whom it is for is in no copy either: it may name a
    list that not every reader knows of."""
    for name, value, signed in (
        ("From", fields.sender, protected.sender),
        ("To", ", ".join(protected.to), protected.to),
        ("Cc", ", ".join(protected.cc), protected.cc),
        ("Date", fields.date, protected.date),
        ("Subject", fields.subject, protected.subject),
    ):
        if value:
            yield Header(name, value, bool(signed))


def _writer(member: Member) -> Writer:
    return Writer(member.name, member.address, member.organisation, member.country)
