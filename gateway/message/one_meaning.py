"""Signed content that every program reads as the archive does: where programs are known to differ,
one of them would show its reader something else than what was decided on and kept."""

from __future__ import annotations

import binascii
import re

from gateway.errors import Malformed
from gateway.message.entity import Entity

_ONCE = ("content-type", "content-transfer-encoding", "content-disposition")
_ENCODINGS = ("", "7bit", "8bit", "binary", "base64", "quoted-printable")
_TYPE = re.compile(r"\s*[\w!#$&^.+-]+/[\w!#$&^.+-]+\s*(?:;|\Z)", re.ASCII)
# RFC 2046 5.1.1; what stands behind a blank or in parentheses is a comment to some, unless quoted.
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_NAMED = re.compile(r"\bboundary[\s*\d]*=", re.IGNORECASE)
_BARE_CR = re.compile(rb"\r(?!\n)")
_BARE_LF = re.compile(rb"(?<!\r)\n")
_BLANKS = re.compile(rb"\s+")


def check_whole(payload: Entity) -> None:
    """Raises Malformed for what is nowhere in a good mail."""
    if _BARE_CR.search(payload.buffer, payload.start, payload.end):
        raise Malformed("a bare CR, which some take for the end of a line")


def check(part: Entity) -> None:
    """Of a payload, and of each entity in it. Raises Malformed."""
    if part.has_broken_header:
        raise Malformed("a part whose header is broken")
    for name in _ONCE:
        if len(part.fields.get_all(name, [])) > 1:
            raise Malformed(f"a part with two {name} fields")
    kind = str(part.fields.get("content-type", "text/plain"))
    if _TYPE.match(kind) is None:
        raise Malformed("a part whose type is none")
    if part.transfer_encoding not in _ENCODINGS:
        raise Malformed("a part of unknown transfer encoding")
    if part.is_multipart:
        _check_multipart(part, kind)
    elif part.content_type.startswith("text/") and not part.is_attachment:
        _check_text(part)
    if part.transfer_encoding == "binary" and _BARE_LF.search(
        part.buffer, part.body_start, part.end
    ):
        raise Malformed("binary part, which the CRLF form of mail would change")


def _check_multipart(part: Entity, kind: str) -> None:
    boundary = str(part.fields.get_param("boundary", ""))
    written = f'"{re.escape(boundary)}"'
    if not set(boundary) & set(" ()"):
        written += f"|{re.escape(boundary)}"
    if (
        not _BOUNDARY.fullmatch(boundary)
        or len(_NAMED.findall(kind)) != 1
        or not re.search(rf";\s*boundary\s*=\s*(?:{written})\s*(?:;|\Z)", kind, re.IGNORECASE)
    ):
        raise Malformed("a multipart whose boundary may be read in two ways")
    if part.transfer_encoding in ("base64", "quoted-printable"):
        raise Malformed("a multipart that is encoded as a whole")


def _check_text(part: Entity) -> None:
    if "utf-7" in part.charset or "utf7" in part.charset:
        raise Malformed("a text in UTF-7, which not everybody reads")
    if part.transfer_encoding == "base64":
        try:
            binascii.a2b_base64(_BLANKS.sub(b"", part.body), strict_mode=True)
        except binascii.Error:
            raise Malformed("a text in broken base64, which not everybody reads alike") from None
