"""What must hold of every mail that leaves the gateway, judged with the readers' own programs."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import permutations

from pysequoia.packet import PacketPile, Tag

from gateway.crypto import certificate as openpgp
from gateway.message.armor import dearmor
from tests import programs
from tests.officers import Attachment, Officer, Reading, parse, signed_parts
from tests.scenarios.story import Notices, Person

_EVERY_FIELD = frozenset({
    "From", "To", "Date", "Message-ID", "Subject", "Autocrypt", "DKIM-Signature", "MIME-Version",
    "Content-Type",
})  # fmt: skip
COPY_FIELDS = _EVERY_FIELD | {
    "List-Id", "List-Post", "List-Help", "List-Unsubscribe", "List-Archive", "List-Owner",
    "Archived-At",
}  # fmt: skip
THREAD_FIELDS = frozenset({"In-Reply-To", "References"})
NOTICE_FIELDS = _EVERY_FIELD | {"Auto-Submitted"}
NOTICE_COLUMNS = 72
# A posting's line of this length says something of what it is about.
_TELLING = 16
_ARMOR = re.compile(rb"-----BEGIN PGP MESSAGE-----.*?-----END PGP MESSAGE-----", re.DOTALL)
_CLEARTEXT = re.compile(
    rb"-----BEGIN PGP SIGNED MESSAGE-----.*?\r\n\r\n(?P<text>.*?)-----BEGIN PGP SIGNATURE",
    re.DOTALL,
)
_KEYDATA = re.compile(rb"keydata=[^:]*?(?=\r\n\S)", re.DOTALL)
_STRUCTURE = re.compile(
    rb"--(?P<b>\S+)\r\nContent-Type: application/pgp-encrypted\r\n"
    rb"Content-Description: PGP/MIME version identification\r\n\r\nVersion: 1\r\n\r\n--(?P=b)\r\n"
    rb'Content-Type: application/octet-stream; name="encrypted.asc"\r\n'
    rb"Content-Description: OpenPGP encrypted message\r\n"
    rb'Content-Disposition: inline; filename="encrypted.asc"\r\n\r\n'
    rb"-----BEGIN PGP MESSAGE-----\r\n.*-----END PGP MESSAGE-----\r\n\r\n?--(?P=b)--\r\n",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Identity:
    """One of the gateway's own addresses, with the certificate that serves it.

    desk: read by few: experts, moderators, administrators or technical staff. former: certificate
    of the key that it took the place of, while that one signs too.
    """

    address: str
    title: str
    fingerprint: str
    certificate: bytes
    desk: bool = False
    former: bytes | None = None


@dataclass(frozen=True, slots=True)
class Submission:
    """A mail that somebody sent. signed: the octets that its author's signature covers.

    message_id: of a delivered copy, once there is one. posting: whether readers get it, and not
    the gateway alone.
    """

    author: str
    mail: bytes
    signed: bytes
    subject: str
    text: str
    attachments: Sequence[Attachment]
    posting: bool = True
    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """A notice as its reader sees it. shown: subject, text and names of attachments, in lines."""

    message_id: str
    subject: str
    text: str
    shown: str


@dataclass(frozen=True, slots=True)
class Expected:
    """What a copy must show. answers: Message-ID of the posting that it answers; evidence: whether
    the signed original travels along."""

    submission: Submission
    author: Officer
    person: Person
    subject: str
    answers: str | None
    says: Sequence[str]
    evidence: bool


def signed_octets(author: Officer, mail: bytes) -> bytes:
    """What the author signed, taken from their own mail with their own key."""
    plain = author.read(mail).plain
    if parse(plain).get_content_type() == "multipart/signed":
        return signed_parts(plain)[0]
    cleartext = _CLEARTEXT.search(plain)
    return cleartext.group("text") if cleartext else plain


def check_copy(
    raw: bytes, reader: Officer, origin: Identity, expected: Expected, needles: Sequence[str]
) -> str:
    """A posting's copy as one subscriber got it; returns its Message-ID. needles: what must not be
    readable outside the encryption."""
    reading = _check_letter(raw, reader, origin)
    fields = set(reading.outer.keys())
    wanted = COPY_FIELDS | (THREAD_FIELDS if expected.answers else frozenset())
    # A desk is no list to subscribe to, nor has it an archive for all.
    needed = _EVERY_FIELD | {"List-Id"} if origin.desk else wanted
    assert needed <= fields <= wanted, f"outer fields: {sorted(fields ^ wanted)}"
    assert reading.outer["Subject"] == f"[{origin.title}] ..."
    assert reading.outer["From"] == f"ENVIRONET {origin.title} <{origin.address}>"
    assert reading.outer["To"] == origin.address
    assert reading.outer["List-Id"].endswith(f" <{origin.address.replace('@', '.')}>")
    outside = _KEYDATA.sub(b"", _ARMOR.sub(b"", raw)).decode().casefold()
    for needle in needles:
        assert needle.casefold() not in outside, f"{needle!r} can be read outside"
    if expected.answers:
        assert reading.outer["In-Reply-To"] == expected.answers
        assert reading.outer["References"].split()[-1] == expected.answers
    for one in _ids(reading, "References"):
        assert re.fullmatch(rf"<[0-9a-f]{{32}}@{_domain(origin.address)}>", one), one
    _check_content(reading, origin, expected)
    if expected.evidence:
        _check_evidence(reading, expected)
    assert (reading.evidence is not None) == expected.evidence
    return str(reading.outer["Message-ID"])


def check_notice(raw: bytes, reader: Officer, origin: Identity) -> Told:
    """A mail of the gateway's own, encrypted to one reader."""
    reading = _check_letter(raw, reader, origin)
    assert reading.outer["Subject"] == "[ENVIRONET] ..."
    return _told(reading, reader, origin)


