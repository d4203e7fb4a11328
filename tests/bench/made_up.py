"""A made-up archive of any size, written straight into a gateway's database.

Everything is as the gateway keeps it: signed by each author's key, sealed, with placements and
outbox entries. The same seed makes the same archive.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pysequoia
from sqlalchemy import Connection, insert

from gateway.administration.lists import add_list
from gateway.app import App
from gateway.archive import indexing, terms
from gateway.crypto import certificate as openpgp
from gateway.message.pgpmime import Form, Signed
from gateway.message.protected import Fields
from gateway.posting import evidence
from gateway.store import certificate as certificates
from gateway.store import mailing_list, member, search_index
from gateway.store.archive_entry import ArchiveEntry
from gateway.store.mailing_list import MailingList
from gateway.store.member import Kind, Member, Role, TickOff
from gateway.store.outbox import Delivery, OutboxEntry
from gateway.store.posting import Placement, Posting, PostingList, Thread
from tests.bench import mails, wording
from tests.bench.mails import Said

MARKINGS = {"TLP:AMBER": 70, "TLP:GREEN": 22, "TLP:AMBER+STRICT": 4, "TLP:CLEAR": 3, "TLP:RED": 1}
LISTS = {"A": 15, "B": 30, "C": 5, "D": 10, "E": 15, "F": 10, "G": 10, "B-EXPERTS": 4, "OPC": 1}
"""Share of the threads that begin there; B-EXPERTS is a desk, OPC a list by invitation."""
MEMBERS = 400
UNDER_WAY = 40
"""Threads at a time."""
STRICT_READERS = 40
"""Members who get a posting that is not for every subscriber."""
LEFT = 2000
"""Newest postings that are left to be indexed."""
BEGAN = timedelta(days=3650)
"""Before now."""
_BATCH = 2000


@dataclass(frozen=True)
class Readers:
    """Addresses of those who read in a measurement, by what they are."""

    subscriber: str = "officer0@customs.example"
    ticked_off: str = "officer1@customs.example"
    """Of B; got the first half of it."""
    expert: str = "officer2@customs.example"
    moderator: str = "officer3@customs.example"
    administrator: str = "officer4@customs.example"

    @property
    def all(self) -> tuple[str, ...]:
        return (
            self.subscriber,
            self.ticked_off,
            self.expert,
            self.moderator,
            self.administrator,
        )


READERS = Readers()


@dataclass(frozen=True)
class Author:
    id: int
    address: str
    name: str
    fingerprint: str
    certificate: bytes
    signer: Any


@dataclass
class _Open:
    """A thread that still gets postings. texts: what can be quoted."""

    id: int
    left: int
    on: int
    language: str
    subject: str
    marking: str
    chain: list[str] = field(default_factory=list)
    last: str = ""


def fill(app: App, count: int, seed: int = 4) -> list[Author]:
    """Write an archive of `count` postings into a new gateway's database. All are indexed, in the
    words that indexing would find, but for the last LEFT."""
    chance = random.Random(seed)
    authors = _members(app)
    with app.database.reading() as session:
        lists = {one.letter: one.id for one in session.query(MailingList)}
    by_address = {one.address: one.id for one in authors}
    readers = [by_address[one] for one in READERS.all]
    batch = _Batch()
    for one in _postings(app, chance, authors, lists, count):
        batch.add(one)
        _outbox(batch, one, count, lists["B"], lists["B-EXPERTS"], readers, authors, chance)
        if one.row["id"] <= count - LEFT:
            batch.index[one.row["id"]] = _terms(app, one)
        if len(batch.made) == _BATCH:
            batch.write(app)
            batch = _Batch()
    batch.write(app)
    return authors


def _terms(app: App, made: Made) -> list[str]:
    row, said = made.row, made.said
    facts = terms.Facts(row["author_id"], [made.on], row["thread_id"])
    known = terms.of_facts(app.vault, facts, has_attachment=bool(said.attached))
    subject = said.subject.removeprefix("Re: ")
    texts = [said.text, *said.attached.values()]
    words = terms.of_text(app.vault, said.language, subject, said.attached, texts)
    return terms.document(known, words)


@dataclass(frozen=True)
class Made:
    """A posting: its row, its list, and what it says."""

    row: dict[str, Any]
    on: int
    said: Said


@dataclass
class _Batch:
    made: list[Made] = field(default_factory=list)
    threads: list[dict[str, Any]] = field(default_factory=list)
    placements: list[dict[str, Any]] = field(default_factory=list)
    outbox: list[dict[str, Any]] = field(default_factory=list)
    index: dict[int, list[str]] = field(default_factory=dict)

    def add(self, made: Made) -> None:
        row = made.row
        if not row["references"]:
            self.threads.append({"id": row["thread_id"], "started_at": row["received_at"]})
        self.made.append(made)
        self.placements.append(
            {"posting_id": row["id"], "list_id": made.on, "position": 0,
             "placement": Placement.ACCEPTED, "rule": "open"}
        )  # fmt: skip

    def write(self, app: App) -> None:
        noted = [self._noted(one) for one in self.made]
        with app.database.transaction() as session:
            connection = session.connection()
            _insert(connection, Thread, self.threads)
            _insert(connection, Posting, [one.row for one in self.made])
            _insert(connection, PostingList, self.placements)
            _insert(connection, ArchiveEntry, noted)
            _insert(connection, OutboxEntry, self.outbox)
            for one in noted:
                if one["place"] is not None:
                    found = self.index[one["posting_id"]]
                    search_index.replace(session, search_index.POSTINGS, one["place"], found)

    def _noted(self, made: Made) -> dict[str, Any]:
        number, at = made.row["id"], made.row["received_at"]
        there = number in self.index
        return {
            "posting_id": number,
            "attachments": len(made.said.attached) if there else None,
            "language": made.said.language if there else None,
            "place": indexing.place(at, number) if there else None,
            "indexed_at": at if there else None,
        }


def _insert(connection: Connection, table: type[Any], rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(insert(table.__table__), rows)


def _postings(
    app: App,
    chance: random.Random,
    authors: Sequence[Author],
    lists: dict[str, int],
    count: int,
) -> Iterator[Made]:
    """In order of time, threads among each other."""
    languages = wording.vocabularies()
    under_way: list[_Open] = []
    now = app.clock()
    threads = 0
    for number in range(1, count + 1):
        if not under_way or (len(under_way) < UNDER_WAY and chance.random() < 0.6):
            threads += 1
            under_way.append(_begun(chance, languages, lists, threads))
        open_ = chance.choice(under_way)
        author = authors[min(int(chance.paretovariate(0.6)) - 1, len(authors) - 1)]
        at = now - BEGAN + BEGAN * (number / (count + 1))
        vocabulary = languages[open_.language]
        text = wording.text(chance, vocabulary, open_.last)
        subject = f"Re: {open_.subject}" if open_.chain else open_.subject
        said = Said(open_.language, subject, text, mails.attached(chance, number))
        row = _row(app, author, open_, said, number, at)
        yield Made(row, open_.on, said)
        open_.chain = [*open_.chain[:1], *open_.chain[1:][-18:], row["token"]]
        open_.last = text
        open_.left -= 1
        if open_.left == 0:
            under_way.remove(open_)


def _begun(
    chance: random.Random, languages: dict[str, wording.Vocabulary], lists: dict[str, int], id_: int
) -> _Open:
    language = wording.weighted(chance, wording.LANGUAGES)
    words = languages[language].drawn(chance, chance.randint(*wording.SUBJECT))
    return _Open(
        id=id_,
        left=wording.quantile(chance, wording.SIZES),
        on=lists[wording.weighted(chance, LISTS)],
        language=language,
        subject=" ".join(words).capitalize(),
        marking=wording.weighted(chance, MARKINGS),
    )


def _row(
    app: App, author: Author, open_: _Open, said: Said, number: int, at: datetime
) -> dict[str, Any]:
    """Of a posting, signed by its author."""
    sender = f"{author.name} <{author.address}>"
    message_id = f"m{number}@customs.example"
    fields = Fields(
        sender=sender,
        to=(f"list@{app.config.domain}",),
        subject=said.subject,
        date=at.strftime("%a, %d %b %Y %H:%M:%S +0000"),
        message_id=message_id,
        subject_signed=True,
    )
    source = Signed(Form.MULTIPART, mails.signed(author.signer, sender, said, message_id))
    sealed = evidence.seal(app.vault, source, fields, fields, author.certificate)
    return {
        "id": number,
        "token": sealed.token,
        "author_id": author.id,
        "thread_id": open_.id,
        "references": " ".join(open_.chain),
        "received_at": at,
        "signed_at": at,
        "key_fingerprint": author.fingerprint,
        "marking": open_.marking,
        "standing": member.State.ACTIVE.value,
        "urgent": False,
        "withdrawn_at": None,
        "submission": sealed.submission,
        "details": sealed.details,
        "certificate": sealed.certificate,
    }


def _outbox(
    batch: _Batch,
    made: Made,
    count: int,
    wildlife: int,
    desk: int,
    readers: Sequence[int],
    authors: Sequence[Author],
    chance: random.Random,
) -> None:
    """Copies for those who read in a measurement, and of what is strict for some others. Whoever
    else got a posting makes the table larger and no answer slower than its index's depth."""
    row = made.row
    subscriber, ticked_off, expert, moderator, administrator = readers
    strict = row["marking"] in ("TLP:AMBER+STRICT", "TLP:RED")
    if made.on == desk:
        to = {expert}
    elif strict:
        to = {administrator, *(one.id for one in chance.sample(authors, STRICT_READERS))}
    else:
        to = {subscriber, expert, moderator, administrator}
        if made.on != wildlife or row["id"] < count // 2:
            to.add(ticked_off)
    batch.outbox += [
        {"posting_id": row["id"], "notice_id": None, "list_id": made.on, "member_id": one,
         "state": Delivery.SENT, "queued_at": row["received_at"], "next_at": row["received_at"],
         "attempts": 1, "lease_owner": None, "lease_until": None,
         "finished_at": row["received_at"], "reason": None}
        for one in sorted(to)
    ]  # fmt: skip


