"""Certificates that a mail carries: attached, pasted into its text, or in an Autocrypt field.

They are only found here. Whether one may be used is for those to say who know who signed the mail.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from itertools import chain, pairwise
from typing import Final

from gateway.errors import Malformed
from gateway.message.address import normalise
from gateway.message.armor import dearmor
from gateway.message.entity import Entity
from gateway.message.packet import PUBLIC_KEY, SECRET_KEY, SECRET_SUBKEY, packets
from gateway.message.protected import fields_of, protected_fields
from gateway.message.submission import is_text, leaves

MOST_CERTIFICATES: Final = 10
_MOST_OCTETS: Final = 1 << 20
# 1 MB takes 1.4 MB in base64, and 3 MB in quoted-printable at worst.
_MOST_ENCODED: Final = 3 << 20

_KIND: Final = "PUBLIC KEY BLOCK"
_BEGIN: Final = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"
_END: Final = b"-----END PGP PUBLIC KEY BLOCK-----"
_FILES: Final = (".asc", ".key", ".gpg", ".pgp")
_BINARY: Final = (b"\x98", b"\x99", b"\x9a", b"\xc6")
"""How a public key packet may begin (RFC 9580 4.2)."""
_BYTE_ORDER_MARKS: Final = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"))
"""What Windows puts before a block that is redirected into a file."""

# Autocrypt Level 1, "The Autocrypt Header": a longer field is invalid, as is one with another
# attribute whose name does not begin with an underscore.
_MOST_AUTOCRYPT: Final = 10 * 1024
_ATTRIBUTES: Final = frozenset({"addr", "prefer-encrypt", "keydata"})


def offered(mail: Entity, payload: Entity | None) -> tuple[bytes, ...]:
    """The certificates that a mail offers, each once: attached, then pasted, then in Autocrypt.

    mail: as it came. payload: what is signed in it, None where nothing is: then the mail itself is
    searched. At most 10, of at most 1 MB each, and binary, unless an armored block is broken: it
    stays as it is, for its reader to say what is wrong. A revocation that stands alone is among
    them, a secret key never. Raises Malformed where the mail can't be taken apart.
    """
    parts = [
        part for part in leaves(payload or mail) if part.end - part.body_start <= _MOST_ENCODED
    ]
    candidates = chain(
        chain.from_iterable(map(_attached, parts)),
        chain.from_iterable(map(_pasted, parts)),
        _in_autocrypt(mail, payload),
    )
    found: dict[bytes, None] = {}
    for candidate in candidates:
        if len(candidate) <= _MOST_OCTETS:
            found[candidate] = None
        if len(found) == MOST_CERTIFICATES:
            break
    return tuple(found)


def _attached(part: Entity) -> Iterator[bytes]:
    """Of a file that is a key by its type or name: programs guess the type of such a file badly."""
    named = _file_name(part).endswith(_FILES) and not part.content_type.startswith("message/")
    if named or part.content_type == "application/pgp-keys":
        data = _decoded(part)
        yield from _certificates(data) if data.startswith(_BINARY) else _blocks(data)


def _pasted(part: Entity) -> Iterator[bytes]:
    if is_text(part):
        yield from _blocks(_decoded(part))


def _in_autocrypt(mail: Entity, payload: Entity | None) -> Iterator[bytes]:
    """Of the one valid Autocrypt field for the author's address; of several, none counts."""
    inside = payload is not None and protected_fields(payload) is not None
    header = payload if payload and inside and "autocrypt" in payload.fields else mail
    sender = fields_of(header if "from" in header.fields else mail).sender_address
    if sender:
        values = [str(value) for value in header.fields.get_all("autocrypt", [])]
        valid = [data for value in values if (data := _keydata(value, sender)) is not None]
        if len(valid) == 1:
            yield from _certificates(valid[0])


def _keydata(value: str, sender: str) -> bytes | None:
    """The key in an Autocrypt field's value; None where the field is invalid, or for another."""
    if len("Autocrypt: ") + len(value) > _MOST_AUTOCRYPT:
        return None
    pairs = [attribute.partition("=") for attribute in value.split(";")]
    names = [name.strip() for name, _, _ in pairs]
    critical = [name for name in names if not name.startswith("_")]
    attributes = {name: text.strip() for name, (_, _, text) in zip(names, pairs, strict=True)}
    if (
        len(critical) != len(set(critical))
        or not _ATTRIBUTES.issuperset(critical)
        or names[-1] != "keydata"
        or normalise(attributes.get("addr", "")) != sender
    ):
        return None
    try:
        data = binascii.a2b_base64("".join(attributes["keydata"].split()), strict_mode=True)
    except ValueError:
        return None
    return data if data.startswith(_BINARY) else None


def _blocks(data: bytes) -> Iterator[bytes]:
    """What is in the armored blocks of a text, each beginning a line."""
    position = 0
    while (end := data.find(_END, position)) >= 0:
        # From the end back: whatever number of beginnings there is, each octet is read twice.
        begin = data.rfind(_BEGIN, position, end)
        position = end + len(_END)
        if begin == 0 or (begin > 0 and data[begin - 1 : begin] == b"\n"):
            block = data[begin:position]
            try:
                yield from _certificates(dearmor(block, _KIND))
            except Malformed:
                yield block


def _certificates(data: bytes) -> list[bytes]:
    """Binary certificates, one behind the other, each for itself; broken ones as they are.

    None at all where there is a secret key among them.
    """
    starts: list[int] = []
    try:
        for packet in packets(data):
            if packet.tag in (SECRET_KEY, SECRET_SUBKEY):
                return []
            if packet.tag == PUBLIC_KEY:
                starts.append(packet.start)
            if len(starts) > MOST_CERTIFICATES:
                break
    except Malformed:
        return [data]
    spans = pairwise([*(starts or [0]), len(data)])
    return [data[start:end] for start, end in spans][:MOST_CERTIFICATES]


def _file_name(part: Entity) -> str:
    try:
        return part.file_name.lower()
    except Malformed:
        return ""


def _decoded(part: Entity) -> bytes:
    """A part's content, in ASCII where it is text for Windows; empty where it can't be decoded."""
    try:
        data = part.decoded_body()
    except Malformed:
        return b""
    for mark, charset in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return data.decode(charset, "replace").encode("ascii", "replace")
    return data
