"""Two lines of a posting around the words that were searched for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from gateway.archive import terms
from gateway.archive.query import Words
from gateway.message.thread import plain

MOST_CHARACTERS = 200_000
"""Of a text that are looked through."""
LENGTH = 220
_BEFORE = 60
_MOST_FOUND = 500


@dataclass(frozen=True, slots=True)
class Piece:
    """marked: it is one of the words."""

    text: str
    marked: bool


@dataclass(frozen=True, slots=True)
class _Span:
    start: int
    end: int
    which: int


def snippet(text: str, sought: Sequence[Words], language: str) -> tuple[Piece, ...]:
    """A passage of a text in which most of the words are, its beginning where none is; what is
    quoted in it counts only where nothing else has any. language: that it was indexed in."""
    whole = terms.visible(text[:MOST_CHARACTERS])
    own = "\n".join(line for line in whole.splitlines() if not line.startswith(">"))
    forms = [tuple(terms.stems(terms.words(one.text), language)) for one in sought]
    found = _spans(own, forms, language)
    if not found and own != whole:
        in_all = _spans(whole, forms, language)
        own, found = (whole, in_all) if in_all or not own.strip() else (own, found)
    start = _best(found)
    begin = _word_begin(own, max(start - _BEFORE, 0)) if found else 0
    end = _word_end(own, begin + LENGTH)
    return tuple(_pieces(own, begin, end, found))


def marked(text: str, sought: Sequence[Words], language: str) -> tuple[Piece, ...]:
    """The whole of a short text, its words marked."""
    shown = terms.visible(text)
    forms = [tuple(terms.stems(terms.words(one.text), language)) for one in sought]
    return tuple(_pieces(shown, 0, len(shown), _spans(shown, forms, language)))


def _spans(text: str, forms: Sequence[tuple[str, ...]], language: str) -> list[_Span]:
    """Where the forms stand, those that overlap an earlier one left out."""
    words = list(terms.cut(text))
    stems = terms.stems([one.text for one in words], language)
    by_first: dict[str, list[int]] = {}
    for which, form in enumerate(forms):
        if form:
            by_first.setdefault(form[0], []).append(which)
    found: list[_Span] = []
    after = 0
    for at, stem in enumerate(stems):
        if at < after or stem not in by_first:
            continue
        fits = [one for one in by_first[stem]
                if tuple(stems[at : at + len(forms[one])]) == forms[one]]  # fmt: skip
        if fits:
            longest = max(fits, key=lambda one: len(forms[one]))
            after = at + len(forms[longest])
            found.append(_Span(words[at].start, words[after - 1].end, longest))
        if len(found) == _MOST_FOUND:
            break
    return found


def _best(found: Sequence[_Span]) -> int:
    """Where the passage begins that has most of the words, the first of several."""
    best, most = 0, 0
    for at, one in enumerate(found):
        near = {each.which for each in islice(found, at, at + 20) if each.end <= one.start + LENGTH}
        if len(near) > most:
            best, most = one.start, len(near)
    return best


def _word_begin(text: str, at: int) -> int:
    """The begin of the word after `at`, unless that is far."""
    if at == 0:
        return 0
    blank = next((one for one in range(at, min(at + 30, len(text))) if text[one].isspace()), at)
    return blank + (blank != at)


def _word_end(text: str, at: int) -> int:
    if at >= len(text):
        return len(text)
    return next((one for one in range(at, max(at - 30, 0), -1) if text[one].isspace()), at)


def _pieces(text: str, begin: int, end: int, found: Sequence[_Span]) -> Iterator[Piece]:
    if begin > 0:
        yield Piece("… ", False)
    at = begin
    for one in found:
        if one.start < at or one.end > end:
            continue
        yield from _piece(text[at : one.start], False)
        yield from _piece(text[one.start : one.end], True)
        at = one.end
    yield from _piece(text[at:end], False)
    if end < len(text.rstrip()):
        yield Piece(" …", False)


def _piece(text: str, marked: bool) -> Iterator[Piece]:
    """In one line, its blanks at either end kept as one."""
    line = plain(text)
    if not text:
        return
    before = " " if text[0].isspace() else ""
    after = " " if line and text[-1].isspace() else ""
    yield Piece(f"{before}{line}{after}", marked)
