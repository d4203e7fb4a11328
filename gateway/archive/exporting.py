"""Taking postings out of the archive, decrypted: which of them may go, and each as a mail."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime, formataddr, parseaddr
from itertools import groupby

from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.app import App
from gateway.archive import harmless, mbox
from gateway.errors import Malformed
from gateway.message import entity
from gateway.message.composing import multipart, new_boundary, text_part
from gateway.message.entity import encoded_field
from gateway.message.marking import Marking
from gateway.message.thread import plain
from gateway.posting import evidence, presenting, visibility
from gateway.posting.evidence import Kept
from gateway.store import posting as postings
from gateway.store.mailing_list import MailingList
from gateway.store.member import Member
from gateway.store.posting import Placement, Posting, PostingList, Standing

MOST = 1000
"""Postings in one download."""
STAYING = (Marking.AMBER_STRICT.label, Marking.RED.label)
"""Markings of what leaves the archive in no file."""


@dataclass(frozen=True, slots=True)
class Selection:
    """ids: of the postings that go, oldest first. staying: labels of those that may not. cut:
    whether there are more than MOST."""

    ids: tuple[int, ...]
    staying: tuple[str, ...]
    cut: bool = False

    @property
    def numbers(self) -> str:
        """The ids in few words, "1-5 9"."""
        return ranges(self.ids)


def of_thread(session: Session, member: Member, thread_id: int) -> Selection:
    """What a member may read of a thread, the first MOST."""
    query = select(Posting.id).where(
        Posting.thread_id == thread_id, visibility.readable(session, member)
    )
    ids = list(session.scalars(query.order_by(Posting.id).limit(MOST + 1)))
    return _selection(session, ids[:MOST], cut=len(ids) > MOST)


def of_found(session: Session, member: Member, ids: Sequence[int]) -> Selection:
    """What a member's search found and they may read, the last MOST. ids: MOST + 1 of them where
    there are more."""
    query = select(Posting.id).where(Posting.id.in_(ids), visibility.readable(session, member))
    theirs = set(session.scalars(query))
    found = [one for one in ids if one in theirs]
    return _selection(session, found[-MOST:], cut=len(ids) > MOST)


def of_lists(
    session: Session, on: MailingList | None, since: datetime | None, *, strict: bool
) -> list[int]:
    """Ids of all that was accepted on one list, or on any, oldest first. strict: those too that
    else stay."""
    query = (
        select(Posting.id)
        .join(PostingList)
        .where(PostingList.placement == Placement.ACCEPTED, Posting.withdrawn_at.is_(None))
        .distinct()
        .order_by(Posting.id)
    )
    if on is not None:
        query = query.where(PostingList.list_id == on.id)
    if since is not None:
        query = query.where(Posting.received_at >= since)
    if not strict:
        query = query.where(Posting.marking.not_in(STAYING))
    return list(session.scalars(query))


@contextmanager
def opened(app: App, id_: int, member: Member | None) -> Iterator[tuple[Session, Posting | None]]:
    """A posting in a session of its own, as a download may take hours; None where the member may
    not read it any more. member: None for the operator."""
    with app.database.reading() as session:
        query = select(Posting).where(Posting.id == id_)
        if member is not None:
            reader = session.get_one(Member, member.id)
            query = query.where(visibility.readable(session, reader))
        yield session, session.scalar(query)


def as_mbox(
    app: App, ids: Sequence[int], member: Member | None, topics: Collection[int] | None = None
) -> Iterator[bytes]:
    """The entries of an mbox, one after the other; without what was withdrawn. topics: ids of the
    lists that the member may know of, None for all."""
    for one in ids:
        entry = b""
        with opened(app, one, member) as (session, posting):
            if posting is not None and posting.withdrawn_at is None:
                data = mail(session, app, posting, topics)
                entry = mbox.entry(data, posting.author.address, at(posting))
        if entry:
            yield entry


def at(posting: Posting) -> datetime:
    """The date that a posting has in a file: when it was taken here; an imported one's own."""
    return posting.received_at


def mail(
    session: Session, app: App, posting: Posting, topics: Collection[int] | None = None
) -> bytes:
    """A posting as a mail of its author, CRLF lines: what the gateway attests, and what they wrote.

    Of their header stands what the gateway knows; nothing that their mail said outside. topics: as
    of as_mbox.
    """
    domain = app.config.domain
    known = [] if topics is None else visibility.placements(posting, topics)
    # One alone: the first that the reader knows of. Its author knows all, those that held it too.
    on = (known or posting.placements)[0].mailing_list
    sender = formataddr((posting.author.name, posting.author.address), "utf-8")
    try:
        kept, content = evidence.opened(app.vault, posting)
        if posting.standing is Standing.UNVERIFIED:
            sender = _claimed_sender(kept, posting.author.address)
        called = presenting.subject(session, kept)
        subject = called.text
        said = presenting.attestation(app, posting, kept, called, travels=False)
        parts = [text_part(said), harmless.content(entity.read(content.payload))]
    except Malformed:
        subject = posting.label
        parts = [text_part(f"{posting.label} can't be read: what is kept of it was damaged.\n")]
    return _mail(
        parts,
        ("From", sender),
        ("To", on.address(domain)),
        ("Date", format_datetime(at(posting))),
        ("Subject", subject),
        ("Message-ID", posting.message_id(domain)),
        *presenting.threading(posting, domain),
        ("List-Id", f"{on.title} <{on.local_part}.{domain}>"),
        ("Archived-At", f"<{presenting.url(app, posting)}>"),
    )


def note(app: App, subject: str, text: str, now: datetime) -> bytes:
    """An entry of an mbox in which the gateway itself says something about the file."""
    address = f"environet@{app.config.domain}"
    mail = _mail(
        [text_part(text)],
        ("From", formataddr((app.config.name, address), "utf-8")),
        ("Date", format_datetime(now)),
        ("Subject", subject),
        ("Message-ID", f"<{uuid.uuid4().hex}@{app.config.domain}>"),
    )
    return mbox.entry(mail, address, now)


def _mail(parts: Sequence[bytes], *fields: tuple[str, str]) -> bytes:
    boundary = new_boundary(parts)
    content = ("Content-Type", f'multipart/mixed; boundary="{boundary}"')
    head = (encoded_field(*one) for one in (*fields, ("MIME-Version", "1.0"), content))
    return multipart(b"".join(head), boundary, parts)


def ranges(numbers: Sequence[int]) -> str:
    """Numbers in few words: "1-5 9"."""
    runs = (
        [number for _, number in run]
        for _, run in groupby(enumerate(sorted(numbers)), lambda one: one[1] - one[0])
    )
    return " ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _selection(session: Session, ids: Sequence[int], *, cut: bool) -> Selection:
    query = select(Posting.id).where(
        Posting.id.in_(ids), Posting.marking.in_(STAYING), Posting.withdrawn_at.is_(None)
    )
    staying = postings.without_content(session, list(session.scalars(query)))
    labels = [one.label for _, one in sorted(staying.items())]
    return Selection(tuple(one for one in ids if one not in staying), tuple(labels), cut)


def _claimed_sender(kept: Kept, address: str) -> str:
    """An imported mail's author by name, at no address of anybody's."""
    name, claimed = parseaddr(kept.fields.sender)
    return formataddr((f"{plain(name or claimed)[:100]} (unverified)", address), "utf-8")
