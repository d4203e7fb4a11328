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
_MOST_BOUNDARY = 200
_LINE_END = re.compile(rb"\r?\n")
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True)
class Entity:
    """A span of a buffer: header from `start`, body from `body_start`, both up to `end`.

    Parts share the buffer, so a mail of 50 MB nested twenty deep is in memory once.
    """

    buffer: bytes
    start: int
    body_start: int
    end: int
    fields: Message

    @property
    def raw(self) -> bytes:
        return self.buffer[self.start : self.end]

    @property
    def body(self) -> bytes:
        return self.buffer[self.body_start : self.end]

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

    def parts(self) -> list[Entity]:
        """The parts of a multipart, without the line end that belongs to the delimiter.

        Raises Malformed where it is no well-formed multipart: RFC 2046 5.1.1, a closing delimiter
        included, as a cut-off mail must not pass for a whole one.
        """
        boundary = self.fields.get_boundary()
        if not boundary or len(boundary) > _MOST_BOUNDARY:
            raise Malformed("multipart without a usable boundary")
        delimiter = re.compile(
            rb"\r?\n--" + re.escape(boundary.encode("ascii", "surrogateescape"))
            + rb"(--)?[ \t]*(?=\r?\n|\Z)"
        )  # fmt: skip
        spans: list[tuple[int, int]] = []
        start: int | None = None
        # The first delimiter's line end is that of the blank line before the body.
        before = max(self.start, self.body_start - 2)
        for match in delimiter.finditer(self.buffer, before, self.end):
            if start is not None:
                spans.append((start, max(start, match.start())))
            if match.group(1):
                return [read(self.buffer, *span) for span in spans]
            if len(spans) >= MOST_PARTS:
                raise TooLarge("multipart with too many parts")
            line_end = _LINE_END.match(self.buffer, match.end(), self.end)
            start = line_end.end() if line_end else match.end()
        raise Malformed("multipart without its closing delimiter")


def read(buffer: bytes, start: int = 0, end: int | None = None) -> Entity:
    """Cut the entity in buffer[start:end]. Raises TooLarge on a header over 256 KiB."""
    end = len(buffer) if end is None else end
    first = _LINE_END.match(buffer, start, end)
    if first is not None:  # no header at all: RFC 2045 5.2, text/plain
        return Entity(buffer, start, first.end(), end, Message())
    match = _BLANK_LINE.search(buffer, start, min(end, start + MOST_HEADER_BYTES))
    if match is None and end - start > MOST_HEADER_BYTES:
        raise TooLarge("header over 256 KiB")
    header_end, body_start = match.span() if match else (end, end)
    fields = BytesHeaderParser(policy=compat32).parsebytes(buffer[start:header_end] + b"\n\n")
    return Entity(buffer, start, body_start, end, fields)


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
