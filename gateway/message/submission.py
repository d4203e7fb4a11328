"""An author's signed object, and what follows from it: the signed bytes, the payload, the evidence.

The object as received is what the gateway keeps; everything else is derived from it when needed, so
what subscribers read and what the evidence shows can't differ.
"""

from __future__ import annotations

import binascii
import codecs
import quopri
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from gateway.errors import Malformed, TooLarge
from gateway.message import armor, entity, one_meaning, signed
from gateway.message.entity import Entity
from gateway.message.pgpmime import (
    Form,
    Signed,
    cleartext_signed,
    multipart_signed,
)

MOST_NESTING = 20
MOST_ENTITIES = 2000
"""Parts of a whole mail, at every depth together."""
_FIRST_BYTES = 64 * 1024
_PIECE = 1 << 20
_TYPE_FIELD = re.compile(rb"^content-type[ \t]*:", re.IGNORECASE | re.MULTILINE)
_ASCII = bytes(range(32, 127))
_TOKEN = re.compile(r"[\w.:+-]+", re.ASCII)
_BARE_CR = re.compile(rb"\r(?!\n)")
# Only charsets of mail: Python knows codecs besides whose decoding takes for ever, and some that
# mail programs don't know, and show as ASCII.
_CHARSETS = re.compile(
    r"ascii|utf-(8|16)(-[bl]e)?|iso8859-\d+|cp\d+|koi8-[rtu]|mac-[a-z0-9]+|big5(hkscs)?|gb2312"
    r"|gbk|gb18030|euc_[a-z0-9_]+|shift_[a-z0-9_]+|iso2022_jp|johab|tis-620"
)


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
            body, packets = message.body, message.signatures
        case Form.MULTIPART:
            body, packets = multipart_signed(source.data)
        case Form.CLEARTEXT:
            body, packets = cleartext_signed(source.data)
        case Form.IMPORTED:
            return Content(source.data, (), _imported(source.data))
    signatures = tuple(packet for packet in packets if _counts(packet))
    is_lines = any(signed.signature_facts(one).type == signed.TEXT for one in signatures)
    # Sequoia takes a bare CR for the end of a line: a text with some line ends changed to it would
    # verify and be read quite differently.
    if is_lines and _BARE_CR.search(body):
        raise Malformed("text signature over bare CR")
    payload = body
    if signatures and source.form in (Form.INLINE, Form.CLEARTEXT):
        # The sender chooses the form, which no signature covers: a MIME entity shown as text would
        # lose its protected headers.
        if _begins_with_a_header(body):
            raise Malformed("a MIME entity presented as text")
        payload = _text_entity(body, source.charset)
    return Content(body, signatures, payload)


def _begins_with_a_header(text: bytes) -> bool:
    """Whether a text could be a MIME entity's."""
    try:
        return "content-type" in entity.read(text[: entity.MOST_HEADER_BYTES]).fields
    except TooLarge:  # a text of very many lines without an empty one
        return bool(_TYPE_FIELD.search(text[: entity.MOST_HEADER_BYTES]))


def check_payload(opened: Content) -> None:
    """Raises Malformed where a signed payload can't be shown as exactly what was signed."""
    payload = entity.read(opened.payload)
    # The reverse of the above: signed text presented as MIME would lose its first paragraph.
    if not payload.is_mime:
        raise Malformed("signed payload without a MIME header")
    one_meaning.check_whole(payload)
    for part in entities(payload):
        one_meaning.check(part)


def evidence(
    source: Signed, opened: Content, fields: Sequence[tuple[str, str]]
) -> tuple[str, bytes]:
    """(file name, bytes) of the signed original, for whoever checks it with a program of their own.

    A mail that such a program opens and finds well signed, wherever the signature covers the CRLF
    form that MIME has; else the OpenPGP object as it was. Nothing else of the author's mail is in
    it: what is not signed would look as if it were. fields: the header that stands over it.
    """
    if source.form is Form.CLEARTEXT:
        return "original-signed.asc", source.data
    if source.form is Form.IMPORTED:
        return "original-unverified.eml", source.data
    facts = [signed.signature_facts(packet) for packet in opened.signatures]
    is_text = all(one.type == signed.TEXT for one in facts)
    survives_crlf = is_text or opened.body == entity.crlf(opened.body)
    if source.form is Form.INLINE or not survives_crlf:
        return "original-signed.pgp", armor.armor(source.data, "MESSAGE")
    # The same each time, and nothing has its own hash in it.
    boundary = f"original-signed-{sha256(opened.body).hexdigest()[:32]}"
    block = entity.crlf(armor.armor(b"".join(opened.signatures), "SIGNATURE"))
    type_field = (
        f'Content-Type: multipart/signed; micalg="{signed.micalg(facts[0].hash)}";\r\n'
        f' protocol="application/pgp-signature"; boundary="{boundary}"\r\n\r\n'
    )
    delimiter = f"--{boundary}".encode()
    return "original-signed.eml", b"".join(
        (
            *(entity.encoded_field(name, value) for name, value in fields if value),
            b"MIME-Version: 1.0\r\n",
            type_field.encode(),
            delimiter + b"\r\n",
            entity.crlf(opened.body),
            b"\r\n" + delimiter + b"\r\nContent-Type: application/pgp-signature\r\n\r\n",
            block.rstrip(b"\r\n"),
            b"\r\n" + delimiter + b"--\r\n",
        )
    )