def _members(app: App) -> list[Author]:
    """Officers with keys; the first few with the roles that READERS says."""
    made = []
    now = app.clock()
    with app.database.transaction() as session:
        wildlife = mailing_list.get(session, "wildlife")
        waste = mailing_list.get(session, "waste")
        coral = add_list(
            session, app, letter="OPC", local_part="coral", title="Coral", description="Coral",
            by_invitation=True,
        )  # fmt: skip
        for number in range(MEMBERS):
            address = f"officer{number}@customs.example"
            name = f"Officer {wording.coined(number)}"
            key = pysequoia.Tsk.generate(f"{name} <{address}>")
            data = bytes(key.extract_certificate())
            row: Member = member.add(
                session, address=address, name=name, organisation=f"Agency {number % 60}",
                kind=Kind.CUSTOMS, country=("KE", "FR", "ES", "GH", "CL")[number % 5], now=now,
            )  # fmt: skip
            held = certificates.admit(session, row, openpgp.read(data), now)
            made.append(Author(row.id, address, name, held.fingerprint, data, key.signer()))
            if number % 10 == 0:
                mailing_list.invite(session, coral, row.id, invited=True)
            if address == READERS.expert:
                member.grant(session, row, Role.EXPERT, wildlife)
            elif address == READERS.moderator:
                member.grant(session, row, Role.MODERATOR, waste)
            elif address == READERS.administrator:
                member.grant(session, row, Role.ADMINISTRATOR, None)
            elif address == READERS.ticked_off:
                row.ticked_off.append(TickOff(list_id=wildlife.id))
    return made
