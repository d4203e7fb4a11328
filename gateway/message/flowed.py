"""Text whose lines flow into one another (RFC 3676), as programs show it."""

from __future__ import annotations

import re

from gateway.message.entity import Entity

_QUOTES = re.compile(r">*")


def is_flowed(part: Entity) -> bool:
    return part.content_type == "text/plain" and part.parameter("format") == "flowed"


def joined(written: str, part: Entity) -> str:
    """A flowed part's text with its lines joined, LF line ends; any other's as it stands."""
    if not is_flowed(part):
        return written
    without_space = part.parameter("delsp") == "yes"
    found: list[str] = []
    open_depth = -1  # of the line that goes on
    for line in written.splitlines():
        depth = _QUOTES.match(line).end()  # type: ignore[union-attr]  # it matches nothing, too
        text = line[depth:].removeprefix(" ")  # RFC 3676 4.4
        is_signature = text == "-- "  # RFC 3676 4.3
        flows = text.endswith(" ") and not is_signature
        shown = text[:-1] if flows and without_space else text
        if depth == open_depth and not is_signature:
            found.append(shown)
        else:
            found += ["\n", ">" * depth, shown]
        open_depth = depth if flows else -1
    return "".join(found).removeprefix("\n")
