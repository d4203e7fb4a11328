"""Where the OpenPGP object is in a mail: PGP/MIME (RFC 3156) and the old inline form."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum

from gateway.errors import Malformed
from gateway.message import mended
from gateway.message.armor import dearmor
from gateway.message.entity import Entity, crlf, read
from gateway.message.signed import detached

_BEGIN_MESSAGE = b"-----BEGIN PGP MESSAGE-----"
_END_MESSAGE = b"-----END PGP MESSAGE-----"
_BEGIN_SIGNED = b"-----BEGIN PGP SIGNED MESSAGE-----"
_BEGIN_SIGNATURE = b"\n-----BEGIN PGP SIGNATURE-----"
_END_SIGNATURE = b"-----END PGP SIGNATURE-----"
_CHARSET = re.compile(rb"\A[^\n]*\n(?:[^\n:]+:[^\n]*\n)*?Charset: ([\w.:+-]{1,40})\r?\n")
_ARMOR_BLOCK_LIMIT = 64 * 1024
_MOST_PARTS, _MOST_NESTING = 50, 20
"""Of a mail that is searched for the one that is signed."""


class Form(StrEnum):
    """How an author's signed object is built; it is kept in this form."""

    MESSAGE = "message"
    """An OpenPGP message, one-pass signed, around a MIME entity: RFC 3156 6.2."""
    MULTIPART = "multipart"
    """A multipart/signed entity: RFC 3156 5 and 6.1."""
    INLINE = "inline"
    """An OpenPGP message, one-pass signed, around plain text."""
    CLEARTEXT = "cleartext"
    """The cleartext signature framework: RFC 9580 7."""
    IMPORTED = "imported"
    """No signed object: a whole mail of an old archive."""