def check_plain_notice(
    raw: bytes, reader: Officer, origin: Identity, needles: Sequence[str]
) -> Told:
    """A mail of the gateway's own to who has no key that serves: signed, and without content.
    needles: what postings are about."""
    reading = reader.read(raw)
    assert reading.outer.get_content_type() == "multipart/signed", "it is not signed alone"
    assert b"-----BEGIN PGP MESSAGE-----" not in raw, "something in it is encrypted"
    _check_signatures(reading, origin)
    told = _told(reading, reader, origin)
    decoded = _one_line(f"{told.shown}\n{raw.decode(errors='replace')}").casefold()
    for needle in needles:
        assert _one_line(needle).casefold() not in decoded, f"a plain notice says {needle!r}"
    return told


def check_told(told: Sequence[Told], wanted: Notices, lacks: Collection[str]) -> None:
    """Each of one person's notices says all of what one of `wanted` asks for, in any order, and
    none says anything that it may not. Where lines are broken counts for nothing."""
    shown = "\n\n".join(one.shown for one in told)
    for word in lacks:
        assert _one_line(word) not in _one_line(shown), f"a notice says {word!r}:\n{shown}"
    lines = [_one_line(one.shown) for one in told]
    good = any(
        all(_one_line(word) in line for line, words in zip(order, wanted, strict=True)
            for word in words)
        for order in permutations(lines)
    )  # fmt: skip
    assert good, f"the notices do not say {wanted!r}:\n{shown}"


def content_of(submission: Submission) -> list[str]:
    """What a posting is about, which nobody but its readers may learn."""
    lines = [one.strip() for one in submission.text.splitlines()]
    names = [name for name, _, _ in submission.attachments]
    return [submission.subject, *names, *(one for one in lines if len(one) >= _TELLING)]


def _told(reading: Reading, reader: Officer, origin: Identity) -> Told:
    """What plain and encrypted notices have in common."""
    outer = reading.outer
    fields = set(outer.keys())
    assert NOTICE_FIELDS <= fields <= NOTICE_FIELDS | THREAD_FIELDS, f"fields: {sorted(fields)}"
    assert outer["From"] == f"ENVIRONET <{origin.address}>", outer["From"]
    assert outer["To"] == reader.address
    # RFC 3834 5.1
    kind = "auto-replied" if "In-Reply-To" in fields else "auto-generated"
    assert outer["Auto-Submitted"] in (kind, "auto-replied"), outer["Auto-Submitted"]
    for line in reading.first_text.splitlines():
        can_be_broken = " " in line.strip() and not line.startswith(">")
        assert len(line) <= NOTICE_COLUMNS or not can_be_broken, f"a long line: {line}"
    subject = str(reading.entity["Subject"] or outer["Subject"])
    shown = "\n".join([subject, reading.text, *reading.attachments])
    return Told(str(outer["Message-ID"]), subject, reading.first_text, shown)


