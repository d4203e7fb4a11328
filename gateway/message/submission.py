"""An author's signed object, and what follows from it: the signed bytes, the payload, the evidence.

The object as received is what the gateway keeps; everything else is derived from it when needed, so
what subscribers read and what the evidence shows can't differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.errors import Malformed, TooLarge
from gateway.message import armor, entity, signed
from gateway.message.entity import Entity
from gateway.message.pgpmime import (
    Form,
    Signed,
    cleartext_signed,
    decoded_body,
    multipart_signed,
)
from gateway.message.protected import Fields

MOST_NESTING = 20
_BOUNDARY = "original-signed-object"


@dataclass(frozen=True, slots=True)
class Content:
    """body: exactly what the signatures cover; payload: the MIME entity in it that readers see."""

    body: bytes
    signatures: tuple[bytes, ...]
    payload: bytes


def content(source: Signed, limit: int) -> Content:
    """Open a signed object. Raises Malformed; TooLarge where it inflates over `limit` bytes."""
    match source.form:
        case Form.MESSAGE | Form.INLINE:
            message = signed.open_message(source.data, limit)
            inline = source.form is Form.INLINE
            payload = _text_entity(message.body) if inline else message.body
            return Content(message.body, message.signatures, payload)
        case Form.MULTIPART:
            body, signatures = multipart_signed(source.data)
            return Content(body, signatures, body)
        case Form.CLEARTEXT:
            body, signatures = cleartext_signed(source.data)
            return Content(body, signatures, _text_entity(body))


def evidence(source: Signed, opened: Content, fields: Fields) -> tuple[str, bytes]:
    """(file name, bytes) of the signed original, for whoever checks it with a program of their own.

    A mail that such a program opens and finds well signed, wherever the signature covers the CRLF
    form that MIME has; else the OpenPGP object as it was.
    """
    if source.form is Form.MULTIPART:
        return "original-signed.eml", _header(fields) + entity.crlf(source.data)
    if source.form is Form.CLEARTEXT:
        return "original-signed.asc", source.data
    facts = [signed.signature_facts(packet) for packet in opened.signatures]
    survives_crlf = opened.body == entity.crlf(opened.body)
    if source.form is Form.INLINE or not (survives_crlf or all(one.type == 1 for one in facts)):
        return "original-signed.pgp", armor.armor(source.data, "MESSAGE")
    boundary = _BOUNDARY
    while boundary.encode() in opened.body:
        boundary += "-"
    block = entity.crlf(armor.armor(b"".join(opened.signatures), "SIGNATURE"))
    type_field = (
        f'Content-Type: multipart/signed; micalg="{signed.micalg(facts[0].hash)}";\r\n'
        f' protocol="application/pgp-signature"; boundary="{boundary}"\r\n\r\n'
    )
    delimiter = f"--{boundary}".encode()
    return "original-signed.eml", b"".join(
        (
            _header(fields),
            type_field.encode(),
            delimiter + b"\r\n",
            entity.crlf(opened.body),
            b"\r\n" + delimiter + b"\r\nContent-Type: application/pgp-signature\r\n\r\n",
            block.rstrip(b"\r\n"),
            b"\r\n" + delimiter + b"--\r\n",
        )
    )


def text_parts(payload: Entity, depth: int = 0) -> Iterator[str]:
    """The payload's plain text parts, in order; attachments and other types left out.

    Raises TooLarge on nesting deeper than 20.
    """
    if depth > MOST_NESTING:
        raise TooLarge("MIME nesting deeper than 20")
    if payload.fields.get_content_maintype() == "multipart":
        for part in payload.parts():
            yield from text_parts(part, depth + 1)
    elif (
        payload.content_type == "text/plain"
        and payload.fields.get_content_disposition() != "attachment"
    ):
        yield text(payload)


def attachment_names(payload: Entity, depth: int = 0) -> Iterator[str]:
    """File names, or types, of the parts that are not shown as text."""
    if depth > MOST_NESTING:
        raise TooLarge("MIME nesting deeper than 20")
    if payload.fields.get_content_maintype() == "multipart":
        for part in payload.parts():
            yield from attachment_names(part, depth + 1)
    elif (
        payload.content_type != "text/plain"
        or payload.fields.get_content_disposition() == "attachment"
    ):
        yield entity.decoded(payload.fields.get_filename() or payload.content_type)


def text(part: Entity) -> str:
    """A text part, decoded by its charset; UTF-8 where that is unknown; odd bytes replaced."""
    charset = part.fields.get_content_charset() or "utf-8"
    body = decoded_body(part)
    try:
        return body.decode(charset, "replace")
    except LookupError:
        return body.decode("utf-8", "replace")


def first_lines(payload: bytes, count: int = 2, width: int = 200) -> str:
    """The first written lines of the first text part, where a marking may stand."""
    try:
        first = next(text_parts(entity.read(payload)), "")
    except Malformed:
        return ""
    written = (line.strip() for line in first[:10_000].splitlines())
    # A quotation's marking is that of the posting quoted.
    lines = [line[:width] for line in written if line and not line.startswith(">")]
    return "\n".join(lines[:count])


def _text_entity(text_bytes: bytes) -> bytes:
    """Plain text of an old program as a MIME entity; such text is UTF-8, or else Latin-1."""
    try:
        text_bytes.decode("utf-8")
        charset = "utf-8"
    except UnicodeDecodeError:
        charset = "iso-8859-1"
    header = f"Content-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: 8bit\r\n"
    return header.encode() + b"\r\n" + entity.crlf(text_bytes)


def _header(fields: Fields) -> bytes:
    """The author's From, To, Date and Subject as RFC 5322 fields."""
    rows = (
        ("From", fields.sender),
        ("To", ", ".join(fields.to)),
        ("Cc", ", ".join(fields.cc)),
        ("Date", fields.date),
        ("Subject", fields.subject),
    )
    lines = [entity.encoded_field(name, value) for name, value in rows if value]
    return b"".join(lines) + b"MIME-Version: 1.0\r\n"
