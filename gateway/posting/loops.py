"""Mail that nobody wrote: robots' and lists', and our own that a program sends back."""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy.orm import Session

from gateway.app import App
from gateway.errors import Malformed
from gateway.message import entity
from gateway.message.entity import Entity
from gateway.message.envelope import Envelope
from gateway.message.protected import fields_of
from gateway.posting import directory
from gateway.store import outbox, posting


def is_robot(envelope: Envelope, mail: Entity, domain: str) -> bool:
    """A robot's mail (RFC 3834 2, RFC 5321 4.5.5), or one of our lists' own come back."""
    auto = mail.field("auto-submitted").partition(";")[0].strip().lower()
    return (
        envelope.sender == ""
        or auto not in ("", "no")
        or mail.field("list-id").lower().endswith(f".{domain}>")
    )


def is_bulk(mail: Entity) -> bool:
    """What programs that answer by themselves said of their mail before RFC 3834. Servers on the
    way say it, too, so it is asked of mail alone that is neither encrypted nor signed."""
    return mail.field("precedence").strip().lower() in ("bulk", "junk")


def is_ours(session: Session, app: App, payload: bytes) -> bool:
    """Whether what somebody signed is a letter of our own, with our signature or without it: a
    program opens what it gets, signs that and sends it back. It has a Message-ID of ours."""
    letter = entity.read(payload)
    if letter.content_type == "multipart/signed":
        with suppress(Malformed):  # then it is none of ours, and judged as any other
            letter = next(letter.parts(), letter)
    named = directory.tokens(app, [fields_of(letter).message_id])
    return any(posting.is_token(session, one) or outbox.is_token(session, one) for one in named)


def is_of_list(mail: Entity | None, address: str) -> bool:
    """Whether a mail is the one of a list with that address: its List-Id (RFC 2919) is by custom
    the address with a dot for the @."""
    list_id = "" if mail is None else mail.field("list-id").lower()
    return list_id.endswith(f"<{address.replace('@', '.')}>")
