"""The files of a document: parts of the mail that it came in."""

from __future__ import annotations

from gateway.archive import parts
from gateway.library.sealing import File
from gateway.message import entity
from gateway.message.entity import Entity
from gateway.message.submission import Content

_OPENPGP = ("application/pgp-keys", "application/pgp-signature")


def files(payload: Entity) -> tuple[File, ...]:
    """What is attached to a mail, certificates of its author left out. Raises Malformed."""
    return tuple(
        File(number, parts.file_name(part, number), part.content_type, parts.size(part))
        for number, part in enumerate(_parts(payload), 1)
    )


def data(content: Content, number: int) -> bytes:
    """The content of a file by its number, as its author attached it. Raises IndexError."""
    return parts.data(_parts(entity.read(content.payload))[number - 1])


def _parts(payload: Entity) -> list[Entity]:
    attached = parts.sorted_out(payload).attachments
    return [one for one in attached if one.content_type not in _OPENPGP]
