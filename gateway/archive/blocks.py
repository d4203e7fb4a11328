"""A posting's text in blocks: what the author wrote, what they quote, and their signature lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

QUOTED_LINES = 3
"""Lines of a quotation that stand open; what follows is folded."""
MOST_BLOCKS = 400
_SEPARATOR = re.compile(r"^-- ?$")  # RFC 3676 4.3, and as programs write it that cut blanks
# Controls, and marks that turn the direction of what follows (UAX #9 2.1, 2.2, 2.4). Those that
# join letters, and those that say the direction of one place, belong to how languages are written.
_DECEIVING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb]"
)


class Kind(StrEnum):
    OWN = "own"
    QUOTATION = "quotation"
    SIGNATURE = "signature"


@dataclass(frozen=True, slots=True)
class Block:
    """text: open to see; folded: the rest of a quotation, "" where there is none."""

    kind: Kind
    text: str
    folded: str = ""

    @property
    def folded_lines(self) -> int:
        return self.folded.count("\n") + 1 if self.folded else 0


def blocks(text: str) -> tuple[Block, ...]:
    """text: LF line ends. Linear in its length."""
    lines = visible(text).split("\n")
    signature = _signature(lines)
    made = list(_blocks(lines[:signature]))
    if signature < len(lines):
        made.append(Block(Kind.SIGNATURE, "\n".join(lines[signature:]).strip("\n")))
    return tuple(made)


def visible(text: str) -> str:
    """With a mark in place of each character that would make it look like something else."""
    return _DECEIVING.sub("\ufffd", text.replace("\r\n", "\n").replace("\f", "\n"))


def _blocks(lines: list[str]) -> Iterator[Block]:
    at = 0
    for made, (is_quoted, group) in enumerate(groupby(lines, lambda line: line.startswith(">"))):
        if made == MOST_BLOCKS:
            yield Block(Kind.OWN, "\n".join(lines[at:]))
            return
        found = list(group)
        at += len(found)
        if is_quoted:
            # A fold that hides one line costs more than it saves.
            open_lines = QUOTED_LINES if len(found) > QUOTED_LINES + 1 else len(found)
            yield Block(
                Kind.QUOTATION, "\n".join(found[:open_lines]), "\n".join(found[open_lines:])
            )
        elif any(line.strip() for line in found):
            yield Block(Kind.OWN, "\n".join(found).strip("\n"))


def _signature(lines: list[str]) -> int:
    """Index of the line that begins the signature; len(lines) where none does. What begins long
    before the end is no signature, and is not to be shown as one."""
    for index in range(len(lines) - 1, max(-1, len(lines) - 15), -1):
        if _SEPARATOR.match(lines[index]):
            return index
    return len(lines)
