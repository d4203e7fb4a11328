"""Opening a mail: from its bytes to the author's signed object, or to nothing to be trusted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.config import Config
from gateway.errors import Malformed, Undecryptable
from gateway.message import entity, packet, pgpmime, submission
from gateway.message.entity import Entity
from gateway.message.pgpmime import Form, Signed
from gateway.message.protected import Fields, fields_of, merged, protected_fields
from gateway.message.submission import Content

Unwrap = Callable[[bytes, int], bytes]
MOST_PKESKS = 100
_MOST_INFLATION = 4


def inflation_limit(config: Config) -> int:
    """Bytes that anything inside a mail may inflate to: four times the largest mail taken."""
    return _MOST_INFLATION * config.smtp.message_bytes


@dataclass(frozen=True, slots=True)
class Opening:
    """What a mail turned out to be.

    encrypted: as a whole, to anybody. source and content: its signed object, None where it has
    none that covers the whole content or could not be opened; which of the two is nobody's business
    but the log's, where `fault` goes. protected: fields inside the signature; fields: all merged.
    """

    encrypted: bool
    source: Signed | None
    content: Content | None
    protected: Fields | None
    fields: Fields
    fault: str | None = None


def open_mail(mail: Entity, unwrap: Unwrap, limit: int) -> Opening:
    """Open a mail once. `limit`: most bytes that anything in it may inflate to.

    Raises Unavailable, from `unwrap`, where it is our keys that don't serve.
    """
    outer = fields_of(mail)
    encrypted = mail.content_type == "multipart/encrypted"
    try:
        found = pgpmime.ciphertext(mail)
        encrypted = encrypted or found is not None
        source = pgpmime.signed(mail) if found is None else _decrypt(found, unwrap, limit)
        if source is None:
            return Opening(encrypted, None, None, None, outer, "not signed")
        content = submission.content(source, limit)
        if not content.signatures:
            return Opening(encrypted, None, None, None, outer, "not signed")
        # Walked here so that hostile nesting is refused at the door and not met by a worker.
        payload = entity.read(content.payload)
        for _ in submission.text_parts(payload):
            pass
    except (Malformed, Undecryptable) as error:
        return Opening(encrypted, None, None, None, outer, str(error))
    has_fields = source.form in (Form.MESSAGE, Form.MULTIPART)
    protected = protected_fields(payload) if has_fields else None
    return Opening(encrypted, source, content, protected, merged(outer, protected))


def _decrypt(found: pgpmime.Ciphertext, unwrap: Unwrap, limit: int) -> Signed | None:
    # The strict outer grammar comes before gpg: gpg takes an empty encrypted packet followed by a
    # clear signed message for well decrypted.
    packet.split(found.message, limit=MOST_PKESKS)
    message = unwrap(found.message, limit)
    if found.inline:
        return _inside_text(message, limit)
    inner = submission.content(Signed(Form.MESSAGE, message), limit)
    if inner.signatures:
        return Signed(Form.MESSAGE, message)
    return pgpmime.signed(entity.read(inner.body))


def _inside_text(message: bytes, limit: int) -> Signed | None:
    inner = submission.content(Signed(Form.INLINE, message), limit)
    if inner.signatures:
        return Signed(Form.INLINE, message)
    return pgpmime.signed(entity.read(inner.payload))
