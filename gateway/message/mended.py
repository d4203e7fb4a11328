"""PGP/MIME that a mail server on the way took apart, put together again where only one way of doing
so leaves nothing over: what is in the clear in it is nothing, or a known nothing."""

from __future__ import annotations

import re

from gateway.errors import Malformed
from gateway.message import hypertext
from gateway.message.entity import Entity

_NOTHING = (b"", b"--", b"Empty Message")
"""What stands where no text is: an empty footer's line, and Proton's word for it."""
_CONTROL = b"Version: 1"  # RFC 3156 4
_BEGIN = b"-----BEGIN PGP MESSAGE-----"
_MOST_MARKUP, _LEAST_MARKUP = 4, 4096
"""Times a text's length, and octets beside that, that the same as hypertext has at most."""
_MOST_TEXT = 1 << 20
"""Octets of an armored message that somebody put into a page."""
_EMPTY_LINES = re.compile(
    r"</?(?:html|head|body|meta|div|p|br|span|font)\b[^<>]*>|&nbsp;", re.IGNORECASE
)
_CONTROL_TYPES = ("application/pgp-encrypted", "application/octet-stream")


def encrypted_within(mixed: Entity) -> Entity | None:
    """The multipart/encrypted that a server put an empty footer beside, as Google Workspace does,
    or nothing."""
    parts = _parts(mixed, most=2)
    encrypted = [one for one in parts if one.content_type == "multipart/encrypted"]
    rest = [one for one in parts if _is_nothing(one)]
    is_whole = len(encrypted) == 1 and len(encrypted) + len(rest) == len(parts)
    return encrypted[0] if is_whole else None


def signed_within(mixed: Entity) -> Entity | None:
    """The multipart/signed that is all of a multipart/mixed."""
    parts = _parts(mixed, most=1)
    is_whole = len(parts) == 1 and parts[0].content_type == "multipart/signed"
    return parts[0] if is_whole else None


def message_within(mixed: Entity) -> Entity | None:
    """The part with the message of a multipart/encrypted that was made a multipart/mixed of, behind
    an empty text or none: Microsoft Exchange does, and Proton, and either may call the parts
    otherwise."""
    parts = _parts(mixed, most=3)
    if len(parts) < 2:
        return None
    *before, control, message = parts
    is_whole = (
        all(map(_is_nothing, before))
        and control.content_type in _CONTROL_TYPES
        and control.decoded_body().strip() == _CONTROL
        and message.content_type == "application/octet-stream"
    )
    return message if is_whole else None


def text_alone(mixed: Entity) -> Entity | None:
    """The text that is all of a multipart/mixed."""
    parts = _parts(mixed, most=1)
    return parts[0] if len(parts) == 1 and may_have_armor(parts[0]) else None


def may_have_armor(part: Entity) -> bool:
    """Whether an armored message may stand in it: as text, or as programs called it before PGP/MIME
    was."""
    return part.content_type in ("text/plain", "application/pgp")


def text_within(alternative: Entity) -> Entity | None:
    """The text of a mail that has it as hypertext, too, and says nothing else there: what webmail
    makes of an armored message that was put into it, as Mailvelope does."""
    parts = _parts(alternative, most=2)
    if tuple(one.content_type for one in parts) != ("text/plain", "text/html"):
        return None
    # The hypertext is not read, whatever its size, before it can be what it should be.
    text = parts[0].decoded_body()
    longest = _MOST_MARKUP * len(text) + _LEAST_MARKUP
    is_small = len(text) <= _MOST_TEXT and parts[1].end - parts[1].body_start <= longest
    if not is_small or not text.lstrip().startswith(_BEGIN):
        return None
    markup = parts[1].decoded_body().decode("ascii", "replace")
    seen = hypertext.text(markup).encode("ascii", "replace")
    return parts[0] if b"".join(text.split()) == b"".join(seen.split()) else None


def _parts(mail: Entity, most: int) -> list[Entity]:
    """None where there are more, or it is no multipart that can be read."""
    try:
        return list(mail.parts(most))
    except Malformed:
        return []


def _is_nothing(part: Entity) -> bool:
    """Whether a part is a text without a word, or hypertext of empty lines alone."""
    if part.content_type == "text/html" and part.end - part.body_start <= _LEAST_MARKUP:
        markup = part.decoded_body().decode("ascii", "replace")
        return not _EMPTY_LINES.sub("", markup).strip()
    return part.content_type == "text/plain" and part.decoded_body().strip() in _NOTHING
