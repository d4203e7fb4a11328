"""What a posting says, for the search index: its own words, and those of its attachments."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.archive import confined, parts, pdf
from gateway.archive.parts import Parts
from gateway.errors import Malformed
from gateway.message import hypertext, submission
from gateway.message.entity import Entity

MOST_CHARACTERS = 1_000_000
"""Of one part; what is further back is not found."""
MOST_PDFS = 5
PDF_SECONDS = 10
_TEXTUAL = ("application/json", "application/xml", "application/x-ndjson")
_HYPERTEXT = ("text/html", "application/xhtml+xml")


def names(of: Parts) -> list[str]:
    """Its attachments' file names, as their authors gave them."""
    return [_name(one) for one in of.attachments]


def texts(of: Parts) -> Iterator[str]:
    """Text after text, the posting's own first. Each is made when it is asked for."""
    own, _ = parts.text(of, MOST_CHARACTERS)
    yield own
    pdfs = 0
    for one in of.attachments:
        kind = one.content_type
        if kind == "application/pdf" or _name(one).lower().endswith(".pdf"):
            pdfs += 1
            if pdfs <= MOST_PDFS:
                yield _of_pdf(one)
        elif kind in _HYPERTEXT:
            yield hypertext.text(submission.text(one, MOST_CHARACTERS))
        elif kind.startswith("text/") or kind in _TEXTUAL:
            yield submission.text(one, MOST_CHARACTERS)


def _of_pdf(part: Entity) -> str:
    """ "" where it is too large, can't be read, or takes too long."""
    if parts.size(part) > pdf.MOST_BYTES:
        return ""
    try:
        made = confined.run("gateway.archive.pdf", part.decoded_body(), seconds=PDF_SECONDS)
    except Malformed:
        return ""
    return (made or b"").decode("utf-8", "replace")


def _name(part: Entity) -> str:
    try:
        return part.file_name
    except Malformed:
        return ""