def leaves(payload: Entity) -> Iterator[Entity]:
    """The parts that are no multiparts themselves, in order. Raises as `entities`."""
    return (part for part in entities(payload) if not part.is_multipart)


def entities(payload: Entity) -> Iterator[Entity]:
    """A payload and all parts in it, in order, each before those that it consists of.

    Raises TooLarge on nesting deeper than 20 and on more than 2,000 parts in all.
    """
    waiting = [(payload, 0)]
    seen = 0
    while waiting:
        part, depth = waiting.pop()
        yield part
        if not part.is_multipart:
            continue
        if depth == MOST_NESTING:
            raise TooLarge("MIME nesting deeper than 20")
        inside = [(one, depth + 1) for one in part.parts(MOST_ENTITIES - seen)]
        seen += len(inside)
        waiting.extend(reversed(inside))


def is_text(part: Entity) -> bool:
    return part.content_type == "text/plain" and not part.is_attachment


def text_parts(payload: Entity) -> Iterator[str]:
    """The payload's plain text parts, in order; attachments and other types left out."""
    return (text(part) for part in leaves(payload) if is_text(part))


def attachment_names(payload: Entity) -> Iterator[str]:
    """File names, or types, of the parts that are not shown as text."""
    return (part.file_name or part.content_type for part in leaves(payload) if not is_text(part))


def text(part: Entity, most: int | None = None) -> str:
    """A text part, or its first `most` bytes as transferred, read as mail programs do: broken
    encoding as far as it goes, UTF-8 where the charset is none of mail's, odd bytes replaced."""
    end = part.end if most is None else min(part.end, part.body_start + most)
    data = part.buffer[part.body_start : end]
    if part.transfer_encoding == "base64":
        clean = re.sub(rb"[^A-Za-z0-9+/]", b"", data)
        whole = clean[:-1] if len(clean) % 4 == 1 else clean
        data = binascii.a2b_base64(whole + b"=" * (-len(whole) % 4))
    elif part.transfer_encoding == "quoted-printable":
        data = quopri.decodestring(data)
    return data.decode(_known(part.charset), "replace")


def first_text(payload: bytes) -> str:
    """The beginning of the first text part, 64 KiB as transferred; "" where there is none."""
    part = next(filter(is_text, leaves(entity.read(payload))), None)
    return "" if part is None else text(part, _FIRST_BYTES)


def _imported(data: bytes) -> bytes:
    """An old mail as it is; one that breaks MIME's grammar is text as it stands."""
    try:
        for _ in leaves(entity.read(data)):
            pass
    except Malformed:
        return _text_entity(data, "")
    return data


def _counts(packet: bytes) -> bool:
    """Whether we know how to read a signature; one that we don't counts for nothing."""
    try:
        signed.micalg(signed.signature_facts(packet).hash)
    except Malformed:
        return False
    return True


def _known(charset: str) -> str:
    try:
        name = codecs.lookup(charset).name
    except (LookupError, ValueError):
        return "utf-8"
    is_known = bool(_CHARSETS.fullmatch(name))
    is_wide = name.startswith("utf-16")
    return name if is_known and (is_wide or _ASCII.decode(name) == _ASCII.decode()) else "utf-8"


def _text_entity(text_bytes: bytes, said: str) -> bytes:
    """Plain text of an old program as a MIME entity. Such text is UTF-8 where it can be, as what is
    said of its charset is not signed; else that, or Latin-1."""
    name = _known(said if _TOKEN.fullmatch(said) else "")
    if name.startswith("iso2022") and b"\x1b" in text_bytes:
        charset = said  # whose octets are all of ASCII
    elif _is_utf8(text_bytes):
        charset = "utf-8"
    else:
        charset = "iso-8859-1" if name.startswith("utf-") or name == "ascii" else said
    fields = f"Content-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: 8bit\r\n"
    return fields.encode() + b"\r\n" + entity.crlf(text_bytes)


def _is_utf8(data: bytes) -> bool:
    """Piece by piece: a text of 50 MB with one emoji in it takes 200 MB as a string."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(data), _PIECE):
            decoder.decode(data[start : start + _PIECE], final=start + _PIECE >= len(data))
    except UnicodeDecodeError:
        return False
    return True
