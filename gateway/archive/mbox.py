"""The mbox format (RFC 4155), quoted as "mboxrd": written mail by mail, and read by stream."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO

_FROM = re.compile(rb"^(>*From )", re.MULTILINE)
_QUOTED = re.compile(rb"^>(>*From )", re.MULTILINE)
# What mail programs write: an address, and a moment in the form of asctime(3), perhaps with a zone.
_SEPARATOR = re.compile(
    rb"From \S{1,320} {1,3}"
    rb"((?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} [ \d]\d \d\d:\d\d(?::\d\d)?)"
    rb"[ A-Z+\-\d]{0,12} (\d{4})(?: [+-]\d{4})?\s*"
)
_MOST_LINE = 1 << 16


@dataclass(frozen=True, slots=True)
class Span:
    """A mail in a file, from the line after its separator. position: from 1. moment: what the
    separator says, UTC."""

    position: int
    start: int
    end: int
    moment: datetime | None

    @property
    def length(self) -> int:
        return self.end - self.start


def entry(mail: bytes, sender: str, moment: datetime) -> bytes:
    """A mail as it stands in a file, with its separator. sender: an address."""
    body = _FROM.sub(rb">\1", mail.replace(b"\r\n", b"\n"))
    end = b"\n" if body.endswith(b"\n") else b"\n\n"
    return f"From {sender} {moment.astimezone(UTC).ctime()}\n".encode() + body + end


def spans(stream: BinaryIO) -> Iterator[Span]:
    """Where the mails of a file are, one after the other; what stands before the first is none.

    A separator is what looks like one after a blank line, so that a sentence that begins with
    "From" in an old, unquoted file ends no mail.
    """
    position, start, moment = 0, None, None
    offset, last, before = 0, b"\n", 0
    while line := stream.readline(_MOST_LINE):
        is_separated = last.endswith(b"\n") and not last.strip()
        separator = _SEPARATOR.fullmatch(line) if is_separated else None
        if separator is not None:
            if start is not None:
                yield Span(position, start, max(start, before), moment)
            position, start, moment = position + 1, offset + len(line), _moment(separator)
        before, offset, last = offset, offset + len(line), line
    if start is not None:
        end = offset if last.strip() else before
        yield Span(position, start, max(start, end), moment)


def mail(stream: BinaryIO, span: Span, most: int | None = None) -> bytes:
    """A mail as it was before it was quoted, or its first `most` bytes."""
    stream.seek(span.start)
    data = stream.read(span.length if most is None else min(most, span.length))
    return _QUOTED.sub(rb"\1", data)


def _moment(separator: re.Match[bytes]) -> datetime | None:
    """A local time of some machine, taken for UTC."""
    text = f"{separator[1].decode()} {separator[2].decode()}"
    for form in ("%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M %Y"):
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None
