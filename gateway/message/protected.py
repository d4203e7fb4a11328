"""Header fields that matter to a posting, and which of them the author protected (RFC 9788)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from gateway.message import address
from gateway.message.entity import Entity, read

_MESSAGE_ID = re.compile(r"<([^<>\s@]{1,200}@[^<>\s@]{1,250})>")
_MOST_REFERENCES = 50
_PLACEHOLDERS = frozenset({"", "...", "[...]", "Encrypted Message", "Encrypted email"})
_CONTENT_FIELDS = ("content-type", "content-transfer-encoding", "content-disposition",
                   "content-description", "content-language", "content-id")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fields:
    """Decoded fields. to, cc: normal addresses; Message-IDs without angle brackets, references and
    in_reply_to nearest last, as they stand."""

    sender: str = ""
    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    subject: str = ""
    date: str = ""
    message_id: str = ""
    in_reply_to: tuple[str, ...] = ()
    references: tuple[str, ...] = ()

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
        to=address.in_field(entity.field("to")),
        cc=address.in_field(entity.field("cc")),
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


def merged(outer: Fields, protected: Fields | None) -> Fields:
    """What the author meant: a protected field wins; what is not protected is taken from outside.

    An outer placeholder for a subject ("...") is no subject.
    """
    if protected is None:
        return outer
    subject = "" if outer.subject in _PLACEHOLDERS else outer.subject
    return replace(
        outer,
        sender=protected.sender or outer.sender,
        to=protected.to or outer.to,
        cc=protected.cc or outer.cc,
        subject=protected.subject or subject,
        date=protected.date or outer.date,
        message_id=protected.message_id or outer.message_id,
        in_reply_to=protected.in_reply_to or outer.in_reply_to,
        references=protected.references or outer.references,
    )


def content_only(payload: bytes) -> bytes:
    """An author's payload as a plain MIME part: content fields alone, no protected headers."""
    entity = read(payload)
    fields = entity.fields
    for parameter in ("hp", "protected-headers"):
        fields.del_param(parameter)
    lines = [
        _line(name.title(), str(value))
        for name, value in fields.items()
        if name.lower() in _CONTENT_FIELDS
    ]
    return "".join(lines).encode("utf-8", "surrogateescape") + b"\r\n" + entity.body


def _line(name: str, value: str) -> str:
    return f"{name}: " + re.sub(r"[\r\n]+[ \t]*", "\r\n ", value.strip()) + "\r\n"
