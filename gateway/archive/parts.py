"""The parts of a posting as its readers see them: text, hypertext and attachments."""

from __future__ import annotations

import mimetypes
import quopri
import re
import unicodedata
from dataclasses import dataclass

from gateway.errors import Malformed
from gateway.message import hypertext, submission
from gateway.message.entity import Entity
from gateway.message.thread import plain

MOST_NAME = 100
"""Characters of a file name."""
_HYPERTEXT = "text/html"
_OCTETS = 4
"""Read of a part for each character wanted, as transferred."""
# Beside letters and numbers; nothing that a path or a header field means something by.
_HARMLESS = frozenset(" .,;()+=@[]{}!'-_")


@dataclass(frozen=True, slots=True)
class Parts:
    """texts and hypertexts: shown as the posting's own words; attachments: all else, in order."""

    texts: tuple[Entity, ...]
    hypertexts: tuple[Entity, ...]
    attachments: tuple[Entity, ...]


def sorted_out(payload: Entity) -> Parts:
    """The leaves of a payload by what becomes of them. Raises Malformed."""
    texts, hypertexts, attachments = [], [], []
    for part in submission.leaves(payload):
        if submission.is_text(part):
            texts.append(part)
        elif part.content_type == _HYPERTEXT and not part.is_attachment and not _named(part):
            hypertexts.append(part)
        else:
            attachments.append(part)
    return Parts(tuple(texts), tuple(hypertexts), tuple(attachments))


def text(parts: Parts, most: int) -> tuple[str, bool]:
    """(the posting's text, whether it was cut): its text parts; where they say nothing, its
    hypertext as text. most: characters."""
    pieces: list[str] = []
    written, cut = 0, False
    for part in parts.texts:
        pieces.append(_beginning(part, most).replace("\r\n", "\n"))
        written, cut = written + len(pieces[-1]), cut or _goes_on(part, most)
        if written > most:
            break
    if not any(piece.strip() for piece in pieces):
        pieces = [hypertext.shown(_beginning(part, most)) for part in parts.hypertexts[:1]]
        cut = any(_goes_on(part, most) for part in parts.hypertexts[:1])
    whole = "\n\n".join(piece.strip("\n") for piece in pieces)
    return whole[:most], cut or len(whole) > most


def file_name(part: Entity, number: int) -> str:
    """A name that is one on every system, and looks like what it is: no path, no control or
    direction characters, its extension kept where it is long. number: of the attachment, which
    stands in the name of one that has none."""
    given = plain(re.split(r"[/\\]", _named(part))[-1])
    safe = (char if _is_written(char) or char in _HARMLESS else "_" for char in given)
    name = "".join(safe).strip(" .")
    if not any(map(_is_written, name)):
        return f"attachment-{number}{mimetypes.guess_extension(part.content_type) or ''}"
    stem, dot, extension = name.rpartition(".")
    if dot and len(extension) <= 10:
        return stem[: MOST_NAME - len(extension) - 1] + dot + extension
    return name[:MOST_NAME]


def data(part: Entity) -> bytes:
    """A part as its author attached it; where its transfer encoding is broken, as it came."""
    try:
        return part.decoded_body()
    except Malformed:
        return part.body


def size(part: Entity) -> int:
    """Bytes of a part once its transfer encoding is undone, without keeping them."""
    start, end = part.body_start, part.end
    match part.transfer_encoding:
        case "base64":
            blanks = sum(part.buffer.count(one, start, end) for one in (b"\r", b"\n", b" ", b"\t"))
            padding = part.buffer.count(b"=", max(start, end - 8), end)
            return max(0, (end - start - blanks) * 3 // 4 - padding)
        case "quoted-printable":
            return len(quopri.decodestring(part.body))
        case _:
            return end - start


def _beginning(part: Entity, most: int) -> str:
    return submission.text(part, _OCTETS * most)


def _goes_on(part: Entity, most: int) -> bool:
    return part.end - part.body_start > _OCTETS * most


def _is_written(char: str) -> bool:
    """Whether it is a letter, a number, or a mark on one."""
    return unicodedata.category(char)[0] in "LNM"


def _named(part: Entity) -> str:
    try:
        return part.file_name
    except Malformed:
        return ""
