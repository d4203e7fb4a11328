"""Downloads: an attachment, a picture of one, and the author's signed object."""

from __future__ import annotations

from urllib.parse import quote

from starlette.responses import Response
from starlette.routing import Route

from gateway.archive import parts, reading
from gateway.errors import Malformed
from gateway.message.entity import Entity
from gateway.posting import evidence
from gateway.store.posting import Posting
from gateway.web import pictures
from gateway.web.costly import few_at_once
from gateway.web.reading import found_at
from gateway.web.visit import NotThere, Visit, for_members

SANDBOX = "sandbox; default-src 'none'"
"""The content security policy of foreign bytes: should a browser show them after all, they have no
origin, no script and nothing to load."""
_PASSIVE = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "text/plain"})
"""Types that are said to a browser; of all others it learns nothing that it could act upon."""
_UNKNOWN = "application/octet-stream"


def download(data: bytes, name: str, media_type: str = _UNKNOWN) -> Response:
    """Foreign bytes, to be saved and never shown. name: as parts.file_name makes it."""
    known = media_type if media_type in _PASSIVE else _UNKNOWN
    plain = name.encode("ascii", "replace").decode().replace("?", "_")
    # RFC 6266 4.1 and its appendix D: the plain form first, for programs that know no other.
    disposition = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
    headers = {"Content-Disposition": disposition, "Content-Security-Policy": SANDBOX}
    # Not by media_type, to which a charset would be added that may be untrue.
    return Response(data, headers={**headers, "Content-Type": known})


def inline_picture(data: bytes) -> Response:
    """A picture that pictures.preview made."""
    headers = {"Content-Security-Policy": SANDBOX, "Content-Disposition": "inline"}
    return Response(data, headers=headers, media_type=pictures.TYPE)


def raw(visit: Visit) -> Response:
    """The author's signed object, for a program that checks it."""
    found = _posting(visit)
    try:
        kept, opened = evidence.opened(visit.app.vault, found)
        name, data = evidence.signed_original(found, kept, opened)
    except Malformed:
        raise NotThere from None
    visit.enter("downloaded", posting=found.label, part="original")
    return download(data, f"{found.label}-{name}")


def attachment(visit: Visit) -> Response:
    """An attachment, as a download."""
    found = _posting(visit)
    number, part = _part(visit, found)
    visit.enter("downloaded", posting=found.label, part=number)
    return download(parts.data(part), parts.file_name(part, number), part.content_type)


def preview(visit: Visit) -> Response:
    """A small picture of an attachment that is one."""
    found = _posting(visit)
    number, part = _part(visit, found)
    if part.content_type not in reading.PICTURES or parts.size(part) > pictures.MOST_BYTES:
        raise NotThere
    try:
        made = pictures.preview(part.decoded_body())
    except Malformed:
        raise NotThere from None
    visit.enter("read", posting=found.label, part=number)
    return inline_picture(made)


def _posting(visit: Visit) -> Posting:
    found = found_at(visit)
    if found.withdrawn_at is not None:
        raise NotThere
    return found


def _part(visit: Visit, found: Posting) -> tuple[int, Entity]:
    """(number, part) of the attachment that an address names. Raises NotThere."""
    typed = visit.request.path_params["part"]
    try:
        attached = reading.parts_of(visit.app, found).attachments
    except Malformed:
        raise NotThere from None
    # As it is written in links: no leading noughts, none of the other scripts' digits.
    numbers = {str(number): number for number in range(1, len(attached) + 1)}
    if typed not in numbers:
        raise NotThere
    return numbers[typed], attached[numbers[typed] - 1]


ROUTES = (
    Route("/{letter}/{number}/raw", for_members(raw)),
    Route("/{letter}/{number}/attachment/{part}", for_members(attachment)),
    Route("/{letter}/{number}/attachment/{part}/preview", few_at_once(for_members(preview))),
)
