"""MIME entities, byte for byte: a signature covers bytes, so nothing here is parsed and rebuilt.

Header fields are read by the standard library; only the cut into header, body and parts is ours,
because the library keeps neither the exact bytes nor a bound on memory.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.errors import MessageError
from email.header import Header, decode_header, make_header
from email.message import Message
from email.parser import BytesHeaderParser
from email.policy import compat32

from gateway.errors import Malformed, TooLarge

MOST_HEADER_BYTES = 256 * 1024
MOST_PARTS = 1000
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True)
class Entity:
    """raw: the whole; header_bytes: up to and with the last header line's end; body: the rest."""

    raw: bytes
    fields: Message
    header_bytes: bytes
    body: bytes

    @property
    def content_type(self) -> str:
        return self.fields.get_content_type()

    def parameter(self, name: str) -> str:
        """A parameter of Content-Type, lower case, "" where it is not there."""
        value = self.fields.get_param(name, "")
        return str(value[2] if isinstance(value, tuple) else value).lower()

    def field(self, name: str) -> str:
        """A field's value on one line, RFC 2047 words decoded, "" where it is not there."""
        return decoded(str(self.fields.get(name, "")))

    def parts(self) -> list[bytes]:
        """The raw parts of a multipart, without the line end that belongs to the delimiter.

        Raises Malformed where it is no well-formed multipart: RFC 2046 5.1.1, a closing delimiter
        included, as a cut-off mail must not pass for a whole one.
        """
        boundary = self.fields.get_boundary()
        if not boundary or len(boundary) > 200:
            raise Malformed("multipart without a usable boundary")
        delimiter = re.compile(
            rb"(?:^|\r?\n)--" + re.escape(boundary.encode("ascii", "surrogateescape"))
            + rb"(--)?[ \t]*(?=\r?\n|\Z)"
        )  # fmt: skip
        parts: list[bytes] = []
        start: int | None = None
        for match in delimiter.finditer(self.body):
            if start is not None:
                parts.append(self.body[start : match.start()])
            if match.group(1):
                return parts
            if len(parts) >= MOST_PARTS:
                raise TooLarge("multipart with too many parts")
            line_end = re.compile(rb"\r?\n").match(self.body, match.end())
            start = line_end.end() if line_end else match.end()
        raise Malformed("multipart without its closing delimiter")


def read(raw: bytes) -> Entity:
    """Cut an entity. Raises TooLarge on a header over 256 KiB."""
    if raw[:1] in (b"\n", b"\r"):  # no header at all: RFC 2045 5.2, text/plain
        end = 2 if raw[:2] == b"\r\n" else 1
        return Entity(raw, Message(), b"", raw[end:])
    match = _BLANK_LINE.search(raw, 0, MOST_HEADER_BYTES)
    if match is None and len(raw) > MOST_HEADER_BYTES:
        raise TooLarge("header over 256 KiB")
    cut = match.start() if match else len(raw)
    header = raw[:cut]
    fields = BytesHeaderParser(policy=compat32).parsebytes(header + b"\n\n")
    return Entity(raw, fields, header, raw[match.end() :] if match else b"")


def decoded(value: str) -> str:
    """A field's value with RFC 2047 words decoded and folding undone; odd bytes replaced."""
    unfolded = re.sub(r"\s*[\r\n]+\s*", " ", value)
    try:
        text = str(make_header(decode_header(unfolded)))
    except (LookupError, ValueError, MessageError):
        text = unfolded
    return text.encode("utf-8", "replace").decode("utf-8", "replace").strip()


def crlf(data: bytes) -> bytes:
    """The canonical text form: every line end CRLF (RFC 2049 4)."""
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def encoded_field(name: str, value: str) -> bytes:
    """A header field, folded with CRLF; non-ASCII text as RFC 2047 words."""
    text = re.sub(r"[\r\n\x00]+", " ", value)
    if text.isascii() and len(name) + 2 + len(text) <= 76:
        return f"{name}: {text}\r\n".encode()
    charset = "us-ascii" if text.isascii() else "utf-8"
    folded = Header(text, charset, header_name=name, maxlinelen=76).encode(linesep="\r\n")
    return f"{name}: {folded}\r\n".encode()
