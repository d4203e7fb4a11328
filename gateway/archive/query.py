"""The query language: what somebody typed as a tree, and a tree as it is typed.

ivory "false bottom" (topic:B OR topic:E) -from:ana after:2026-03
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from gateway.archive import terms
from gateway.archive.periods import before, period
from gateway.errors import UsageError
from gateway.message import marking

MOST_CHARACTERS = 500
MOST_TERMS = 40
MOST_NESTING = 10


class Name(StrEnum):
    """What may stand before a colon."""

    FROM = "from"
    TOPIC = "topic"
    SUBJECT = "subject"
    FILENAME = "filename"
    HAS = "has"
    BEFORE = "before"
    AFTER = "after"
    DATE = "date"
    THREAD = "thread"
    MARKING = "marking"
    IS = "is"


@dataclass(frozen=True, slots=True)
class Words:
    """A word, or several that stand next to each other. where: None for anywhere, else SUBJECT or
    FILENAME."""

    text: str
    where: Name | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """A particular of the posting: FROM, TOPIC, HAS, THREAD, MARKING or IS. at: the character that
    its value begins at."""

    name: Name
    value: str
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Dates:
    """Taken on one of these days, UTC, both included; None: without an end."""

    first: date | None
    last: date | None


@dataclass(frozen=True, slots=True)
class Not:
    part: Node


@dataclass(frozen=True, slots=True)
class All:
    """Each of them; none: every posting."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Any:
    parts: tuple[Node, ...]


Node = Words | Filter | Dates | Not | All | Any


class QueryFault(UsageError):
    """A query that can't be understood. at: the character, from 0, that is to blame; suggestion:
    the nearest query that can, "" where there is none."""

    def __init__(self, message: str, at: int, **values: object) -> None:
        super().__init__(message, position=at + 1, **values)
        self.at = at
        self.suggestion = ""


@dataclass(frozen=True, slots=True)
class _Token:
    """kind: "(", ")", "-", "AND", "OR", "NOT", "words" or "field"; text: of words, or the value of
    a field."""

    kind: str
    at: int
    text: str = ""
    name: str = ""
    value_at: int = 0


_QUOTES = '"“”„«»'
_TOKEN = re.compile(
    rf"\s+|(?P<mark>[()]|-(?=[^\s)-]))|(?P<empty>[A-Za-z]+):(?=[\s()]|\Z)"
    rf"|(?:(?P<name>[A-Za-z]+):)?(?:[{_QUOTES}](?P<quoted>[^{_QUOTES}]*)(?P<end>[{_QUOTES}])?"
    rf"|(?P<bare>[^\s(){_QUOTES}]+))"
)
_BARE = re.compile(r"[^\W_]+(?:[-'.][^\W_]+)*")
_OPERATORS = ("AND", "OR", "NOT")


def parse(text: str, most: int = MOST_CHARACTERS) -> Node:
    """A query as a tree; All(()) of an empty one. Linear in the text. Raises QueryFault."""
    tree, fault = _read(text, most)
    if fault is not None:
        mended = formatted(tree)
        again, still = _read(mended, most)
        fault.suggestion = mended if still is None and again != All(()) else ""
        raise fault
    return tree


def formatted(node: Node) -> str:
    """A tree as it is typed; parse() makes the same tree of it."""
    match node:
        case Words(text, where):
            shown = text if _BARE.fullmatch(text) and text not in _OPERATORS else f'"{text}"'
            return shown if where is None else f"{where}:{shown}"
        case Filter(name, value):
            return f"{name}:{value if _BARE.fullmatch(value) else _quoted(name, value)}"
        case Dates(first, last):
            return f"date:{first or ''}..{last or ''}"
        case Not(part):
            return f"-{_inside(part)}"
        case Any(parts):
            return " OR ".join(map(formatted, parts))
        case All(parts):
            return " ".join(_inside(one) if isinstance(one, Any) else formatted(one)
                            for one in parts)  # fmt: skip


def narrowed(text: str, by: str) -> str:
    """A good query with one more condition, as it was typed otherwise."""
    return f"({text}) {by}" if isinstance(parse(text), Any) else f"{text} {by}".strip()


def _inside(node: Node) -> str:
    return f"({formatted(node)})" if isinstance(node, All | Any) else formatted(node)


def _quoted(name: Name, value: str) -> str:
    return value if name is Name.MARKING else f'"{value}"'


