"""An author's content as it travels: hypertext without style, and nothing else that a mail program
shows by itself but text and pictures.

Programs show all parts of a mail on one page, where the style of one reaches the others: with it an
author could hide the attestation over their posting, and write another one. What they signed goes
along as it was, and is in the archive.
"""

from __future__ import annotations

import re
from base64 import encodebytes
from collections.abc import Iterator
from urllib.parse import unquote

import nh3

from gateway.archive import confined
from gateway.errors import Malformed
from gateway.message import entity, hypertext
from gateway.message.composing import MAIL_AS_FILE, file_part
from gateway.message.entity import Entity
from gateway.message.lookalike import seen
from gateway.message.protected import content_header
from gateway.message.submission import leaves, text

_MOST = 1 << 20
"""Of more a hypertext is sent as a file."""
_SECONDS = 2
_ATTRIBUTES = {
    "*": {"dir", "lang"},
    "a": {"href"},
    "img": {"src", "alt", "width", "height"},
    "li": {"value"},
    "ol": {"start"},
    "td": {"colspan", "rowspan", "align"},
    "th": {"colspan", "rowspan", "align"},
}
_NO_LOWER = re.compile(r"[^a-z]+")
_EVIDENCE = re.compile(r"originalsigned(?:eml|pgp|asc)")
_NO_LETTERS = re.compile(r"[^A-Za-z0-9.]+")
_SHOWN = ("text/", "image/")
_MARKED_UP = frozenset({"text/enriched", "text/richtext", "text/rtf"})
"""Texts whose markup few programs know: what one shows is not what another does."""
_UNTYPED = "application/octet-stream"
_HYPERTEXT = b"Content-Type: text/html; charset=utf-8\r\n"
_DISPOSITION = re.compile(rb"^content-disposition:[^;\r\n]*", re.IGNORECASE | re.MULTILINE)
_KIND = re.compile(rb"^content-type:[^;\r\n]*", re.IGNORECASE | re.MULTILINE)
_TYPE, _ENCODING = (
    re.compile(rb"^%b:.*\r\n(?:[ \t].*\r\n)*" % name, re.IGNORECASE | re.MULTILINE)
    for name in (b"content-type", b"content-transfer-encoding")
)


def content(payload: Entity) -> bytes:
    """A payload as a MIME part without protected fields, CRLF lines."""
    return entity.crlf(b"".join(_pieces(payload)))


def _pieces(payload: Entity) -> Iterator[bytes | memoryview]:
    """The parts between the others as they stand, of which each may have 50 MB."""
    buffer = memoryview(payload.buffer)
    at = payload.start
    if payload.is_multipart:
        yield content_header(payload)
        yield b"\r\n"
        at = payload.body_start
    for part in leaves(payload):
        made = _made_anew(part)
        if made is None and part is not payload:
            continue
        yield buffer[at : part.start]
        header, body = made or (content_header(part), buffer[part.body_start : part.end])
        yield header + b"\r\n"
        yield body
        at = part.end
    yield buffer[at : payload.end]


def _made_anew(part: Entity) -> tuple[bytes, bytes] | None:
    """Header and body (bytes) of a part that does not travel as it is; None of any other."""
    if _is_named_as_evidence(part):
        return _renamed(part)
    if part.content_type == "text/html" and not part.is_attachment:
        markup = text(part)
        made = harmless(markup) if len(markup) <= _MOST else None
        if made is not None:
            return _encoded(content_header(part), _HYPERTEXT, made.encode("utf-8", "replace"))
        return _as_file(part)
    is_shown = (
        part.content_type.startswith(_SHOWN)
        and part.content_type not in _MARKED_UP
        and not _is_named_mail(part)
    )
    is_file = (
        part.is_attachment
        and part.transfer_encoding == "base64"
        and not part.content_type.startswith("message/")
        and not _is_named_mail(part)
    )
    return None if is_shown or is_file else _as_file(part)


def _as_file(part: Entity) -> tuple[bytes, bytes]:
    """The same as an attachment, in base64: Thunderbird shows forwarded mails otherwise, and what
    has a name like one, with their style."""
    header = content_header(part)
    kind = part.content_type
    if kind.startswith("message/") or kind in (_UNTYPED, "text/html"):
        is_mail = kind in ("message/rfc822", "message/global") or _is_named_mail(part)
        typed = f"Content-Type: {MAIL_AS_FILE if is_mail else _UNTYPED}".encode()
        if not _KIND.search(header):  # such as in a digest
            header += b"Content-Type: message/rfc822\r\n"
        header = _KIND.sub(typed, header, count=1)
    if _DISPOSITION.search(header):
        header = _DISPOSITION.sub(b"Content-Disposition: attachment", header, count=1)
    else:
        header += b"Content-Disposition: attachment\r\n"
    if part.transfer_encoding == "base64":
        return header, part.body
    return _encoded(header, b"", _decoded(part))


def _decoded(part: Entity) -> bytes:
    try:
        return part.decoded_body()
    except Malformed:  # in what was imported, or kept by versions that took more
        return part.body


def _is_named_as_evidence(part: Entity) -> bool:
    """Whether a part's header has a name anywhere, in whatever way of writing one, that could pass
    for that of what the gateway adds: the signed original."""
    values = [" ".join(part.undecoded(one)) for one in ("content-type", "content-disposition")]
    others = (*map(unquote, values), *map(entity.decoded, values))
    written = "\n".join((part.file_name, part.other_name, *values, *others))
    return _EVIDENCE.search(_NO_LOWER.sub("", seen(written).casefold())) is not None


def _renamed(part: Entity) -> tuple[bytes, bytes]:
    """A file of the author's under a name that says so."""
    name = "of-author-" + _NO_LETTERS.sub("-", part.file_name or part.other_name)[-60:]
    header, _, body = file_part(name, _decoded(part)).partition(b"\r\n\r\n")
    return header + b"\r\n", body


def _is_named_mail(part: Entity) -> bool:
    return any(one.lower().endswith(".eml") for one in (part.file_name, part.other_name))


def _encoded(header: bytes, kind: bytes, data: bytes) -> tuple[bytes, bytes]:
    """kind: a Content-Type field in place of the header's own."""
    kept = _ENCODING.sub(b"", _TYPE.sub(kind, header) if kind else header)
    body = encodebytes(data).replace(b"\n", b"\r\n").removesuffix(b"\r\n")
    return kept + b"Content-Transfer-Encoding: base64\r\n", body


def harmless(markup: str) -> str | None:
    """Hypertext without style, script, and pictures from elsewhere; None where it took too long."""
    if len(markup) <= hypertext.HERE:
        return _cleaned(markup)
    made = confined.run(__name__, markup.encode("utf-8", "replace"), seconds=_SECONDS)
    return None if made is None else made.decode()


def prepare() -> None:
    """Have nh3 make its tables."""
    _cleaned("")


def work(data: bytes) -> bytes:
    """What `confined` runs."""
    return _cleaned(data.decode()).encode()


def _cleaned(markup: str) -> str:
    return nh3.clean(
        markup,
        tags=set(hypertext.TAGS),
        clean_content_tags=set(hypertext.DROPPED),
        attributes={name: set(values) for name, values in _ATTRIBUTES.items()},
        attribute_filter=_kept,
        url_schemes={"http", "https", "mailto", "cid"},
        link_rel=None,
        strip_comments=True,
    )


def _kept(tag: str, name: str, value: str) -> str | None:
    """Pictures come with the mail; one from elsewhere would tell that it is read."""
    if (tag, name) == ("img", "src"):
        return value if value.lower().startswith("cid:") else None
    return None if value.lower().startswith("cid:") else value
