"""Numbers as they stand in addresses and forms."""

from __future__ import annotations

_MOST_DIGITS = 9
"""What both databases keep has 32 bits: a greater one is nobody's, and PostgreSQL's fault."""


def number_in(text: str) -> int | None:
    """A number in ASCII digits that a row may have; None where the text is none."""
    fine = text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS
    return int(text) if fine else None
