"""MIME entities, byte for byte: a signature covers bytes, so nothing here is parsed and rebuilt.

Header fields are read by the standard library; only the cut into header, body and parts is ours,
because the library keeps neither the exact bytes nor a bound on memory.
"""

from __future__ import annotations

import binascii
import quopri
import re
import unicodedata
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.errors import (
    FirstHeaderLineIsContinuationDefect,
    InvalidHeaderDefect,
    MalformedHeaderDefect,
    MessageError,
    MisplacedEnvelopeHeaderDefect,
    MissingHeaderBodySeparatorDefect,
)
from email.header import Header, decode_header, make_header
from email.message import Message
from email.parser import HeaderParser
from email.policy import compat32
from email.utils import collapse_rfc2231_value

from gateway.errors import Malformed, TooLarge

MOST_HEADER_BYTES = 256 * 1024
MOST_HEADER_LINES = 3000
MOST_FIELD = 8000
"""Characters of a field that is read; the library's reading of some grows with the square."""
MOST_PARTS = 1000
_MOST_BOUNDARY = 200
_FORM = frozenset({"mime-version", "content-transfer-encoding"})
"""Fields that say what an entity is and nothing else, whoever wrote them."""
_PARAMETRIC = ("content-type", "content-disposition", "content-transfer-encoding")
_MOST_PARAMETERS = 2000
_HEADER_DEFECTS = (
    FirstHeaderLineIsContinuationDefect,
    InvalidHeaderDefect,
    MalformedHeaderDefect,
    MisplacedEnvelopeHeaderDefect,
    MissingHeaderBodySeparatorDefect,
)
_LINE_END = re.compile(rb"\r?\n")
_BEYOND_ASCII = re.compile(r"([^\x00-\x7f]+)")
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")


@contextmanager
def strict() -> Iterator[None]:
    """The standard library fails on hostile fields in ways of its own; all are Malformed here."""
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, MessageError):
        raise Malformed("a header field can't be read") from None


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
        with strict():
            return self.fields.get_content_type()

    @property
    def is_multipart(self) -> bool:
        return self.content_type.startswith("multipart/")

    @property
    def is_attachment(self) -> bool:
        with strict():
            return self.fields.get_content_disposition() == "attachment"

    @property
    def file_name(self) -> str:
        """As the sender gave it, "" where there is none."""
        with strict():
            return decoded(self.fields.get_filename() or "")

    @property
    def other_name(self) -> str:
        """The same of Content-Type, which some programs ask first."""
        with strict():
            return decoded(collapse_rfc2231_value(self.fields.get_param("name") or ""))

    @property
    def charset(self) -> str:
        """Lower case, "" where there is none."""
        with strict():
            return self.fields.get_content_charset() or ""

    @property
    def transfer_encoding(self) -> str:
        return str(self.fields.get("content-transfer-encoding", "7bit")).strip().lower()

    @property
    def is_mime(self) -> bool:
        """Whether its header is one: it says its type, or nothing but how it is encoded (RFC 2045
        5.2: it is text/plain then), and nothing in it breaks the grammar.

        Signed text that merely stands where a header would must not be taken for one and dropped.
        """
        names = {name.lower() for name in self.fields}
        # Without a field it is the line end alone that stands for a header, and no text.
        is_form = names <= _FORM if names else self.body_start - self.start <= 2
        if self.field("mime-version") not in ("", "1.0"):
            is_form = False
        return ("content-type" in names or is_form) and not self.has_broken_header

    @property
    def has_broken_header(self) -> bool:
        # By kind: for a multipart, some Pythons call it a defect that the body was not parsed.
        is_broken = any(isinstance(one, _HEADER_DEFECTS) for one in self.fields.defects)
        return is_broken or self.fields.get_unixfrom() is not None

    def parameter(self, name: str) -> str:
        """A parameter of Content-Type, lower case, "" where it is not there."""
        with strict():
            value = self.fields.get_param(name, "")
            return str(value[2] if isinstance(value, tuple) else value).lower()

    def field(self, name: str) -> str:
        """A field's value on one line, RFC 2047 words decoded, "" where it is not there."""
        return decoded(str(self.fields.get(name, "")))

    def undecoded(self, name: str) -> list[str]:
        """Each field of a name, on one line, its RFC 2047 words as they stand."""
        return [" ".join(str(one).split()) for one in self.fields.get_all(name, [])]

    def decoded_body(self) -> bytes:
        """The body with its transfer encoding undone. Raises Malformed on an unknown one."""
        match self.transfer_encoding:
            case "7bit" | "8bit" | "binary" | "":
                return self.body
            case "base64":
                try:
                    return b64decode(re.sub(rb"\s+", b"", self.body), validate=True)
                except (binascii.Error, ValueError):
                    raise Malformed("broken base64") from None
            case "quoted-printable":
                return quopri.decodestring(self.body)
            case _:
                raise Malformed("unknown transfer encoding")

    def parts(self, most: int = MOST_PARTS) -> Iterator[Entity]:
        """The parts of a multipart, without the line end that belongs to the delimiter.

        Raises Malformed where it is no well-formed multipart: RFC 2046 5.1.1, a closing delimiter
        included, as a cut-off mail must not pass for a whole one. TooLarge over `most` parts.
        """
        return (self._part(span) for span in self._spans(most))

    def _part(self, span: tuple[int, int]) -> Entity:
        part = read(self.buffer, *span)
        if self.content_type == "multipart/digest":  # RFC 2046 5.1.5
            part.fields.set_default_type("message/rfc822")
        return part

    def _spans(self, most: int) -> list[tuple[int, int]]:
        with strict():
            boundary = self.fields.get_boundary()
        # RFC 2046 5.1.1: some octets of ASCII; the library puts others for all that is none.
        if not boundary or not boundary.isascii() or len(boundary) > _MOST_BOUNDARY:
            raise Malformed("multipart without a usable boundary")
        delimiter = re.compile(
            rb"\r?\n--" + re.escape(boundary.encode()) + rb"(--)?[ \t]*(?=\r?\n|\Z)"
        )
        spans: list[tuple[int, int]] = []
        start: int | None = None
        # The first delimiter's line end is that of the blank line before the body.
        before = max(self.start, self.body_start - 2)
        for match in delimiter.finditer(self.buffer, before, self.end):
            if start is not None:
                spans.append((start, max(start, match.start())))
            if match.group(1):
                return spans
            if len(spans) >= most:
                raise TooLarge(f"multipart with more than {most} parts")
            line_end = _LINE_END.match(self.buffer, match.end(), self.end)
            start = line_end.end() if line_end else match.end()
        raise Malformed("multipart without its closing delimiter")


