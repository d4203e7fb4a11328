"""Letters that look like others, and words that look like the gateway's own."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import islice

from confusable_homoglyphs.categories import alias
from confusable_homoglyphs.confusables import confusables_data

from gateway.message import flowed, hypertext
from gateway.message.entity import Entity
from gateway.message.submission import is_text, leaves, text
from gateway.message.thread import BLANK

LABELS = ("author", "standing", "signature", "posting", "original", "archive", "subject")
"""Of an attestation's lines."""
_OTHERS = {"archive", "subject"}
"""Labels that many texts have; beside another one they count."""
_MOST_BYTES = 1 << 20
"""Of a part, as transferred, that are looked at."""
_MOST_COLONS = 500
"""Of a part: who reads on so far knows whose text it is."""
_NEAR, _MOST_TURNED = 60, 1000
"""Characters that are looked at before a colon, and of a line that is turned."""
_MOST_LOOKED_AT = 5
"""Parts; the attached ones last, which some programs show as well."""
_FIRST_BYTES = 64 * 1024
_MOST_TEXTS = 20
_COLON = (
    "[:\u02d0\u02d1\u02f8\u0589\u05c3\u0703\u0704\u0903\u0a83\u16ec\u1803\u1809\u205a\u205d"
    "\u2236\ua4fd\ua789\ufe13\ufe30\ufe55\uff1a]"
)
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180b-\u180e\u200b-\u200f\u2060-\u2064\ufe00-\ufe0f\ufeff]+"
)
_TURNED = re.compile("[\u202d\u202e\u2066-\u2068]")
"""What has the letters behind it stand the other way round, or may."""
_A_COLON = re.compile(_COLON)
_AT_BEGIN = re.compile(rf"^\s*({'|'.join(LABELS)})\s*{_COLON}", re.IGNORECASE)
_ANYWHERE = re.compile(rf"\b({'|'.join(LABELS)})\s*{_COLON}", re.IGNORECASE)
_OF_BLOCK = re.compile(
    rf"<(?=/?(?:{'|'.join((*hypertext.BLOCK, 'br', 'hr', 'td', 'th'))})[\s/>])", re.IGNORECASE
)
"""Where a tag begins at which a program begins a line, or a cell."""
_WORD = re.compile(r"\w+")
_LOOK_ALIKE = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE"})
"""Scripts whose letters pass for each other's."""


def seen(written: str) -> str:
    """What a reader sees: compatible forms as one, ASCII letters for those that look like them
    (Unicode TR39 4), nothing of what can't be seen."""
    if written.isascii() and written.isprintable():
        return written
    visible = "".join(
        char for char in written if unicodedata.category(char) not in ("Cc", "Cf", "Mn")
    )
    shown = unicodedata.normalize("NFKC", visible.translate(BLANK)).translate(_as_ascii())
    return "".join(char for char in shown if unicodedata.category(char) != "Mn")


def mixes_scripts(written: str) -> bool:
    """Whether a word has letters of two scripts whose letters pass for each other's."""
    return not written.isascii() and any(
        len({alias(char) for char in word if char.isalpha()} & _LOOK_ALIKE) > 1
        for word in _WORD.findall(written)
    )


def attests(payload: Entity, subject: str = "") -> bool:
    """Whether the texts of a payload, and its subject, together, have lines like an attestation's,
    which its readers could take for the gateway's own. A line of text that is quoted by ">" is
    none."""
    found = {one.lower() for one in _ANYWHERE.findall(seen(subject))}
    texts = [part for part in leaves(payload) if part.content_type.startswith("text/")]
    for part in sorted(texts, key=lambda one: one.is_attachment)[:_MOST_LOOKED_AT]:
        shown = text(part, _MOST_BYTES)
        if part.content_type == "text/html":
            # It travels without its style, so what it hides is seen, and where it stands is open.
            forms = [*_without_tags(hypertext.bare(shown))]
            if len(shown) > hypertext.HERE:  # which was not read as browsers do
                forms += _without_tags(shown)
            pattern = _ANYWHERE
        else:
            pattern, forms = _AT_BEGIN, [shown, flowed.joined(shown, part)]
        for form in dict.fromkeys(forms):
            found.update(_labels(_INVISIBLE.sub("", form), pattern))
    return len(found) > 1 and bool(found - _OTHERS)


def _labels(form: str, pattern: re.Pattern[str]) -> Iterator[str]:
    """The labels before the first colons of a text, in lower case. What stands near a colon alone
    is looked at as it is seen, which costs time."""
    left = _MOST_COLONS
    for line in form.splitlines():
        if not _A_COLON.search(line):
            continue
        written = " ".join(line.translate(BLANK).split())
        if _TURNED.search(line):
            yield from map(str.lower, _ANYWHERE.findall(seen(written[:_MOST_TURNED])[::-1]))
        for colon in islice(_A_COLON.finditer(written), left):
            left -= 1
            near = max(0, colon.start() - _NEAR)
            if near == 0 or pattern is _ANYWHERE:
                yield from map(str.lower, pattern.findall(seen(written[near : colon.end()])))
        if left <= 0:
            return


def _without_tags(markup: str) -> Iterator[str]:
    """What stands between tags: with a blank for each, with none, and in lines."""
    for tagged, put in ((markup, " "), (markup, ""), (_OF_BLOCK.sub("\n<", markup), "")):
        first, *others = tagged.split("<")
        yield html.unescape(put.join((first, *(one.partition(">")[2] for one in others))))


def first_lines(payload: Entity, count: int = 2, width: int = 200) -> tuple[str, str]:
    """The first written lines, as they are seen, of the text that a payload has, where a marking
    may stand; and those of its other texts, and of a text whose lines flow, as it is shown.
    Hypertext is the text where there is no other."""
    texts, hypertexts, shown = list[str](), list[str](), list[str]()
    for part in leaves(payload):
        if is_text(part):
            written = text(part, _FIRST_BYTES)
            texts.append(_first(written, count, width))
            if flowed.is_flowed(part):
                shown.append(_first(flowed.joined(written[:_FIRST_BYTES], part), count, width))
        elif part.content_type == "text/html" and not part.is_attachment:
            hypertexts.append(_first(hypertext.shown(text(part, _FIRST_BYTES)), count, width))
        if len(texts) + len(hypertexts) == _MOST_TEXTS:
            break
    first, *others = [*texts, *hypertexts] or [""]
    return first, "\n".join((*others, *shown))


def _first(shown: str, count: int, width: int) -> str:
    written = (line.strip() for line in shown[:10_000].splitlines())
    # A quotation's marking is that of the posting quoted.
    lines = [line[:width] for line in written if line and not line.startswith(">")][:count]
    return "\n".join(
        f"{seen(line)} {seen(line)[::-1]}" if _TURNED.search(line) else seen(line) for line in lines
    )


@cache
def _as_ascii() -> dict[int, str]:
    """Letters that look like one of ASCII's, and that."""
    found: dict[int, str] = {}
    for char, like in confusables_data.items():
        plain = next((one["c"] for one in like if len(one["c"]) == 1 and one["c"].isascii()), "")
        if len(char) == 1 and not char.isascii() and plain.isalnum():
            found[ord(char)] = plain
    return found
