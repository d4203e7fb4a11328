"""Evidence that speaks for itself: a ZIP file that gpg and sha256sum confirm, without the gateway.

docs/evidence.md says what is in it. It is made as it is sent, one posting at a time.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.app import App
from gateway.archive import attestation
from gateway.archive.exporting import Selection, opened
from gateway.errors import Malformed
from gateway.message.armor import armor
from gateway.message.pgpmime import Form
from gateway.message.submission import Content
from gateway.posting import evidence, presenting, visibility
from gateway.posting.evidence import Kept
from gateway.resources import mail_templates
from gateway.store import ledger
from gateway.store.ledger import LedgerEntry
from gateway.store.mailing_list import Purpose, own_key
from gateway.store.member import Member
from gateway.store.posting import Posting, PostingList, Standing

_TOLD = ("accepted", "approved", "marked", "withdrawn")
"""Entries of the ledger that tell how a posting came to its readers. Who read it is nobody's."""
_FOR_ANYBODY = 0o644 << 16


@dataclass(slots=True)
class _Zip:
    """A ZIP file that is taken away in pieces while it grows."""

    moment: datetime
    hashes: dict[str, str] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    _pieces: list[bytes] = field(default_factory=list)
    _file: zipfile.ZipFile = field(init=False)

    def __post_init__(self) -> None:
        self._file = zipfile.ZipFile(self, "w", zipfile.ZIP_DEFLATED)  # type: ignore[call-overload]

    def write(self, data: bytes) -> int:
        """What zipfile asks of a file that can't be sought in."""
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits."""

    def add(self, name: str, data: bytes) -> None:
        about = zipfile.ZipInfo(name, self.moment.timetuple()[:6])
        about.external_attr, about.compress_type = _FOR_ANYBODY, zipfile.ZIP_DEFLATED
        self._file.writestr(about, data)
        self.hashes[name] = sha256(data).hexdigest()

    def end(self) -> None:
        self._file.close()

    def taken(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def as_zip(
    app: App, chosen: Selection, member: Member, topics: Collection[int], now: datetime
) -> Iterator[bytes]:
    """The bundle in pieces. topics: ids of the lists that the member may know of."""
    made = _Zip(now)
    labels: dict[str, Collection[str]] = {}
    for one in chosen.ids:
        with opened(app, one, member) as (session, posting):
            if posting is not None:
                lists = visibility.placements(posting, topics)
                labels[posting.label] = {on.mailing_list.local_part for on in lists}
                for name, data in _files(session, app, posting, lists):
                    made.add(f"{posting.label}/{name}", data)
                made.commands += _commands(made, posting.label)
        yield made.taken()
    with app.database.reading() as session:
        key = own_key(session, Purpose.ARCHIVE)
        extract = _ledger(session, labels)
    made.add("ledger.json", extract)
    made.add("archive-key.asc", armor(key.certificate, "PUBLIC KEY BLOCK", b"\n"))
    made.add("README.txt", _readme(app, chosen, member, key.fingerprint, made.commands, now))
    manifest = "".join(f"{value}  {name}\n" for name, value in made.hashes.items()).encode()
    made.add("SHA256SUMS", manifest)
    made.add("SHA256SUMS.asc", app.keyring.sign(manifest, key.fingerprint)[0])
    made.end()
    yield made.taken()


def _files(
    session: Session, app: App, posting: Posting, lists: list[PostingList]
) -> Iterator[tuple[str, bytes]]:
    """(name, content) of all that there is of a posting."""
    verdict = _verdict(posting, lists)
    if posting.withdrawn_at is None:
        try:
            kept, content = evidence.opened(app.vault, posting)
        except Malformed:
            verdict["fault"] = "what is kept of it was damaged"
        else:
            yield from _signed(kept, content)
            verdict |= _checked(session, app, posting, kept, content)
    yield "verdict.json", _json(verdict)


def _signed(kept: Kept, content: Content) -> Iterator[tuple[str, bytes]]:
    """What the author signed, as gpg takes it, and the certificate with which it was verified."""
    match kept.source.form:
        case Form.IMPORTED:
            yield "unverified.eml", kept.source.data
            return
        case Form.MULTIPART:
            yield "signed", content.body
            yield "signature.asc", armor(b"".join(content.signatures), "SIGNATURE", b"\n")
        case Form.CLEARTEXT:
            yield "message.asc", kept.source.data
        case Form.MESSAGE | Form.INLINE:
            yield "message.pgp", kept.source.data
    yield "certificate.asc", armor(kept.certificate, "PUBLIC KEY BLOCK", b"\n")


def _commands(made: _Zip, label: str) -> list[str]:
    """What confirms a posting."""
    if f"{label}/certificate.asc" not in made.hashes:
        return [f"# {label}: nothing signed"]
    verify = next(
        arguments
        for name, arguments in (
            ("signature.asc", f"{label}/signature.asc {label}/signed"),
            ("message.asc", f"{label}/message.asc"),
            ("message.pgp", f"{label}/message.pgp"),
        )
        if f"{label}/{name}" in made.hashes
    )
    return [f"gpg --import {label}/certificate.asc", f"gpg --verify {verify}"]


def _verdict(posting: Posting, lists: list[PostingList]) -> dict[str, Any]:
    author = posting.author
    found: dict[str, Any] = {
        "posting": posting.label,
        "token": posting.token,
        "marking": posting.marking,
        "standing": posting.standing,
        "received_at": posting.received_at,
        "lists": [{"list": one.mailing_list.local_part, "rule": one.rule} for one in lists],
        "withdrawn_at": posting.withdrawn_at,
        "verified": posting.standing is not Standing.UNVERIFIED,
    }
    if posting.standing is Standing.UNVERIFIED:
        return found
    return found | {
        "signed_at": posting.signed_at,
        "key": posting.key_fingerprint,
        "author": {
            "member": author.id,
            "name": author.name,
            "address": author.address,
            "organisation": author.organisation,
            "country": author.country,
        },
    }


def _checked(
    session: Session, app: App, posting: Posting, kept: Kept, content: Content
) -> dict[str, Any]:
    if posting.standing is Standing.UNVERIFIED:
        return {"claimed_author": presenting.claimed_author(kept)}
    return {"checked_again": asdict(attestation.check(session, app, posting, kept, content))}


def _ledger(session: Session, labels: dict[str, Collection[str]]) -> bytes:
    """The entries about some postings, and the head of the chain that they are in. labels: each
    with the lists that the reader may know it to be on."""
    columns = (LedgerEntry.sequence, LedgerEntry.at, LedgerEntry.event, LedgerEntry.detail,
               LedgerEntry.previous, LedgerEntry.hash)  # fmt: skip
    query = select(*columns).where(LedgerEntry.event.in_(_TOLD)).order_by(LedgerEntry.sequence)
    found = []
    for one in session.execute(query.execution_options(yield_per=1000)):
        # Without reading the JSON of each: most are about others.
        label = one.detail.partition('"posting":"')[2].partition('"')[0]
        if label in labels and json.loads(one.detail).get("list") in {None, *labels[label]}:
            at = one.at.isoformat(timespec="microseconds")
            found.append(one._asdict() | {"at": at})
    head = ledger.head(session)
    return _json({"head": {"sequence": head.sequence, "hash": head.hash}, "entries": found})


def _readme(
    app: App,
    chosen: Selection,
    member: Member,
    fingerprint: str,
    commands: list[str],
    now: datetime,
) -> bytes:
    text = (
        mail_templates()
        .get_template("evidence.txt")
        .render(
            gateway=app.config.name,
            domain=app.config.domain,
            fingerprint=fingerprint,
            member=member,
            now=f"{now:%Y-%m-%d %H:%M}",
            postings=len(chosen.ids),
            staying=len(chosen.staying),
            cut=chosen.cut,
            commands=commands,
        )
    )
    return text.encode()


def _json(value: dict[str, Any]) -> bytes:
    text = json.dumps(value, indent=2, ensure_ascii=False, default=_as_text)
    return text.encode() + b"\n"


def _as_text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
