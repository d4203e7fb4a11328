"""Bringing the archive of an old list in, as postings that nobody verified.

Nothing is sent to anybody. It may be cut off at any point and run again: a mail is taken once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.app import App
from gateway.archive import mbox
from gateway.archive.conversations import Conversations, Mail
from gateway.archive.mbox import Span
from gateway.errors import Malformed
from gateway.message import entity, lookalike, marking, submission
from gateway.message.entity import MOST_HEADER_BYTES, Entity
from gateway.message.marking import Marking
from gateway.message.pgpmime import Form, Signed
from gateway.message.protected import Fields, fields_of
from gateway.message.thread import ancestors
from gateway.posting import evidence
from gateway.posting.evidence import Sealed
from gateway.posting.opening import payload_limit
from gateway.store import archive_entry, ledger, mailing_list
from gateway.store import member as members
from gateway.store import posting as postings
from gateway.store.actor import OPERATOR
from gateway.store.mailing_list import MailingList
from gateway.store.member import Kind, Member, State
from gateway.store.posting import Placement, Posting, PostingList, Seen, Standing

MOST_NAMED = 1000
"""Mails that were not taken and are named one by one."""
RULE = "imported"
_BATCH_MAILS = 200
_BATCH_BYTES = 32 << 20
# No mail program is older.
_EARLIEST = datetime(1975, 1, 1, tzinfo=UTC)

Progress = Callable[[int], None]


@dataclass(slots=True)
class Outcome:
    """imported, known, failed: counts of mails, `known` of those that were there already.
    faults: (position in the file, from 1; why it was not taken)."""

    imported: int = 0
    known: int = 0
    failed: int = 0
    faults: list[tuple[int, str]] = field(default_factory=list)

    def fail(self, position: int, why: str) -> None:
        self.failed += 1
        if len(self.faults) < MOST_NAMED:
            self.faults.append((position, why))


@dataclass(frozen=True, slots=True)
class _Ready:
    """A mail that is sealed and only has to be written down. identity, named, own: keyed hashes, by
    which it, its thread and what it answers are found; named: of its own Message-ID and all that it
    answers, own: of its own alone, answered: nearest first."""

    mail: Mail
    sealed: Sealed
    marking: str
    identity: str
    own: str
    answered: tuple[str, ...]
    named: tuple[str, ...]


def read(
    app: App, file: Path, outcome: Outcome, *, by_subject: bool, progress: Progress
) -> Conversations:
    """Look through a file for its mails and who answers whom. progress: told the bytes read."""
    found, latest = Conversations(), app.clock() + timedelta(days=1)
    before = _EARLIEST
    with file.open("rb") as stream, file.open("rb") as beside:
        for span in mbox.spans(stream):
            progress(span.end - span.start)
            try:
                mail = entity.read(mbox.mail(beside, span, 2 * MOST_HEADER_BYTES))
                fields = fields_of(mail)
            except Malformed as error:
                outcome.fail(span.position, str(error))
                continue
            before = _moment(mail, span, latest) or before
            subject = fields.subject if by_subject else None
            at = int(before.timestamp())
            found.add(span, at, fields.message_id, fields.answered, subject)
    return found


def keep(
    app: App,
    file: Path,
    found: Conversations,
    list_name: str,
    outcome: Outcome,
    progress: Progress,
) -> None:
    """Keep the mails that a file was found to have. progress: told how many are done with.

    Raises UsageError where there is no such list.
    """
    with app.database.transaction() as session:
        list_id = mailing_list.get_topic(session, list_name).id
        author_id = _author(session, app).id
    threads: dict[int, int] = {}
    with file.open("rb") as stream:
        for batch in _batches(app, stream, found, list_id, outcome):
            with app.database.transaction() as session:
                on = session.get_one(MailingList, list_id)
                _keep_all(session, app, on, author_id, batch, threads, outcome)
            progress(len(batch))


def _batches(
    app: App, stream: BinaryIO, found: Conversations, list_id: int, outcome: Outcome
) -> Iterator[list[_Ready]]:
    """All that costs time, outside any transaction."""
    batch: list[_Ready] = []
    size = 0
    for mail in found.in_order():
        try:
            batch.append(_ready(app, stream, mail, list_id))
        except Malformed as error:
            outcome.fail(mail.span.position, str(error))
            continue
        size += mail.span.length
        if len(batch) == _BATCH_MAILS or size > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _ready(app: App, stream: BinaryIO, mail: Mail, list_id: int) -> _Ready:
    """Raises Malformed where the mail is not to be kept."""
    if mail.span.length > payload_limit(app.config):
        raise Malformed("larger than a posting may be")
    data = mbox.mail(stream, mail.span)
    source = Signed(Form.IMPORTED, data)
    found = entity.read(data)
    fields = fields_of(found)
    payload = submission.content(source, evidence.KEPT_LIMIT).payload
    marked = _marking(fields, payload)
    body = sha256(found.body.replace(b"\r\n", b"\n").strip()).hexdigest()

    own = fields.message_id or f"\n{body}"

    def hashed(purpose: str, text: str) -> str:
        return app.vault.keyed_hash(purpose, f"{list_id} {text}")

    return _Ready(
        mail,
        evidence.seal(app.vault, source, fields, None, b""),
        marked.label,
        identity=hashed("imported", f"{own} {body}"),
        own=hashed("imported-message-id", own),
        answered=tuple(hashed("imported-message-id", one) for one in fields.answered),
        named=tuple(hashed("imported-thread", one) for one in (own, *fields.answered)),
    )


def _marking(fields: Fields, payload: bytes) -> Marking:
    """Raises Malformed for what only those read who got it: here nobody did."""
    found = marking.of_mail(fields.subject, False, lookalike.first_lines(entity.read(payload))[0])
    if found.malformed:
        raise Malformed("its handling marking is misspelt")
    if found.marking > Marking.AMBER:
        raise Malformed(f"it is {found.marking.label}, for those alone who got it then")
    return found.marking


def _keep_all(
    session: Session,
    app: App,
    on: MailingList,
    author_id: int,
    batch: Sequence[_Ready],
    threads: dict[int, int],
    outcome: Outcome,
) -> None:
    """threads: number of a thread in the file -> id of what became of it."""
    there = _threads_by(session, [one.identity for one in batch])
    labels: list[str] = []
    for one in batch:
        if one.identity in there:
            threads.setdefault(one.mail.thread, there[one.identity])
            outcome.known += 1
            continue
        labels.append(_keep(session, on, author_id, one, threads))
        there[one.identity] = threads[one.mail.thread]
        outcome.imported += 1
    if labels:
        ledger.enter(
            session, app.clock(), "imported", list=on.local_part, postings=len(labels),
            first=labels[0], last=labels[-1], by=OPERATOR.ledger,
        )  # fmt: skip


def _keep(
    session: Session, on: MailingList, author_id: int, one: _Ready, threads: dict[int, int]
) -> str:
    at = datetime.fromtimestamp(one.mail.at, UTC)
    known = threads.get(one.mail.thread)
    if known is None:
        known = next(iter(_threads_by(session, one.named).values()), None)
    if known is None:
        known = postings.thread_for(session, None, at)
    threads[one.mail.thread] = known
    kept = Posting(
        token=one.sealed.token,
        author_id=author_id,
        thread_id=known,
        references=" ".join(_references(session, one.answered, known)),
        received_at=at,
        signed_at=at,
        key_fingerprint="",
        marking=one.marking,
        standing=Standing.UNVERIFIED,
        submission=one.sealed.submission,
        details=one.sealed.details,
        certificate=one.sealed.certificate,
    )
    kept.placements.append(
        PostingList(mailing_list=on, position=0, placement=Placement.ACCEPTED, rule=RULE)
    )
    session.add(kept)
    session.flush()
    archive_entry.note(session, kept.id)
    postings.remember(session, kept, (one.identity, one.own, *one.named))
    label = kept.label
    session.expunge(kept)  # its blobs need not wait for the end of the batch
    return label


def _references(session: Session, answered: Sequence[str], thread_id: int) -> tuple[str, ...]:
    """Tokens of the postings that a mail answers, by the nearest of them that is there."""
    query = (
        select(Seen.hash, Posting.token, Posting.references)
        .join(Posting, Posting.id == Seen.posting_id)
        .where(Seen.hash.in_(answered), Posting.thread_id == thread_id)
    )
    there = {row[0]: (row[1], row[2]) for row in session.execute(query)}
    nearest = next((there[one] for one in answered if one in there), None)
    return () if nearest is None else ancestors(nearest[1].split(), nearest[0])


def _threads_by(session: Session, hashes: Sequence[str]) -> dict[str, int]:
    """Hash -> id of the thread of the posting that has it."""
    query = (
        select(Seen.hash, Posting.thread_id)
        .join(Posting, Posting.id == Seen.posting_id)
        .where(Seen.hash.in_(hashes))
        .order_by(Posting.id)
    )
    return {row[0]: row[1] for row in session.execute(query)}


def _author(session: Session, app: App) -> Member:
    """Who stands in for the authors of imported mails: nobody, at an address of the gateway's own,
    which no member can have. Members are not credited with what says that it is theirs."""
    address = f"archive@{app.config.domain}"
    found = members.find(session, address)
    if found is None:
        found = Member(
            address=address,
            name="Unverified author",
            organisation="imported archive",
            kind=Kind.AGENCY,
            country=members.NOWHERE,
            state=State.REMOVED,
            joined_at=app.clock(),
        )
        session.add(found)
        session.flush()
    return found


def _moment(mail: Entity, span: Span, latest: datetime) -> datetime | None:
    """When it was written: by its Date; where that can't be, by the server that took it last; by
    the separator before it."""
    received = mail.field("received").rpartition(";")[2]
    for text in (mail.field("date"), received):
        try:
            found = parsedate_to_datetime(text)
            at = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
        if _EARLIEST < at < latest:
            return at
    there = span.moment
    return there if there is not None and _EARLIEST < there < latest else None