def _check_letter(raw: bytes, reader: Officer, origin: Identity) -> Reading:
    """What copies and notices have in common."""
    head, _, body = raw.partition(b"\r\n\r\n")
    assert _STRUCTURE.fullmatch(body), "the mail's frame is not as RFC 3156 4 has it"
    names = [line.partition(b":")[0] for line in head.split(b"\r\n") if line[:1] not in b" \t"]
    once = [name for name in names if name != b"DKIM-Signature"]  # one a key
    assert len(once) == len(set(once)), "a header field stands twice"
    reading = reader.read(raw)
    assert reading.pkesk_key_ids, "not encrypted"
    assert set(reading.pkesk_key_ids) <= encryption_keys(reader), "encrypted to somebody else too"
    _check_signatures(reading, origin)
    now = datetime.now(UTC)
    for date in (reading.outer["Date"], reading.entity["Date"]):
        assert abs(now - parsedate_to_datetime(date)) < timedelta(minutes=10), "Date is not now"
    for name in ("To", "Date", "Message-ID"):
        assert str(reading.entity[name]) == str(reading.outer[name]), f"{name} differs inside"
    told = {value.partition(":")[0] for value in reading.entity.get_all("HP-Outer", [])}
    assert {"From", "To", "Date", "Message-ID", "Subject"} <= told
    return reading


def _check_signatures(reading: Reading, origin: Identity) -> None:
    """By gpg's word; most programs show the first one, so that is of the key that readers know."""
    former = [] if origin.former is None else [origin.former]
    found: tuple[str, ...] = ()
    if parse(reading.plain).get_content_type() == "multipart/signed":
        certificates = [*former, origin.certificate]
        found = programs.verify_by_all(*signed_parts(reading.plain), certificates)
    wanted = (*(openpgp.read(one).fingerprint for one in former), origin.fingerprint)
    assert found == wanted, f"the gateway's signature is not good: {found}"


def _check_content(reading: Reading, origin: Identity, expected: Expected) -> None:
    person, submission = expected.person, expected.submission
    shown = reading.text
    assert reading.entity["Subject"] == expected.subject
    via = f"{person.name} ({person.organisation}, {person.country}) via {origin.title}"
    assert _mailbox(reading) == (via, origin.address)
    assert f"Author:    {person.name} <{person.address}>, {person.organisation}" in shown
    assert expected.author.fingerprint in shown
    assert submission.text.strip() in shown, "the text is not as it was written"
    for told in expected.says:
        assert told in shown, f"the copy does not say {told!r}:\n{shown}"
    wanted = {name: content for name, _, content in submission.attachments}
    assert reading.attachments == wanted, "attachments were changed"


def _check_evidence(reading: Reading, expected: Expected) -> None:
    """The author's signature is good, by gpg's word, over exactly what they signed."""
    name, evidence = reading.evidence_name or "", reading.evidence or b""
    certificate = expected.author.certificate
    if name.endswith(".eml"):
        signed, signature = signed_parts(evidence)
        signer = programs.verify_detached(signed, signature, certificate)
        assert signed == _crlf(expected.submission.signed)
    else:
        signer, signed = programs.verify_message(evidence, certificate)
        assert _lines(signed) == _lines(expected.submission.signed)
    assert signer == expected.author.fingerprint, f"{name}: the author's signature is not good"


def encryption_keys(officer: Officer) -> set[str]:
    """Key IDs of the subkeys in an officer's certificate."""
    pile = PacketPile.from_bytes(dearmor(officer.certificate, "PUBLIC KEY BLOCK"))
    subkeys = (one.fingerprint or "" for one in pile if one.tag == Tag.PublicSubkey)
    return {fingerprint[-16:].upper() for fingerprint in subkeys}


def needles_of(
    submission: Submission, people: Mapping[str, Person], headers: Mapping[str, str]
) -> list[str]:
    """What a copy of this mail must not show outside: who wrote it and with what, what it is about,
    and who else reads it."""
    mail = parse(submission.mail)
    author = people[submission.author]
    found = [one.name for one in people.values()] + [one.address for one in people.values()]
    found += [author.organisation, _domain(author.address), submission.subject, *headers.values()]
    return [*found, str(mail["Message-ID"]).strip("<>")]


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _mailbox(reading: Reading) -> tuple[str, str]:
    address = reading.entity["From"].addresses[0]
    return address.display_name, address.addr_spec


def _ids(reading: Reading, name: str) -> list[str]:
    return str(reading.outer.get(name, "")).split()


def _domain(address: str) -> str:
    return address.partition("@")[2]


def _crlf(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _lines(data: bytes) -> list[bytes]:
    return [line.rstrip() for line in data.strip().splitlines()]
