"""Words as the search index has them: cut, made alike, stemmed, and hashed with a key."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from itertools import islice

import Stemmer

from gateway.crypto.vault import Vault
from gateway.store.search_index import GAP, bounded

STEMMED = {
    "ar": "arabic", "ca": "catalan", "cs": "czech", "da": "danish", "de": "german", "el": "greek",
    "en": "english", "es": "spanish", "et": "estonian", "eu": "basque", "fa": "persian",
    "fi": "finnish", "fr": "french", "ga": "irish", "hi": "hindi", "hu": "hungarian",
    "hy": "armenian", "id": "indonesian", "it": "italian", "lt": "lithuanian", "ne": "nepali",
    "nl": "dutch", "no": "norwegian", "pl": "polish", "pt": "portuguese", "ro": "romanian",
    "ru": "russian", "sr": "serbian", "sv": "swedish", "ta": "tamil", "tr": "turkish",
}  # fmt: skip
"""ISO 639-1 code -> Snowball's name, of the languages that are stemmed where this Snowball has
them."""

# Their stems are as good without accents, which many keyboards and shift keys leave out.
_PLAIN_FIRST = frozenset({"en", "es", "fr"})
_LONGEST = 64
MOST_SUBJECT = 100
MOST_NAMES = 30
MOST_IN_NAME = 15
MOST_WORDS = 14_000
"""Words of a posting that are found: subject and file names, which stand twice, leave so many of
the positions that the index has."""
# Han, Hiragana, Katakana, Hangul, Thai, Lao, Burmese, Khmer: a word has no ends to be cut at.
_SINGLE = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3130-\u318f"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\uff66-\uff9d"
    "\U00020000-\U0003ffff"
)
# Marks that do not show, within words too.
_HIDDEN = re.compile("[\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]+")


class Field(StrEnum):
    """What a term was found in, or what it says of the posting: part of its hash."""

    WORD = ""
    SUBJECT = "s"
    NAME = "n"
    AUTHOR = "a"
    LIST = "l"
    THREAD = "t"
    ATTACHMENT = "h"
    POSTING = "p"
    """Every posting has this one."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word, and where it stood: text[start:end]."""

    text: str
    start: int
    end: int


def visible(text: str) -> str:
    """A text without marks that do not show, which stand within words too."""
    return _HIDDEN.sub("", text)


def cut(text: str) -> Iterator[Word]:
    """The words of a text that is `visible`, made alike: case, width and form of letters. Letters,
    digits and marks make a word, so that "Pointe-Noire" is two."""
    for found in _pattern().finditer(text):
        # Twice: some characters are eighteen once they are made alike.
        yield Word(alike(found[0][:_LONGEST])[:_LONGEST], found.start(), found.end())


def words(text: str) -> list[str]:
    return [one.text for one in cut(visible(text))]


def alike(word: str) -> str:
    """NFKC and case folding (Unicode 3.13, D146)."""
    if word.isascii():
        return word.lower()
    folded = unicodedata.normalize("NFKC", word).casefold()
    return unicodedata.normalize("NFKC", folded)


def unaccented(word: str) -> str:
    """Without accents."""
    if word.isascii():
        return word
    parts = unicodedata.normalize("NFD", word)
    return unicodedata.normalize(
        "NFC", "".join(one for one in parts if unicodedata.category(one) != "Mn")
    )


def stems(of: Sequence[str], language: str) -> list[str]:
    """Words as they are compared in a language; its code, "" for one that is not stemmed."""
    if language not in known_languages():
        return [unaccented(one) for one in of]
    # A stemmer serves one thread.
    stemmer = Stemmer.Stemmer(STEMMED[language])
    if language in _PLAIN_FIRST:
        return list(stemmer.stemWords([unaccented(one) for one in of]))
    return [unaccented(one) for one in stemmer.stemWords(of)]


@cache
def known_languages() -> frozenset[str]:
    there = set(Stemmer.algorithms())
    return frozenset(code for code, name in STEMMED.items() if name in there)


def hashed(vault: Vault, field: Field, value: str | int) -> str:
    """A term as the index has it."""
    return vault.short_hash("search", f"{field}:{value}")


@dataclass(frozen=True, slots=True)
class Facts:
    """Ids by which something is found besides its words. thread: None for what is in none."""

    author: int
    lists: Sequence[int]
    thread: int | None = None


def of_facts(vault: Vault, facts: Facts, *, has_attachment: bool = False) -> list[str]:
    """Terms, each with a gap after it."""
    values: list[tuple[Field, str | int]] = [
        (Field.POSTING, ""),
        (Field.AUTHOR, facts.author),
        *((Field.LIST, one) for one in facts.lists),
    ]
    if facts.thread is not None:
        values.append((Field.THREAD, facts.thread))
    if has_attachment:
        values.append((Field.ATTACHMENT, ""))
    return [term for field, value in values for term in (hashed(vault, field, value), GAP)]


def of_text(
    vault: Vault, language: str, subject: str, names: Iterable[str], texts: Iterable[str]
) -> list[str]:
    """Terms of a posting's words, in their order, each field's end marked by a gap. Subject and
    file names stand in it twice: among all words, and as what they are."""
    in_subject = stems(words(subject)[:MOST_SUBJECT], language)
    in_names = [stems(words(one)[:MOST_IN_NAME], language) for one in islice(names, MOST_NAMES)]
    left = MOST_WORDS
    everything = [in_subject, *in_names]
    for one in texts:
        found = stems(_first_words(one, left), language)
        everything.append(found)
        left -= len(found)
        if left <= 0:
            break
    known: dict[tuple[Field, str], str] = {}

    def terms(field: Field, found: Sequence[str]) -> Iterator[str]:
        for stem in found:
            if (field, stem) not in known:
                known[field, stem] = hashed(vault, field, stem)
            yield known[field, stem]
        yield GAP

    in_names_only = [(Field.NAME, one) for one in in_names]
    fields = [(Field.SUBJECT, in_subject), *in_names_only, *((Field.WORD, e) for e in everything)]
    return [term for field, found in fields for term in terms(field, found)]


def document(facts: Sequence[str], text: Sequence[str]) -> list[str]:
    """All that a posting is found by, within what both databases keep."""
    return bounded([*facts, *text])


def _first_words(text: str, most: int) -> list[str]:
    found: list[str] = []
    for one in cut(visible(text)):
        if len(found) == most:
            break
        found.append(one.text)
    return found


@cache
def _pattern() -> re.Pattern[str]:
    """A single character of a script without blanks, or a run of letters and digits, with the marks
    that belong to them: Python's "\\w" has no marks."""
    marks = "".join(
        chr(code) for code in range(0x300, 0x11800)
        if unicodedata.category(chr(code)) in ("Mn", "Mc")
    )  # fmt: skip
    return re.compile(rf"[{_SINGLE}]|[^\W_{_SINGLE}](?:[^\W_{_SINGLE}]|(?![{_SINGLE}])[{marks}])*")