def _read(text: str, most: int) -> tuple[Node, QueryFault | None]:
    """The tree, mended where there is a fault."""
    reading = _Reading(text[:most])
    if len(text) > most:
        reading.fault(
            "At character %(position)s: a query has %(most)s characters at most.", most, most=most
        )
    return reading.whole(), reading.first


class _Reading:
    """A query under way. What is wrong is mended on the way, so that there is one to offer; of
    several faults the first is told."""

    def __init__(self, text: str) -> None:
        self.first: QueryFault | None = None
        self.count = 0
        self.place = 0
        self.depth = 0
        self.length = len(text)
        self.tokens = self._tokens(text)

    def fault(self, message: str, at: int, **values: object) -> None:
        if self.first is None:
            self.first = QueryFault(message, at, **values)

    def whole(self) -> Node:
        parts = [self._any()]
        while (token := self._next()) is not None:
            # Only a parenthesis that was never opened ends the first part early.
            self.fault("At character %(position)s: this parenthesis was never opened.", token.at)
            parts.append(self._any())
        found = _all(parts)
        if found == All(()) and self.length and self.tokens:
            self.fault("At character %(position)s: there is no word to search for.", 0)
        return found

    def _tokens(self, text: str) -> list[_Token]:
        found = []
        for one in _TOKEN.finditer(text):
            at, name = one.start(), one["name"] or ""
            if one["mark"]:
                found.append(_Token(one["mark"], at))
            elif one["empty"]:
                found.append(_Token("field", at, "", one["empty"], one.end()))
            elif one["quoted"] is not None:
                if one["end"] is None:
                    self.fault("At character %(position)s: this quotation mark has no partner.",
                               one.start("quoted") - 1)  # fmt: skip
                kind = "field" if name else "words"
                found.append(_Token(kind, at, one["quoted"], name, one.start("quoted")))
            elif one["bare"]:
                bare = one["bare"]
                if not name and bare in _OPERATORS:
                    found.append(_Token(bare, at))
                elif name:
                    found.append(_Token("field", at, bare, name, one.start("bare")))
                else:
                    found.append(_Token("words", at, bare))
        return found

    def _peek(self) -> _Token | None:
        return self.tokens[self.place] if self.place < len(self.tokens) else None

    def _next(self) -> _Token | None:
        token = self._peek()
        self.place += token is not None
        return token

    def _any(self) -> Node:
        parts = [self._all()]
        while (token := self._peek()) is not None and token.kind == "OR":
            self._next()
            right = self._all()
            if All(()) in (parts[-1], right):
                self.fault("At character %(position)s: OR stands between two things.", token.at)
            parts.append(right)
        return _any([one for one in parts if one != All(())])

    def _all(self) -> Node:
        parts: list[Node] = []
        while (token := self._peek()) is not None and token.kind not in ("OR", ")"):
            if token.kind == "AND":
                self._next()
                after = self._peek()
                if not parts or after is None or after.kind in ("OR", ")", "AND"):
                    self.fault("At character %(position)s: AND stands between two things.",
                               token.at)  # fmt: skip
                continue
            if (found := self._one()) is not None:
                parts.append(found)
        return _all(parts)

    def _one(self) -> Node | None:
        """The next thing, with what is denied before it; None where it is nothing to search for."""
        denied, token = False, self._next()
        while token is not None and token.kind in ("NOT", "-"):
            denied, sign, token = not denied, token, self._peek()
            if token is None or token.kind in (")", "AND", "OR"):
                self.fault("At character %(position)s: NOT stands before something.", sign.at)
                return None
            self._next()
        if token is None:
            return None
        found = self._group(token) if token.kind == "(" else self._leaf(token)
        if found is None or found == All(()):
            return None
        return _not(found) if denied else found

    def _group(self, opening: _Token) -> Node:
        if self.depth == MOST_NESTING:
            self.fault("At character %(position)s: parentheses go %(most)s deep at most.",
                       opening.at, most=MOST_NESTING)  # fmt: skip
            return All(())
        self.depth += 1
        found = self._any()
        self.depth -= 1
        if self._next() is None:
            self.fault("At character %(position)s: this parenthesis is not closed.", opening.at)
        return found

    def _leaf(self, token: _Token) -> Node | None:
        if token.kind != "field":
            return self._words(token.text, token.at, None)
        try:
            name = Name(token.name.lower())
        except ValueError:
            return self._unknown(token)
        if not token.text.strip():
            self.fault("At character %(position)s: nothing stands behind '%(name)s:'.",
                       token.at, name=name.value)  # fmt: skip
            return None
        match name:
            case Name.SUBJECT | Name.FILENAME:
                return self._words(token.text, token.value_at, name)
            case Name.BEFORE | Name.AFTER | Name.DATE:
                return self._dates(name, token)
            case _:
                return self._filter(name, token)

    def _unknown(self, token: _Token) -> Node | None:
        """ "CITES:II" is two words; "form:ana" looks like a slip."""
        near = difflib.get_close_matches(token.name.lower(), [*Name], 1, 0.75)
        if not near or not token.text:
            return self._words(f"{token.name}:{token.text}", token.at, None)
        self.fault("At character %(position)s: there is no '%(typed)s:'; did you mean '%(name)s:'?",
                   token.at, typed=token.name, name=str(near[0]))  # fmt: skip
        return self._leaf(_Token("field", token.at, token.text, near[0], token.value_at))

    def _words(self, text: str, at: int, where: Name | None) -> Node | None:
        clean = " ".join("".join(char if char.isprintable() else " " for char in text).split())
        count = len(terms.words(clean))
        if not count or not self._has_room(count, at):
            return None
        return Words(clean, where)

    def _dates(self, name: Name, token: _Token) -> Node | None:
        text, at = token.text.strip(), token.value_at
        first, dots, last = text.partition("..")
        begin, end = period(first), period(last if dots else first)
        if name is not Name.DATE:
            good = begin is not None and not dots
        else:
            good = bool(begin or (dots and not first)) and bool(end or (dots and not last))
            good = good and (begin or end) is not None
        if not good or (begin and end and begin[0] > end[1]):
            self.fault("At character %(position)s: write a date as 2026, 2026-03 or 2026-03-14, or "
                       "two of them with '..' between.", at)  # fmt: skip
            return None
        if not self._has_room(1, at):
            return None
        since, until = begin[0] if begin else None, end[1] if end else None
        if name is Name.BEFORE and since is not None:
            return Dates(None, before(since))
        return Dates(since, until) if name is Name.DATE else Dates(since, None)

    def _filter(self, name: Name, token: _Token) -> Node | None:
        text, at = " ".join(token.text.split()), token.value_at
        value: str | None = "".join(char for char in text if char.isprintable())
        match name:
            case Name.HAS:
                value = self._one_of(("attachment",), name, text, at)
            case Name.IS:
                value = self._one_of(("held",), name, text, at)
            case Name.MARKING:
                found = marking.typed(text)
                known = tuple(_marking(one) for one in marking.Marking)
                value = self._one_of(known, name, text, at) if found is None else _marking(found)
            case Name.THREAD:
                if not re.fullmatch(r"[A-Za-z]{0,10}-?[0-9]{1,18}", text, re.ASCII):
                    self.fault("At character %(position)s: write a posting's number, as in "
                               "thread:B-1234.", at)  # fmt: skip
                    value = None
                else:
                    value = text.upper()
        if not value or not self._has_room(1, at):
            return None
        return Filter(name, value, at)

    def _one_of(self, known: Sequence[str], name: Name, text: str, at: int) -> str | None:
        if text.lower() in known:
            return text.lower()
        near = difflib.get_close_matches(text.lower(), known, 1, 0.6)
        self.fault("At character %(position)s: behind '%(name)s:' may stand %(known)s.",
                   at, name=name.value, known=", ".join(known))  # fmt: skip
        return near[0] if near else known[0] if len(known) == 1 else None

    def _has_room(self, count: int, at: int) -> bool:
        if self.count + count > MOST_TERMS:
            self.fault("At character %(position)s: a query has %(most)s words and conditions at "
                       "most.", at, most=MOST_TERMS)  # fmt: skip
            return False
        self.count += count
        return True


def _marking(one: marking.Marking) -> str:
    return one.label.removeprefix("TLP:").lower()


def _all(parts: Sequence[Node]) -> Node:
    flat = [each for one in parts for each in (one.parts if isinstance(one, All) else (one,))]
    return flat[0] if len(flat) == 1 else All(tuple(flat))


def _any(parts: Sequence[Node]) -> Node:
    flat = [each for one in parts for each in (one.parts if isinstance(one, Any) else (one,))]
    if not flat:
        return All(())
    return flat[0] if len(flat) == 1 else Any(tuple(flat))


def _not(part: Node) -> Node:
    return part.part if isinstance(part, Not) else Not(part)
