"""Header fields that matter to a posting, and which of them the author protected (RFC 9788)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from gateway.message import address
from gateway.message.entity import Entity, decoded
from gateway.message.thread import PLACEHOLDERS

_MESSAGE_ID = re.compile(r"<([^<>\s@]{1,200}@[^<>\s@]{1,250})>")
_MOST_REFERENCES = 50
_PARAMETER = re.compile(r';\s*([^=;"\s]+)\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^;"]*)')
_LINE_END = re.compile(r"\r?\n")
_PROTECTION = ("hp", "protected-headers")
_CONTENT_FIELDS = ("content-type", "content-transfer-encoding", "content-disposition",
                   "content-description", "content-language", "content-id")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fields:
    """Decoded fields. senders, to, cc: whom From, To and Cc name, as `address.named_in` has it.
    Message-IDs without angle brackets, references and in_reply_to nearest last, as they stand.
    subject_signed: the subject is under the signature."""

    sender: str = ""
    senders: tuple[str, ...] = ()
    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    subject: str = ""
    date: str = ""
    message_id: str = ""
    in_reply_to: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    subject_signed: bool = False

    @property
    def sender_address(self) -> str:
        """The one normal address in From, "" where it names nobody, several or somebody else."""
        one = self.senders[0] if len(self.senders) == 1 else ""
        return one if one == address.normalise(one) else ""

    @property
    def recipients(self) -> tuple[str, ...]:
        return self.to + self.cc

    @property
    def answered(self) -> tuple[str, ...]:
        """Message-IDs that it answers, nearest first, each once."""
        nearest_first = [*reversed(self.in_reply_to), *reversed(self.references)]
        return tuple(dict.fromkeys(nearest_first))


def fields_of(entity: Entity) -> Fields:
    ids = _MESSAGE_ID.findall(entity.field("message-id"))
    return Fields(
        sender=entity.field("from"),
        senders=address.named_by(entity, "from"),
        to=address.named_by(entity, "to"),
        cc=address.named_by(entity, "cc"),
        subject=entity.field("subject"),
        date=entity.field("date"),
        message_id=ids[0] if ids else "",
        in_reply_to=tuple(_MESSAGE_ID.findall(entity.field("in-reply-to"))[-_MOST_REFERENCES:]),
        references=tuple(_MESSAGE_ID.findall(entity.field("references"))[-_MOST_REFERENCES:]),
    )


def protected_fields(payload: Entity) -> Fields | None:
    """The fields inside the signed payload, where it says that it protects them.

    RFC 9788 2.1.1 marks such a payload with hp="clear" or "cipher"; programs before it, and
    Thunderbird still, with protected-headers="v1".
    """
    if payload.parameter("hp") in ("clear", "cipher"):
        return fields_of(payload)
    if payload.parameter("protected-headers") == "v1":
        return fields_of(payload)
    return None


def is_whole(payload: Entity) -> bool:
    """Whether a payload has all fields of its mail inside (RFC 9788 2.1.1), not some of them."""
    return payload.parameter("hp") in ("clear", "cipher")


def merged(outer: Fields, protected: Fields | None, *, whole: bool = False) -> Fields:
    """What the author meant: a protected field wins; what is not protected is taken from outside.

    An outer placeholder for a subject ("...") is no subject. whole: see `is_whole`. What such a
    mail answers has to stand inside, as it decides on who reads it.
    """
    if protected is None:
        return outer
    if whole:
        outer = replace(outer, in_reply_to=(), references=())
    subject = "" if outer.subject in PLACEHOLDERS else outer.subject
    return replace(
        outer,
        sender=protected.sender or outer.sender,
        senders=(protected if protected.sender else outer).senders,
        to=protected.to or outer.to,
        cc=protected.cc or outer.cc,
        subject=protected.subject or subject,
        date=protected.date or outer.date,
        message_id=protected.message_id or outer.message_id,
        in_reply_to=protected.in_reply_to or outer.in_reply_to,
        references=protected.references or outer.references,
        subject_signed=bool(protected.subject),
    )


def differing(mail: Entity, payload: Entity) -> tuple[str, ...]:
    """Names of the fields that stand outside with another value than the protected one.

    A value that the author's program put there itself is none: a placeholder for a subject, or what
    HP-Outer says of it (RFC 9788 2.2).
    """
    outer, protected = fields_of(mail), fields_of(payload)
    sent = {str(one).partition(":")[0].strip().lower(): str(one).partition(":")[2].strip()
            for one in payload.fields.get_all("hp-outer", [])[:_MOST_REFERENCES]}  # fmt: skip
    pairs = (
        ("From", outer.senders, protected.senders),
        ("To", outer.to, protected.to),
        ("Cc", outer.cc, protected.cc),
        ("Subject", outer.subject, protected.subject),
        ("Date", outer.date, protected.date),
    )
    return tuple(
        name
        for name, outside, inside in pairs
        if outside and inside and outside != inside
        and mail.field(name) != decoded(sent.get(name.lower(), ""))
        and not (name == "Subject" and outside in PLACEHOLDERS)
    )  # fmt: skip


def content_only(payload: Entity) -> bytes:
    """An author's payload as a plain MIME part: content fields alone, no protected headers."""
    body = memoryview(payload.buffer)[payload.body_start : payload.end]
    return b"".join((content_header(payload), b"\r\n", body))


def content_header(payload: Entity) -> bytes:
    """The header of `content_only`, CRLF lines, in UTF-8; the fields as they stand but for the
    marks of protection, which would be untrue where nothing is protected any more."""
    lines = []
    for name, value in payload.fields.items():
        if name.lower() in _CONTENT_FIELDS:
            kept = _PARAMETER.sub(_unprotected, value) if name.lower() == "content-type" else value
            folded = "\r\n ".join(line.strip() for line in _LINE_END.split(kept.strip()))
            lines.append(f"{name}: {folded}\r\n")
    return "".join(lines).encode()


def _unprotected(parameter: re.Match[str]) -> str:
    """Nothing of one that says what is protected; any other as it stands, quoted or not."""
    return "" if parameter[1].lower() in _PROTECTION else parameter[0]
