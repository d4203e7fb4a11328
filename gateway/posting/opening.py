"""Opening a mail: from its bytes to the author's signed object, or to nothing to be trusted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.config import Config
from gateway.errors import ForOthers, Malformed, TooLarge, Undecryptable
from gateway.message import entity, packet, pgpmime, session_key, submission
from gateway.message.entity import Entity
from gateway.message.noted import NOTHING, Noted
from gateway.message.pgpmime import Form, Signed
from gateway.message.protected import (
    Fields,
    differing,
    fields_of,
    is_whole,
    merged,
    protected_fields,
)
from gateway.message.submission import Content

Unwrap = Callable[[bytes, int], bytes]
MOST_PKESKS = 100


def inflation_limit(config: Config) -> int:
    """Bytes that anything inside a mail may inflate to."""
    return config.smtp.message_bytes


def payload_limit(config: Config) -> int:
    """Bytes that a payload may have: encrypted and armored anew it must still be a mail that a
    server with our own limit takes."""
    return config.smtp.message_bytes * 3 // 4


@dataclass(frozen=True, slots=True)
class Opening:
    """What a mail turned out to be.

    encrypted: as a whole, to anybody; encrypted_to: key IDs and fingerprints that it names, upper-
    case hex; for_others: to none of the keys that are at hand. source and content: its signed
    object, None where it has none that covers the whole content or could not be opened; which of
    the two is nobody's business but the log's, where `fault` goes; too_large: that it passed a
    limit. protected: fields inside the signature; fields: all merged. noted: of its form.
    """

    encrypted: bool
    encrypted_to: tuple[str, ...]
    source: Signed | None
    content: Content | None
    protected: Fields | None
    fields: Fields
    fault: str | None = None
    too_large: bool = False
    for_others: bool = False
    noted: Noted = NOTHING


def open_mail(
    mail: Entity, ours: Mapping[str, int], unwrap: Unwrap, limit: int, *, partly: bool = False
) -> Opening:
    """Open a mail once. ours: see `session_key.addressed`.
    `limit`: most bytes that anything in it may inflate to. partly: where not all of it is signed,
    take what is.

    Raises Malformed where the mail's own header can't be read, and Unavailable, from `unwrap`,
    where it is our keys that don't serve.
    """
    outer = fields_of(mail)
    encrypted = mail.content_type == "multipart/encrypted"
    encrypted_to: tuple[str, ...] = ()
    repaired = False
    try:
        found = pgpmime.ciphertext(mail)
        if found is None:
            signed = _signed(mail, limit, partly=partly)
        else:
            encrypted, form = True, Form.INLINE if found.inline else Form.MESSAGE
            repaired, charset = found.repaired, found.charset
            # The strict outer grammar comes before gpg: gpg takes an empty encrypted packet
            # followed by a clear signed message for well decrypted.
            message = packet.split(found.message, limit=MOST_PKESKS)
            encrypted_to = tuple(key_id for key_id, _ in message.pkesks)
            del found  # perhaps 50 MB that nobody needs any more
            for_us = session_key.addressed(message, ours)
            del message
            inner = unwrap(for_us, limit)
            del for_us
            signed = _inside(Signed(form, inner, charset), limit, partly=partly)
        if signed is None:
            return Opening(encrypted, encrypted_to, None, None, None, outer, "not signed")
        source, content, partial = signed
        submission.check_payload(content)
        payload = entity.read(content.payload)
        has_fields = source.form in (Form.MESSAGE, Form.MULTIPART)
        protected = protected_fields(payload) if has_fields else None
        merged_fields = merged(outer, protected, whole=is_whole(payload))
        differs = differing(mail, payload) if protected else ()
        noted = Noted(repaired, partial, differs)
    except (Malformed, Undecryptable) as error:
        return Opening(
            encrypted, encrypted_to, None, None, None, outer, str(error),
            too_large=isinstance(error, TooLarge), for_others=isinstance(error, ForOthers),
        )  # fmt: skip
    return Opening(
        encrypted, encrypted_to, source, content, protected, merged_fields, noted=noted
    )  # fmt: skip


_Found = tuple[Signed, Content, bool]
"""A signed object, opened, and whether it is a part only of what it stood in."""


def _inside(source: Signed, limit: int, *, partly: bool) -> _Found | None:
    """The signed object that is all of a decrypted message, opened; None where it is none."""
    content = submission.content(source, limit)
    if content.signatures:
        return source, content, False
    if source.form is Form.INLINE:
        clear = pgpmime.cleartext(content.payload, source.charset)
        if clear is not None:
            return _opened(clear, limit, partial=False)
    return _signed(entity.read(content.payload), limit, partly=partly)


def _signed(found: Entity, limit: int, *, partly: bool) -> _Found | None:
    source, partial = pgpmime.signed(found), False
    if source is None and partly:
        source, partial = pgpmime.signed_part(found), True
    return None if source is None else _opened(source, limit, partial=partial)


def _opened(source: Signed, limit: int, *, partial: bool) -> _Found | None:
    content = submission.content(source, limit)
    return (source, content, partial) if content.signatures else None
