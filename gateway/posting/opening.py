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
_MOST_INFLATION = 2


def inflation_limit(config: Config) -> int:
    """Bytes that anything inside a mail may inflate to: twice the largest mail taken."""
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
        if found is None:
            signed = _signed(mail, limit)
        else:
            encrypted, form = True, Form.INLINE if found.inline else Form.MESSAGE
            # The strict outer grammar comes before gpg: gpg takes an empty encrypted packet
            # followed by a clear signed message for well decrypted.
            packet.split(found.message, limit=MOST_PKESKS)
            inner = unwrap(found.message, limit)
            del found  # perhaps 50 MB that nobody needs any more
            signed = _inside(Signed(form, inner), limit)
        if signed is None:
            return Opening(encrypted, None, None, None, outer, "not signed")
        source, content = signed
        # Walked here so that hostile nesting is refused at the door and not met by a worker.
        payload = entity.read(content.payload)
        for _ in submission.text_parts(payload):
            pass
    except (Malformed, Undecryptable) as error:
        return Opening(encrypted, None, None, None, outer, str(error))
    has_fields = source.form in (Form.MESSAGE, Form.MULTIPART)
    protected = protected_fields(payload) if has_fields else None
    return Opening(encrypted, source, content, protected, merged(outer, protected))


def _inside(source: Signed, limit: int) -> tuple[Signed, Content] | None:
    """The signed object that is all of a decrypted message, opened; None where it is none."""
    content = submission.content(source, limit)
    return (source, content) if content.signatures else _signed(entity.read(content.payload), limit)


def _signed(found: Entity, limit: int) -> tuple[Signed, Content] | None:
    source = pgpmime.signed(found)
    return None if source is None else (source, submission.content(source, limit))