def read(buffer: bytes, start: int = 0, end: int | None = None) -> Entity:
    """Cut the entity in buffer[start:end]. Raises TooLarge on a header beyond reason."""
    end = len(buffer) if end is None else end
    first = _LINE_END.match(buffer, start, end)
    if first is not None:  # no header at all: RFC 2045 5.2, text/plain
        return Entity(buffer, start, first.end(), end, Message())
    match = _BLANK_LINE.search(buffer, start, min(end, start + MOST_HEADER_BYTES))
    if match is None and end - start > MOST_HEADER_BYTES:
        raise TooLarge("header over 256 KiB")
    header_end, body_start = match.span() if match else (end, end)
    if buffer.count(b"\n", start, header_end) > MOST_HEADER_LINES:
        raise TooLarge(f"header of more than {MOST_HEADER_LINES} lines")
    with strict():
        header = _characters(buffer[start:header_end])
        fields = HeaderParser(policy=compat32).parsestr(f"{header}\n\n")
        # The library's parameter parser takes time that grows with the square.
        if any(len(str(fields.get(name, ""))) > _MOST_PARAMETERS for name in _PARAMETRIC):
            raise TooLarge("a content field of more than 2000 characters")
    return Entity(buffer, start, body_start, end, fields)


def _characters(header: bytes) -> str:
    """UTF-8 (RFC 6532 3.2); a line of other octets is shown as something rather than nothing."""
    try:
        return header.decode()
    except UnicodeDecodeError:
        lines = header.splitlines(keepends=True)
        return "".join(_in_latin(one) for one in lines)


def _in_latin(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


def decoded(value: str) -> str:
    """A field's value on one line, RFC 2047 words decoded; odd bytes replaced.

    Nothing in the result ends a line, whatever was encoded in a word. Cut after 8,000 characters.
    """
    unfolded = " ".join(line.strip() for line in value[:MOST_FIELD].splitlines())
    # The library would put "\\u0421" for a letter beside a word.
    pieces = _BEYOND_ASCII.split(unfolded)
    text = "".join(_words(one) if "=?" in one else one for one in pieces)
    text = text.encode("utf-8", "replace").decode("utf-8", "replace")
    return " ".join(text[:MOST_FIELD].split())


def _words(text: str) -> str:
    """ASCII with its RFC 2047 words decoded, or as it stands; the blanks around it stay."""
    inner = text.strip()
    try:
        with strict():
            shown = str(make_header(decode_header(inner)))
    except Malformed:
        return text
    before, _, after = text.partition(inner)
    return f"{before}{shown}{after}"


def crlf(data: bytes) -> bytes:
    """The canonical text form: every line end CRLF (RFC 2049 4)."""
    if data.count(b"\n") == data.count(b"\r\n"):
        return data  # which may be 50 MB
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def encoded_field(name: str, value: str) -> bytes:
    """A header field, folded with CRLF; non-ASCII text as RFC 2047 words."""
    # All that any reader takes for a line end, a form feed among them.
    visible = "".join(
        " " if unicodedata.category(char) in ("Cc", "Zl", "Zp") else char
        for char in value[:MOST_FIELD]
    )
    text = " ".join(visible.split())
    text = text.encode("utf-8", "replace").decode()
    if text.isascii() and len(name) + 2 + len(text) <= 76:
        return f"{name}: {text}\r\n".encode()
    charset = "us-ascii" if text.isascii() else "utf-8"
    folded = Header(text, charset, header_name=name, maxlinelen=76).encode(linesep="\r\n")
    return f"{name}: {folded}\r\n".encode()
