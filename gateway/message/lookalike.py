"""Letters that look like others, and words that look like the gateway's own."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache

from confusable_homoglyphs.categories import alias
from confusable_homoglyphs.confusables import confusables_data

from gateway.message import hypertext
from gateway.message.entity import Entity
from gateway.message.submission import is_text, leaves, text

LABELS = ("author", "standing", "signature", "posting", "original")
"""Of an attestation's lines: those that nothing else has."""
_ENOUGH = 2
_MOST_BYTES = 256 * 1024
"""Of a part, as transferred, that are looked at: a reader who scrolls further down than that knows
whose text it is."""
_LIKE = re.compile(rf"^[ \t]*({'|'.join(LABELS)})[ \t]*:", re.IGNORECASE | re.MULTILINE)
_WORD = re.compile(r"\w+")
_LOOK_ALIKE = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE"})
"""Scripts whose letters pass for each other's."""


def seen(written: str) -> str:
    """What a reader sees: compatible forms as one, ASCII letters for those that look like them
    (Unicode TR39 4), nothing of what can't be seen."""
    if written.isascii():
        return written
    shown = unicodedata.normalize("NFKC", written).translate(_as_ascii())
    return "".join(char for char in shown if unicodedata.category(char) not in ("Cf", "Mn"))


def mixes_scripts(written: str) -> bool:
    """Whether a word has letters of two scripts whose letters pass for each other's."""
    return not written.isascii() and any(
        len({alias(char) for char in word if char.isalpha()} & _LOOK_ALIKE) > 1
        for word in _WORD.findall(written)
    )


def attests(payload: Entity) -> bool:
    """Whether the text of a payload has lines like an attestation's, which its readers could take
    for the gateway's own. What is quoted by ">" has none."""
    for shown in _texts(payload):
        if len({one.lower() for one in _LIKE.findall(seen(shown))}) >= _ENOUGH:
            return True
    return False


def _texts(payload: Entity) -> Iterator[str]:
    for part in leaves(payload):
        if is_text(part):
            yield text(part, _MOST_BYTES)
        elif part.content_type == "text/html":
            yield hypertext.text(text(part, _MOST_BYTES))


@cache
def _as_ascii() -> dict[int, str]:
    """Letters that look like one of ASCII's, and that."""
    found: dict[int, str] = {}
    for char, like in confusables_data.items():
        plain = next((one["c"] for one in like if len(one["c"]) == 1 and one["c"].isascii()), "")
        if len(char) == 1 and not char.isascii() and plain.isalnum():
            found[ord(char)] = plain
    return found
