"""How answers that are more than a sentence stand on the page."""

from __future__ import annotations

from collections.abc import Sequence

_IN_FOURS = 4


def rows(pairs: Sequence[tuple[str, str]]) -> str:
    """(label, value), a line each, the values one below the other."""
    width = max((len(label) for label, _ in pairs), default=0) + 2
    return "\n".join(f"  {(label + ':').ljust(width)}{value}" for label, value in pairs)


def in_fours(digits: str) -> str:
    """A fingerprint as people compare it."""
    return " ".join(digits[at : at + _IN_FOURS] for at in range(0, len(digits), _IN_FOURS))


def lines(texts: Sequence[str]) -> str:
    return "\n".join(f"  {one}" for one in texts)