@dataclass(frozen=True, slots=True)
class Ciphertext:
    """An encrypted mail: the OpenPGP message (binary), and whether a MIME entity is inside.
    repaired: its frame had been taken apart on the way. charset: of an inline one, as of Signed."""

    message: bytes
    inline: bool
    repaired: bool = False
    charset: str = ""


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed-only object found in a mail or inside its encryption, in its form. charset: what
    stands around a plain text says of it, "" where nothing does; it is not signed."""

    form: Form
    data: bytes
    charset: str = ""


def ciphertext(mail: Entity) -> Ciphertext | None:
    """The encrypted message of a mail that is encrypted as a whole; None where it is not.

    Judged by structure, never by looking for a line of text: a mail that has an encrypted part
    beside clear ones is not encrypted. Raises Malformed where it says that it is and is not.
    """
    if mail.content_type == "multipart/encrypted":
        return _of_encrypted(mail)
    if mail.content_type == "multipart/mixed":
        within = mended.encrypted_within(mail)
        if within is not None:
            return replace(_of_encrypted(within), repaired=True)
        part = mended.message_within(mail)
        if part is not None:
            return Ciphertext(dearmored(part.decoded_body()), inline=False, repaired=True)
    text_part = _text_part(mail)
    if text_part is not None:
        text = text_part.decoded_body()
        if text.lstrip().startswith(_BEGIN_MESSAGE):
            end = text.find(_END_MESSAGE)
            if end < 0 or text[end + len(_END_MESSAGE) :].strip():
                raise Malformed("text around the encrypted message")
            block = text.strip()
            named = _CHARSET.match(block[:_ARMOR_BLOCK_LIMIT])  # RFC 4880 6.2
            charset = named[1].decode().lower() if named else text_part.charset
            return Ciphertext(dearmor(block), inline=True, charset=charset)
    return None


def _text_part(mail: Entity) -> Entity | None:
    """The text in which an armored message may stand that is all of a mail."""
    match mail.content_type:
        case "multipart/mixed":
            return mended.text_alone(mail)
        case "multipart/alternative":
            return mended.text_within(mail)
        case _:
            return mail if mended.may_have_armor(mail) else None


def _of_encrypted(entity: Entity) -> Ciphertext:
    # RFC 3156 4 wants the parameter; where a server lost it, the control part says the same.
    if entity.parameter("protocol") not in ("", "application/pgp-encrypted"):
        raise Malformed("encrypted, but not by OpenPGP")
    # RFC 3156 4: exactly two parts, the control part and the message.
    parts = list(entity.parts(most=2))
    if len(parts) != 2 or parts[0].content_type != "application/pgp-encrypted":
        raise Malformed("multipart/encrypted without its two parts")
    return Ciphertext(dearmored(parts[1].decoded_body()), inline=False)


def signed(entity: Entity) -> Signed | None:
    """The signed object that an entity is as a whole; None where it is none."""
    if entity.content_type == "multipart/mixed":
        entity = mended.signed_within(entity) or entity
    if (
        entity.content_type == "multipart/signed"
        and entity.parameter("protocol") == "application/pgp-signature"
    ):
        return Signed(Form.MULTIPART, entity.raw)
    if mended.may_have_armor(entity):
        return cleartext(entity.decoded_body(), entity.charset)
    return None


def cleartext(text: bytes, charset: str) -> Signed | None:
    """The cleartext-signed block that a text is as a whole; None where it is none."""
    block = text.strip()
    if block.startswith(_BEGIN_SIGNED) and block.endswith(_END_SIGNATURE):
        return Signed(Form.CLEARTEXT, block, charset)
    return None


def signed_part(entity: Entity) -> Signed | None:
    """The one signed object in a mail that has other things beside it, such as the footer of a
    mailing list; None where there is none, and where there are several.

    Looked for in a multipart/mixed and in plain text. Not within a forwarded mail: who forwards
    others' words did not write them.
    """
    found: list[Signed] = []
    waiting = [(entity, 0)]
    while waiting and len(found) < 2:
        one, depth = waiting.pop(0)
        if one.content_type == "multipart/mixed":
            waiting = [*((part, depth + 1) for part in one.parts(_MOST_PARTS)), *waiting]
            if len(waiting) > _MOST_PARTS or depth == _MOST_NESTING:
                return None
        elif (whole := signed(one)) is not None:
            found.append(whole)
        elif one.content_type == "text/plain" and not one.is_attachment:
            found += _cleartext_within(one.decoded_body(), one.charset)
    return found[0] if len(found) == 1 else None


def _cleartext_within(text: bytes, charset: str) -> list[Signed]:
    """The cleartext-signed blocks in a text, each from its first line to its last."""
    found, at = [], 0
    while (begin := text.find(_BEGIN_SIGNED, at)) >= 0:
        end = text.find(_END_SIGNATURE, begin)
        if end < 0:
            break
        at = end + len(_END_SIGNATURE)
        if begin == 0 or text[begin - 1 : begin] == b"\n":
            found.append(Signed(Form.CLEARTEXT, text[begin:at], charset))
    return found


def multipart_signed(data: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    """A multipart/signed entity -> (signed bytes, signature packets). RFC 3156 5."""
    parts = list(read(data).parts(most=2))
    if len(parts) != 2:
        raise Malformed("multipart/signed without its two parts")
    signature = parts[1]
    if signature.content_type != "application/pgp-signature":
        raise Malformed("multipart/signed without a signature")
    block = signature.decoded_body()
    if len(block) > _ARMOR_BLOCK_LIMIT:
        raise Malformed("signature of more than 64 KiB")
    # RFC 3156 5: signed is the CRLF form, whatever line ends it has come with.
    return crlf(parts[0].raw), detached(dearmor(block.strip(), "SIGNATURE"))


def cleartext_signed(data: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    """A cleartext-signed text -> (signed bytes, signature packets). RFC 9580 7.

    Exactly one such block and nothing around it; only "Hash" headers are allowed (RFC 9580 7.1).
    """
    text = data.replace(b"\r\n", b"\n")
    head, blank, rest = text.partition(b"\n\n")
    headers = head.split(b"\n")[1:]
    if not blank or any(not line.startswith(b"Hash: ") for line in headers):
        raise Malformed("cleartext signature with foreign headers")
    cut = rest.find(_BEGIN_SIGNATURE)
    if cut < 0 or re.search(rb"^-(?! )", rest[:cut], re.MULTILINE):
        raise Malformed("cleartext signature framework is broken")
    lines = [
        (line[2:] if line.startswith(b"- ") else line).rstrip(b" \t")
        for line in rest[:cut].split(b"\n")
    ]
    return b"\r\n".join(lines), detached(dearmor(rest[cut + 1 :].strip(), "SIGNATURE"))


def dearmored(body: bytes) -> bytes:
    """An OpenPGP message, armored or, as some programs send it, binary."""
    stripped = body.strip() if len(body) < 64 else body
    return body if stripped[:1] and stripped[0] & 0x80 else dearmor(body)
